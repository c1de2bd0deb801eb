"""Keys that verify and do nothing else: one algorithm each (RFC 8725 §3.1), public halves only.

RSA and Ed25519 call the prepared `cryptography` key directly; ES256 goes through PyJWT's algorithm,
which turns the fixed-width signature into the DER that `cryptography` reads.
"""

from abc import ABC, abstractmethod

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import ECAlgorithm

_PKCS1 = PKCS1v15()
_SHA256 = SHA256()
_ES256 = ECAlgorithm(ECAlgorithm.SHA256)
_ED25519_SIGNATURE_BYTES = 64


class VerifyingKey(ABC):
    """A public key fit for one algorithm.

    Attributes:
        kid: its name within its issuer's set.
        algorithm: the only ``alg`` it verifies.
        thumbprint: RFC 7638 SHA-256 thumbprint: tells new material under an old name.
        bits: size of the modulus or of the curve's field.
    """

    __slots__ = ("algorithm", "bits", "kid", "thumbprint")

    def __init__(self, kid: str, algorithm: str, thumbprint: str, bits: int) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.thumbprint = thumbprint
        self.bits = bits

    def __repr__(self) -> str:
        return f"VerifyingKey({self.kid!r}, {self.algorithm}, {self.bits} bits, {self.thumbprint})"

    @abstractmethod
    def holds(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether ``signature`` over ``signing_input`` was made by this key's private half."""


class RSAKey(VerifyingKey):
    """RS256: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3)."""

    __slots__ = ("_bytes", "_verify")

    def __init__(self, kid: str, thumbprint: str, public: RSAPublicKey) -> None:
        super().__init__(kid, "RS256", thumbprint, public.key_size)
        self._bytes = (public.key_size + 7) // 8
        self._verify = public.verify

    def holds(self, signing_input: bytes, signature: bytes) -> bool:
        """See `VerifyingKey.holds`; a signature is exactly as long as the modulus (RFC 8017 §8.2.2)."""
        if len(signature) != self._bytes:
            return False
        try:
            self._verify(signature, signing_input, _PKCS1, _SHA256)
        except InvalidSignature:
            return False
        return True


class P256Key(VerifyingKey):
    """ES256: ECDSA on P-256 with SHA-256, r and s as 32 bytes each (RFC 7518 §3.4)."""

    __slots__ = ("_public",)

    def __init__(self, kid: str, thumbprint: str, public: EllipticCurvePublicKey) -> None:
        super().__init__(kid, "ES256", thumbprint, public.key_size)
        self._public = public

    def holds(self, signing_input: bytes, signature: bytes) -> bool:
        """See `VerifyingKey.holds`."""
        return _ES256.verify(signing_input, self._public, signature)


class Ed25519Key(VerifyingKey):
    """EdDSA on Ed25519 (RFC 8037 §3.1)."""

    __slots__ = ("_verify",)

    def __init__(self, kid: str, thumbprint: str, public: Ed25519PublicKey) -> None:
        super().__init__(kid, "EdDSA", thumbprint, 255)
        self._verify = public.verify

    def holds(self, signing_input: bytes, signature: bytes) -> bool:
        """See `VerifyingKey.holds`."""
        if len(signature) != _ED25519_SIGNATURE_BYTES:
            return False
        try:
            self._verify(signature, signing_input)
        except InvalidSignature:
            return False
        return True
