"""Certificates as keys: the same JWK that other libraries write, and nothing of another kind."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa

from authplugin.jose.certificate import certificate_digest, certificate_jwk, public_jwk
from authplugin.jose.jwk import UnfitKeyError, admit_bound, thumbprint
from authplugin.jose.possession import KEY, confirmation, fits_certificate
from tests.support.bearers import Bearer, certify


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_the_key_of_a_certificate_is_its_owners(algorithm: str) -> None:
    bearer = Bearer(algorithm)
    assert certificate_jwk(bearer.certificate) == bearer.jwk
    assert admit_bound(certificate_jwk(bearer.certificate)).algorithm == algorithm
    assert certificate_digest(bearer.certificate) == hashlib.sha256(bearer.certificate).digest()


def test_other_kinds_of_key_and_other_bytes_are_none() -> None:
    version_3 = bytes.fromhex("a003020102")
    of_no_version = Bearer().certificate.replace(version_3, version_3[:-1] + b"\x1e", 1)
    for der in (b"", b"x", Bearer().certificate[:-1], certify(generate_ec(SECP384R1())), of_no_version):
        with pytest.raises(UnfitKeyError):
            certificate_jwk(der)
    with pytest.raises(UnfitKeyError, match="none of RSA, P-256 and Ed25519"):
        public_jwk(Ed448PrivateKey.generate().public_key())
    with pytest.raises(UnfitKeyError, match="not a JSON object"):
        admit_bound(["no key"])


def test_a_certificate_fits_its_own_key_and_no_other() -> None:
    bearer, other = Bearer(), Bearer(name="other")
    for cnf in ({"jwk": bearer.jwk}, bearer.jkt, bearer.x5t):
        assert fits_certificate(confirmation(cnf), bearer.certificate)
        assert not fits_certificate(confirmation(cnf), other.certificate)
        assert not fits_certificate(confirmation(cnf), b"no certificate")
    assert not fits_certificate(b"", bearer.certificate)


def test_a_certificate_with_a_weak_key_fits_nothing() -> None:
    weak = generate_rsa(65537, 1024)  # noqa: S505 - weak on purpose
    jwk = public_jwk(weak.public_key())
    assert thumbprint(jwk)
    assert not fits_certificate(confirmation({"jwk": jwk}), certify(weak))
    assert confirmation({"jwk": jwk}).startswith(KEY)
