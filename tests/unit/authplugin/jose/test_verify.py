"""One token, one set: the seam that public vector suites are run against."""

import subprocess
import sys

import pytest

import authplugin.jose
from authplugin.errors import Reason, Refused
from authplugin.jose import verify_jws
from authplugin.jose.jwk import admit
from authplugin.testing import TokenMint
from authplugin.testing.mint import base64url
from tests.support.mints import mint

ALL = ["RS256", "ES256", "EdDSA"]


def named(algorithm: str) -> TokenMint:
    return mint(algorithm, algorithm)


def refusal(token: bytes, jwks: dict[str, object], algorithms: list[str] = ALL) -> Reason:
    with pytest.raises(Refused) as refused:
        verify_jws(token, jwks, algorithms=algorithms)
    return refused.value.reason


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("payload", [b"", b"not json", b"\x00\xff", b"{}"])
def test_payload_comes_back_as_signed(algorithm: str, payload: bytes) -> None:
    of = named(algorithm)
    assert verify_jws(of.sign(payload), of.jwks(), algorithms=[algorithm]) == payload


def test_each_algorithm_is_tied_to_its_key() -> None:
    jwks: dict[str, object] = {"keys": [named(algorithm).jwk() for algorithm in ALL]}
    for algorithm in ALL:
        for other in ALL:
            token = named(algorithm).sign(b"{}", header={"alg": algorithm, "kid": other})
            if other == algorithm:
                assert verify_jws(token, jwks, algorithms=ALL) == b"{}"
            else:
                assert refusal(token, jwks) is Reason.ALG_NOT_ALLOWED


def test_only_what_the_caller_allows_is_verified() -> None:
    for algorithm in ALL:
        of = named(algorithm)
        for allowed in ([], ["none"], ["HS256", "PS256"], [name for name in ALL if name != algorithm]):
            assert refusal(of.sign(b"{}"), of.jwks(), allowed) is Reason.ALG_NOT_ALLOWED


@pytest.mark.parametrize("algorithm", ALL)
def test_wrong_signature_is_refused(algorithm: str) -> None:
    of = named(algorithm)
    head, payload, signature = of.sign(b"{}").split(b".")
    other = of.sign(b"[]").split(b".")[2]
    for wrong in (
        other,
        b"",
        signature + b"AAAA",
        signature[4:],
        base64url(bytes(64)),
        base64url(bytes(256)),
    ):
        assert refusal(b".".join([head, payload, wrong]), of.jwks()) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("algorithm", ALL)
def test_kid_is_required_in_token_and_key(algorithm: str) -> None:
    of = named(algorithm)
    assert refusal(of.sign(b"{}", header={"alg": algorithm}), of.jwks()) is Reason.KID_INVALID
    anonymous = {name: value for name, value in of.jwk().items() if name != "kid"}
    assert refusal(of.sign(b"{}"), {"keys": [anonymous]}) is Reason.KEY_UNKNOWN


@pytest.mark.parametrize(
    "jwks", [{}, {"keys": []}, {"keys": {}}, {"keys": [7]}, {"keys": [{"kid": "RS256"}]}]
)
def test_set_without_the_key_is_refused(jwks: dict[str, object]) -> None:
    assert refusal(named("RS256").sign(b"{}"), jwks) is Reason.KEY_UNKNOWN


def test_refusal_says_why_the_key_was_left_out_and_shows_no_material() -> None:
    of = named("RS256")
    jwk = {**of.jwk(), "use": "enc"}
    with pytest.raises(Refused) as refused:
        verify_jws(of.sign(b"{}"), {"keys": [jwk]}, algorithms=ALL)
    assert refused.value.detail == "key 0 has a use other than sig"
    assert str(jwk["n"]) not in str(refused.value)


@pytest.mark.parametrize("algorithm", ALL)
def test_key_says_no_to_lengths_that_cannot_be(algorithm: str) -> None:
    key = admit(named(algorithm).jwk(), ALL)
    for length in (0, 1, 63, 64, 65, 255, 256, 257, 5000):
        assert not key.holds(b"message", bytes(length))


def test_identity_rules_come_without_the_verifier_and_the_seam_is_there_all_the_same() -> None:
    asked = "import sys, authplugin.jose.identity; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
    assert authplugin.jose.verify_jws is verify_jws
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = authplugin.jose.other
