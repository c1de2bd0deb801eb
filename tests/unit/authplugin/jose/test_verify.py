"""One token, one set: the seam that public vector suites are run against."""

import json
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


def test_example_of_rfc_7515_appendix_a_2_verifies() -> None:
    key = {
        "kty": "RSA",
        "kid": "a2",
        "e": "AQAB",
        "n": (
            "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR"
            "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB"
            "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia"
            "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
        ),
    }
    token = (
        b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
        b"Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5ju"
        b"jGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZR"
        b"mB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5"
        b"AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    )
    # The RFC's header names no key, and we require one: the signature alone is looked at here.
    signing_input, _, signature = token.rpartition(b".")
    padded = signature.translate(bytes.maketrans(b"-_", b"+/")) + b"=="
    import binascii  # noqa: PLC0415 - used here only

    assert admit(key, ["RS256"]).holds(signing_input, binascii.a2b_base64(padded))
    assert refusal(token, {"keys": [key]}) is Reason.KID_INVALID
    assert json.loads(binascii.a2b_base64(signing_input.split(b".")[0] + b"==")) == {"alg": "RS256"}


def test_identity_rules_come_without_the_verifier_and_the_seam_is_there_all_the_same() -> None:
    asked = "import sys, authplugin.jose.identity; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
    assert authplugin.jose.verify_jws is verify_jws
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = authplugin.jose.other  # type: ignore[attr-defined] # not there, as is asked
