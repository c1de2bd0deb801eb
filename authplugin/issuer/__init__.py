"""The development issuer: stands in for the CRM that issues asset tokens, in the demo and in tests.

It speaks the issuer's protocol to the letter (token exchange after RFC 8693, key set, asset-token
events, asset records) and remembers in memory only. Not for production: whoever has its client
secret registers any asset.
"""

from authplugin.issuer.events import AssetTokenEvent, EventSink, MemorySink, PublishError
from authplugin.issuer.exchange import Issuer, IssuerProfile
from authplugin.issuer.http import create_app
from authplugin.issuer.keyring import KeyRing

__all__ = [
    "AssetTokenEvent",
    "EventSink",
    "Issuer",
    "IssuerProfile",
    "KeyRing",
    "MemorySink",
    "PublishError",
    "create_app",
]
