"""X.509 certificates as keys: the JWK of the key in one, and the digest that names one (RFC 8705).

Nothing here looks at names, dates or who signed: a certificate is read for its public key alone.
Whether its holder has the private half is for the TLS handshake to say.
"""

import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import InvalidVersion, load_der_x509_certificate

from authplugin.jose.base64url import encode
from authplugin.jose.jwk import Unfit, UnfitKeyError

_FIELD_BYTES = 32

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
"""The kinds of keys that tokens and proofs are signed with."""


def certificate_digest(der: bytes) -> bytes:
    """The SHA-256 of a certificate: ``x5t#S256`` (RFC 8705 §3.1) before base64url."""
    return hashlib.sha256(der).digest()


def certificate_jwk(der: bytes) -> dict[str, str]:
    """The public key of a certificate as a JWK: ``kty`` and the key's own members, no name.

    Args:
        der: the certificate, DER.

    Raises:
        UnfitKeyError: no certificate, or a key of another kind than RSA, P-256 and Ed25519.
    """
    try:
        public = load_der_x509_certificate(der).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidVersion):
        raise UnfitKeyError(Unfit.MALFORMED, "is not an X.509 certificate of a known kind") from None
    return public_jwk(public)


def public_jwk(public: object) -> dict[str, str]:
    """A public key as a JWK (RFC 7518 §6, RFC 8037 §2).

    Raises:
        UnfitKeyError: a key of another kind than RSA, P-256 and Ed25519.
    """
    if isinstance(public, RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": _integer(numbers.n), "e": _integer(numbers.e)}
    if isinstance(public, Ed25519PublicKey):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": encode(raw)}
    if isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1):
        point = public.public_numbers()
        x, y = (encode(number.to_bytes(_FIELD_BYTES, "big")) for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    raise UnfitKeyError(Unfit.KTY_UNSUPPORTED, "is none of RSA, P-256 and Ed25519")


def _integer(number: int) -> str:
    return encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))
