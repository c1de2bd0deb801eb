"""Devices for tests: each holds a key, proves it, and has a certificate for it."""

import datetime as dt
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from jwt.algorithms import get_default_algorithms

from authplugin.ace import signed_text, write_proof
from authplugin.jose.certificate import certificate_digest
from authplugin.jose.jwk import thumbprint
from authplugin.testing.mint import PrivateKey, base64url
from tests.support.mints import mint

CLIENT_NONCE = b"client_n"
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a device")])
_DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Bearer:
    """A device with a key of its own; the same one for one name and algorithm, for RSA takes its time."""

    def __init__(self, algorithm: str = "EdDSA", name: str = "device") -> None:
        self.algorithm = algorithm
        self.key: PrivateKey = mint(algorithm, kid=name, issuer="https://device.example.com").key
        jwk = mint(algorithm, kid=name, issuer="https://device.example.com").jwk()
        self.jwk = {member: jwk[member] for member in jwk if member not in {"kid", "use", "alg"}}
        self.certificate = certify(self.key)

    @property
    def jkt(self) -> dict[str, object]:
        return {"jkt": thumbprint(self.jwk)}

    @property
    def x5t(self) -> dict[str, object]:
        return {"x5t#S256": base64url(certificate_digest(self.certificate)).decode()}

    def sign(self, message: bytes) -> bytes:
        return get_default_algorithms()[self.algorithm].sign(message, self.key)

    def answer(self, nonce: bytes, *, shows_key: bool = False) -> bytes:
        signature = self.sign(signed_text(nonce, CLIENT_NONCE))
        return write_proof(CLIENT_NONCE, signature, self.jwk if shows_key else None)


@cache
def certify(key: PrivateKey) -> bytes:
    """A self-signed certificate, DER."""
    builder = x509.CertificateBuilder(
        issuer_name=_NAME,
        subject_name=_NAME,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=_DAY,
        not_valid_after=_DAY + dt.timedelta(days=3650),
    )
    algorithm = None if isinstance(key, Ed25519PrivateKey) else SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)
