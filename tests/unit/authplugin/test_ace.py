"""Authentication Data of method ace, byte by byte."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.ace import (
    METHOD,
    parse_challenge,
    parse_proof,
    parse_token,
    signed_text,
    write_proof,
    write_token,
)
from authplugin.errors import Reason, Refused

NONCE = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def refusal(data: bytes, *, shows_key: bool = False) -> Reason:
    with pytest.raises(Refused) as refused:
        parse_proof(data, shows_key=shows_key)
    return refused.value.reason


def test_the_packets_are_those_of_the_standard() -> None:
    assert METHOD == "ace"
    assert write_token(b"a.b.c") == b"\x00\x05a.b.c"
    assert parse_token(b"\x00\x05a.b.c") == b"a.b.c"
    assert parse_token(write_token(b"x" * 65535)) == b"x" * 65535
    assert signed_text(b"brokers_", b"clients_") == b"brokers_clients_"
    assert write_proof(NONCE, b"signature") == NONCE + b"signature"
    assert write_proof(NONCE, b"signature", {"kty": "OKP"}) == NONCE + b'\x00\x0d{"kty":"OKP"}signature'


def test_a_proof_is_read_as_it_was_written() -> None:
    plain = parse_proof(NONCE + b"signature", shows_key=False)
    assert (plain.nonce, plain.key, plain.signature) == (NONCE, b"", b"signature")
    shown = parse_proof(write_proof(NONCE, b"signature", {"kty": "OKP"}), shows_key=True)
    assert (shown.nonce, shown.key, shown.signature) == (NONCE, b'{"kty":"OKP"}', b"signature")
    assert "signature'" not in repr(shown)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b"\x00", Reason.MALFORMED),
        (b"\x00\x00", Reason.MALFORMED),
        (b"\x00\x05a.b", Reason.MALFORMED),
        (b"a.b.c", Reason.MALFORMED),
        (b"\x00\x05a.b.csignature", Reason.POSSESSION_FAILED),
    ],
)
def test_a_token_that_is_none_is_refused(data: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        parse_token(data)
    assert refused.value.reason is reason


def test_a_proof_that_is_none_is_refused() -> None:
    for data in (b"", NONCE[:7], NONCE, NONCE + bytes(4089)):
        assert refusal(data) is Reason.POSSESSION_FAILED
    for data in (b"", NONCE, NONCE + b"\x00", NONCE + b"\x00\x02{}", NONCE + b"\x10\x00{}signature"):
        assert refusal(data, shows_key=True) is Reason.POSSESSION_FAILED


def test_a_client_signs_a_nonce_of_eight_bytes_and_nothing_else() -> None:
    assert parse_challenge(NONCE) == NONCE
    for data in (b"", NONCE[:7], NONCE + b"x"):
        with pytest.raises(ValueError, match="not 8"):
            parse_challenge(data)


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_read_whole_or_refused(data: bytes, shows_key: bool) -> None:  # noqa: FBT001 - hypothesis
    with contextlib.suppress(Refused):
        proof = parse_proof(data, shows_key=shows_key)
        length = len(proof.key).to_bytes(2, "big") if shows_key else b""
        assert proof.nonce + length + proof.key + proof.signature == data
    with contextlib.suppress(Refused):
        assert write_token(parse_token(data)) == data
