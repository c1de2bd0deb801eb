"""The packets in docs/devices.md are those that the shipped client writes, and their signature holds."""

import json
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authplugin.ace import METHOD, parse_proof, parse_token, signed_text, write_proof, write_token
from authplugin.client import Topics, Will
from authplugin.client.key import public_jwk, sign
from authplugin.client.packets import (
    AUTH,
    CONNECT,
    CONTINUE,
    REAUTHENTICATE,
    split_packet,
    write_auth,
    write_connect,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
ASSET, TOKEN = "02iAB00000CdEfGYAV", b"eyJh.eyJp.c2ln"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BROKER_NONCE, NONCE = bytes(range(0xA0, 0xA8)), bytes(range(0xC0, 0xC8))


def packets() -> list[bytes]:
    """Every block of the document whose lines begin with bytes in hex."""
    found = []
    for block in re.findall(r"^```\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL):
        lines = [re.match(r"(?:[0-9a-f]{2} ?)+(?= |$)", line) for line in block.splitlines()]
        if all(lines):
            found.append(bytes.fromhex("".join(line[0] for line in lines if line)))
    return found


def test_every_packet_is_what_the_client_writes() -> None:
    proof = write_proof(NONCE, sign(KEY, signed_text(BROKER_NONCE, NONCE)))
    will = Will(Topics(ASSET).status, b"offline", qos=1, retain=True)
    assert packets() == [
        write_connect(ASSET, username="", password=TOKEN, will=will),
        write_connect(ASSET, method=METHOD, data=write_token(TOKEN)),
        write_auth(CONTINUE, METHOD, BROKER_NONCE),
        write_auth(CONTINUE, METHOD, proof),
        write_auth(REAUTHENTICATE, METHOD, write_token(TOKEN)),
    ]


def test_every_packet_is_whole_and_what_is_in_it_is_read_as_said() -> None:
    whole = []
    for written in packets():
        found = split_packet(written)
        assert found is not None
        assert found[1] == b""
        assert split_packet(written[:-1]) is None
        whole.append(found[0])
    assert [packet.kind for packet in whole] == [CONNECT, CONNECT, AUTH, AUTH, AUTH]
    assert [packet.reason for packet in whole[2:]] == [CONTINUE, CONTINUE, REAUTHENTICATE]
    assert parse_token(whole[4].body[-16:]) == TOKEN
    proof = parse_proof(whole[3].body[-72:], shows_key=False)
    KEY.public_key().verify(proof.signature, BROKER_NONCE + proof.nonce)


def test_the_public_key_of_the_example_is_the_one_that_is_printed() -> None:
    (printed,) = re.findall(r"`(\{\"kty\".*?\})`", DOCUMENT)
    assert json.loads(printed).items() <= public_jwk(KEY).items()
