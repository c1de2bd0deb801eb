"""The device's side: what to say to a gated broker, and how to keep a token fresh.

Needs nothing but the standard library and ``cryptography``. `authplugin.client.paho` puts it to work
in a paho client, and in aiomqtt, which stands on paho; what is said byte by byte is in docs/devices.md.
"""

from authplugin.client.credentials import Credentials, read_credentials
from authplugin.client.exchange import (
    ClientCredentials,
    ExchangeError,
    Registration,
    get_access_token,
    register,
)
from authplugin.client.key import DeviceKey, load_key, make_key
from authplugin.client.login import OFFLINE, ONLINE, Login, Topics, Will
from authplugin.client.renewal import TokenSource
from authplugin.jose.identity import IdForm, canonical_asset_id

__all__ = [
    "OFFLINE",
    "ONLINE",
    "ClientCredentials",
    "Credentials",
    "DeviceKey",
    "ExchangeError",
    "IdForm",
    "Login",
    "Registration",
    "TokenSource",
    "Topics",
    "Will",
    "canonical_asset_id",
    "get_access_token",
    "load_key",
    "make_key",
    "read_credentials",
    "register",
]
