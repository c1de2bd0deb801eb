"""What a token is bound to: one key or one certificate, or the token is refused."""

import hashlib

import pytest

from authplugin.errors import Reason, Refused
from authplugin.jose.base64url import encode
from authplugin.jose.jwk import thumbprint
from authplugin.jose.possession import CERTIFICATE, KEY, confirmation
from authplugin.model import Grant, Terms
from authplugin.topics.template import Templates
from tests.support.mints import mint

DIGEST = hashlib.sha256(b"a certificate").digest()


def test_a_token_without_cnf_is_bound_to_nothing() -> None:
    assert confirmation(None) == b""


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_bound_key_is_named_by_its_thumbprint_whatever_else_its_jwk_says(algorithm: str) -> None:
    jwk = {name: value for name, value in mint(algorithm).jwk().items() if name != "alg"}
    bound = confirmation({"jwk": jwk})
    assert bound == confirmation({"jwk": {**jwk, "kid": "other"}})
    assert bound == confirmation({"jkt": thumbprint(jwk)})
    assert bound == confirmation({"jkt": thumbprint(jwk), "jwk": jwk, "kid": "x"})
    assert (bound[:1], len(bound)) == (KEY, 33)


def test_a_bound_certificate_is_named_by_its_digest() -> None:
    assert confirmation({"x5t#S256": encode(DIGEST)}) == CERTIFICATE + DIGEST


@pytest.mark.parametrize(
    "cnf",
    [
        {},
        {"kid": "x"},
        {"osc": {}},
        {"jku": "https://acme.my.site.com/keys"},
        {"jwe": "a.b.c.d.e"},
        {"jwk": mint().device_jwk, "jku": "https://acme.my.site.com/keys"},
        {"jwk": {}},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}},
        {"jwk": {**mint("EdDSA").jwk(), "d": "AQAB"}},
        {"jwk": "x"},
        {"jwk": None},
        {"jwk": []},
        {"jkt": None},
        {"jkt": 1},
        {"jkt": ""},
        {"jkt": "A" * 42},
        {"jkt": "A" * 42 + "B"},
        {"jkt": "A" * 41 + "="},
        {"jkt": "A" * 44},
        {"jkt": "A" * 42 + "\ud800"},
        {"x5t#S256": "AAAA"},
        {"x5t#S256": encode(DIGEST), "jkt": encode(DIGEST)},
        {"jwk": mint().device_jwk, "jkt": encode(DIGEST)},
    ],
)
def test_a_binding_that_cannot_be_checked_is_refused(cnf: dict[str, object]) -> None:
    with pytest.raises(Refused) as refused:
        confirmation(cnf)
    assert refused.value.reason is Reason.CLAIMS_MALFORMED


def test_a_grant_shows_the_thumbprint_of_its_key_only() -> None:
    def grant(bound: bytes) -> Grant:
        return Grant("a", "d", 0.0, b"", bound, Terms("i", "k", Templates((), ())))

    jwk = mint().device_jwk
    assert grant(confirmation({"jwk": jwk})).key_thumbprint == thumbprint(jwk)
    assert grant(CERTIFICATE + DIGEST).key_thumbprint is None
    assert grant(b"").key_thumbprint is None
