"""Test doubles that are shipped, for those who build on the gate: what they need to try it without an issuer.

Nothing here belongs in production: the mint holds private keys and makes hostile tokens, the key
server misbehaves on purpose.

    mint = TokenMint()
    with KeyServer(mint.jwks()) as server: ...
"""

from authplugin.testing.clock import FakeClock
from authplugin.testing.keyserver import Behaviour, KeyServer
from authplugin.testing.mint import TokenMint

__all__ = ["Behaviour", "FakeClock", "KeyServer", "TokenMint"]
