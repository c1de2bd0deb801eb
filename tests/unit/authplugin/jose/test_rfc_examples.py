"""The examples that the standards themselves print: RFC 7515, 7517, 7638 and 8037.

Their tokens name no key, and we require one: each is refused for that alone, its signature holds, and
the same payload under the same key with a kid is accepted.
"""

import base64
from dataclasses import dataclass

import pytest
from jwt import PyJWK
from jwt.algorithms import get_default_algorithms

from authplugin.errors import KeySetError, Reason, Refused
from authplugin.jose import verify_jws
from authplugin.jose.jwk import Unfit, admit, admit_set, thumbprint
from authplugin.testing.mint import base64url

ALL = ["RS256", "ES256", "EdDSA"]
_CLAIMS = b"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"


@dataclass(frozen=True)
class Example:
    """A token as printed, its public key, and the private half as printed."""

    algorithm: str
    token: bytes
    public: dict[str, object]
    private: dict[str, object]


EXAMPLES = {
    "RFC 7515 A.2": Example(
        "RS256",
        b"eyJhbGciOiJSUzI1NiJ9."
        + _CLAIMS
        + b".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
        b"AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb"
        b"F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArL"
        b"IARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383"
        b"LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2"
        b"w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        {
            "kty": "RSA",
            "e": "AQAB",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQ"
            "oTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR"
            "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2j"
            "Z47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS"
            "-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv"
            "b3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2et"
            "hFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        },
        {
            "d": "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50L"
            "pXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46su"
            "i395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaY"
            "LU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdG"
            "copV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb"
            "1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2S"
            "R_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ"
        },
    ),
    "RFC 7515 A.3": Example(
        "ES256",
        b"eyJhbGciOiJFUzI1NiJ9."
        + _CLAIMS
        + b".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
        b"pmWQxfKTUJqPP3-Kg6NU1Q",
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        },
        {"d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"},
    ),
    "RFC 8037 A.4": Example(
        "EdDSA",
        b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI"
        b"1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6d"
        b"WbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
    ),
}
#: The public keys of RFC 7517 A.1: one to encrypt with, one to verify with.
PUBLISHED: list[dict[str, object]] = [
    {
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "use": "enc",
        "kid": "1",
    },
    {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiA"
        "FbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF"
        "V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl9"
        "3lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0"
        "zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyr"
        "dkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF"
        "Cur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    },
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_printed_token_is_refused_for_its_kid_alone(name: str) -> None:
    example = EXAMPLES[name]
    jwk = {**example.public, "kid": "printed"}
    with pytest.raises(Refused) as refused:
        verify_jws(example.token, {"keys": [jwk]}, algorithms=ALL)
    assert refused.value.reason is Reason.KID_INVALID
    signing_input, _, signature = example.token.rpartition(b".")
    assert admit(jwk, ALL).holds(signing_input, base64.urlsafe_b64decode(signature + b"=="))


@pytest.mark.parametrize("name", EXAMPLES)
def test_printed_payload_signed_again_with_a_kid_is_accepted(name: str) -> None:
    example = EXAMPLES[name]
    payload = example.token.split(b".")[1]
    signing_input = base64url(b'{"alg":"%s","kid":"printed"}' % example.algorithm.encode()) + b"." + payload
    key = PyJWK({**example.public, **example.private}, example.algorithm).key
    signature = get_default_algorithms()[example.algorithm].sign(signing_input, key)
    token = signing_input + b"." + base64url(signature)
    jwks = {"keys": [{**example.public, "kid": "printed"}]}
    assert verify_jws(token, jwks, algorithms=[example.algorithm]) == base64.urlsafe_b64decode(
        payload + b"=="
    )
    assert verify_jws(token, jwks, algorithms=ALL)


@pytest.mark.parametrize("name", EXAMPLES)
def test_printed_private_key_is_never_a_key_of_a_set(name: str) -> None:
    example = EXAMPLES[name]
    jwks: dict[str, object] = {"keys": [{**example.public, **example.private, "kid": "printed"}]}
    with pytest.raises(KeySetError, match="refused whole"):
        admit_set(jwks, ALL)


def test_rfc_7515_a_1_and_a_5_are_no_tokens_for_us() -> None:
    """HS256 under the printed symmetric key, and the unsecured token."""
    printed = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    jwks: dict[str, object] = {"keys": [{"kty": "oct", "k": printed, "kid": "printed"}]}
    for head, signature in (
        (b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        (b"eyJhbGciOiJub25lIn0", b""),
    ):
        with pytest.raises(Refused) as refused:
            verify_jws(head + b"." + _CLAIMS + b"." + signature, jwks, algorithms=[*ALL, "HS256", "none"])
        assert refused.value.reason is Reason.ALG_NOT_ALLOWED


def test_rfc_7517_a_1_leaves_the_key_to_verify_with() -> None:
    admission = admit_set({"keys": PUBLISHED}, ALL)
    assert list(admission.keys) == ["2011-04-29"]
    assert [(out.position, out.kid, out.why) for out in admission.left_out] == [
        (0, "1", Unfit.USE_NOT_SIGNATURE)
    ]


@pytest.mark.parametrize(
    "secret",
    [
        {"kty": "oct", "alg": "A128KW", "k": "GawgguFyGrWKav7AX4VKUg"},
        {**PUBLISHED[0], "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"},
    ],
)
def test_rfc_7517_a_2_and_a_3_are_refused_whole(secret: dict[str, object]) -> None:
    with pytest.raises(KeySetError, match="refused whole"):
        admit_set({"keys": [*PUBLISHED, secret]}, ALL)


def test_rfc_7638_and_8037_name_keys_by_the_same_thumbprints() -> None:
    assert thumbprint(PUBLISHED[1]) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert thumbprint(EXAMPLES["RFC 8037 A.4"].public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
