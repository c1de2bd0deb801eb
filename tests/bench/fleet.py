"""A fleet of devices for load: each with an asset, a device id and a token of its own.

Signing 20,000 tokens takes a while, so a fleet is made once and kept under ``build/``, with the
public key that its tokens verify with. The file that tests/bench/load.c reads has for each device a
CONNECT packet after its length (32 bits) and its telemetry topic after its length (16 bits).
"""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authplugin.jose.identity import suffix
from authplugin.testing import TokenMint
from authplugin.testing.mint import base64url
from tests.support.mqtt import CONNECT, packet, text

FOLDER = Path("build/fleet")
AUDIENCE = "https://ingest.example.com"
PASSWORD = "correct horse battery staple"
USER = "device"

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SEED = 5
# Tokens live six days: a fleet that has less than two left is made anew.
_MOST_AGE = 4 * 86400
_KEEPALIVE = 600
_CLEAN, _PASSWORD, _USERNAME = 0x02, 0x40, 0x80


@dataclass(frozen=True)
class Fleet:
    """The files of one fleet.

    Attributes:
        count: devices in it.
        tokens: for `load`: token as password, no user name.
        passwords: for `load`: the same devices, each with `USER` and `PASSWORD`.
        jwks: the issuer's key set.
        public_key: the same key as PEM.
    """

    count: int
    tokens: Path
    passwords: Path
    jwks: Path
    public_key: Path


def make_fleet(count: int, *, folder: Path = FOLDER) -> Fleet:
    """The fleet of that many devices; what an earlier run made is used again while its tokens last."""
    home = folder / str(count)
    fleet = Fleet(
        count, home / "tokens.bin", home / "passwords.bin", home / "jwks.json", home / "public_key.pem"
    )
    # The key is written last, so a fleet that has it is whole.
    if fleet.public_key.exists() and time.time() - fleet.public_key.stat().st_mtime < _MOST_AGE:
        return fleet
    home.mkdir(parents=True, exist_ok=True)
    fleet.public_key.unlink(missing_ok=True)
    mint = TokenMint(audience=AUDIENCE)
    draw = random.Random(_SEED)
    with fleet.tokens.open("wb") as tokens, fleet.passwords.open("wb") as passwords:
        for number in range(count):
            short = "02iB" + "".join(draw.choices(_LETTERS, k=11))
            asset = short + suffix(short)
            token = mint.mint(aid=short, did=f"device-{number:06d}", cnf={"jwk": _device_key(draw)})
            topic = text(f"assets/{asset}/telemetry")
            for file, username, password in ((tokens, b"", token), (passwords, USER, PASSWORD)):
                body = text("MQTT") + bytes([4, _CLEAN | _PASSWORD | _USERNAME])
                body += _KEEPALIVE.to_bytes(2) + text(asset) + text(username) + text(password)
                whole = packet(CONNECT, 0, body)
                file.write(len(whole).to_bytes(4) + whole + topic)
    fleet.jwks.write_text(json.dumps(mint.jwks()))
    pem = mint.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    fleet.public_key.write_bytes(pem)
    return fleet


def _device_key(draw: random.Random) -> dict[str, str]:
    """A key as large and as different from the others as a real one; nobody proves to have it."""
    modulus = draw.getrandbits(2048) | 1 << 2047 | 1
    return {"kty": "RSA", "e": "AQAB", "kid": "devicekey", "n": base64url(modulus.to_bytes(256)).decode()}
