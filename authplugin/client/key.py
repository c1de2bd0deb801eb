"""The device's own key, and the actor token it signs with it (RFC 8693 §1.1, protocol of the issuer)."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

DeviceKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
"""RSA of 2048 bits or more (RS256), P-256 (ES256) or Ed25519 (EdDSA)."""

KEY_NAME = "devicekey"
"""``kid`` of the key in ``cnf.jwk``, as in the vendor's sample."""

_P256_BYTES = 32


def make_key(algorithm: str = "ES256") -> DeviceKey:
    """Make a device's key; RSA takes a tenth of a second or so, and much longer on a small device.

    Args:
        algorithm: ``ES256``, ``RS256`` or ``EdDSA``.

    Raises:
        ValueError: another algorithm.
    """
    if algorithm == "ES256":
        return generate_ec(SECP256R1())
    if algorithm == "RS256":
        return generate_rsa(65537, 2048)
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.generate()
    raise ValueError(f"{algorithm} is not ES256, RS256 or EdDSA")


def load_key(file: Path) -> DeviceKey:
    """Read a key from an unencrypted PEM file.

    Raises:
        ValueError: it is no key of a kind that can be bound; says so without showing it.
        OSError: the file cannot be read.
    """
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError):
        raise ValueError(f"{file}: not an unencrypted private key in PEM") from None
    if isinstance(key, EllipticCurvePrivateKey) and not isinstance(key.curve, SECP256R1):
        raise ValueError(f"{file}: curve {key.curve.name}, not P-256")  # noqa: TRY004 - a wrong file
    if not isinstance(key, DeviceKey):
        raise ValueError(f"{file}: not an RSA, P-256 or Ed25519 key")  # noqa: TRY004 - a wrong file
    return key


def public_jwk(key: DeviceKey) -> dict[str, str]:
    """The public key as ``cnf.jwk`` carries it (RFC 7517, RFC 7518 §6, RFC 8037 §2)."""
    if isinstance(key, RSAPrivateKey):
        rsa = key.public_key().public_numbers()
        return {"kty": "RSA", "kid": KEY_NAME, "n": _number(rsa.n), "e": _number(rsa.e)}
    if isinstance(key, EllipticCurvePrivateKey):
        point = key.public_key().public_numbers()
        x, y = (base64url(value.to_bytes(_P256_BYTES, "big")) for value in (point.x, point.y))
        return {"kty": "EC", "kid": KEY_NAME, "crv": "P-256", "x": x, "y": y}
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "kid": KEY_NAME, "crv": "Ed25519", "x": base64url(raw)}


def algorithm_of(key: DeviceKey) -> str:
    """The JWS algorithm that the key signs with (RFC 7518 §3.1, RFC 8037 §3.1)."""
    if isinstance(key, RSAPrivateKey):
        return "RS256"
    return "ES256" if isinstance(key, EllipticCurvePrivateKey) else "EdDSA"


def sign(key: DeviceKey, octets: bytes) -> bytes:
    """Sign as JWS does: PKCS #1 v1.5 with SHA-256, ``r || s`` of P-256 with SHA-256, or Ed25519."""
    if isinstance(key, RSAPrivateKey):
        return key.sign(octets, PKCS1v15(), SHA256())
    if isinstance(key, EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(octets, ECDSA(SHA256())))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")
    return key.sign(octets)


def write_actor_token(claims: Mapping[str, object], key: DeviceKey) -> str:
    """An actor token of these claims with the key bound: ``cnf.jwk`` is added, and the key signs."""
    header = {"typ": "JWT", "alg": algorithm_of(key)}
    payload = {**claims, "cnf": {"jwk": public_jwk(key)}}
    text = ".".join(
        base64url(json.dumps(part, separators=(",", ":"), ensure_ascii=False).encode())
        for part in (header, payload)
    )
    return f"{text}.{base64url(sign(key, text.encode()))}"


def base64url(octets: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _number(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
