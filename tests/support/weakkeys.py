"""RSA keys that nobody should publish, made once a run: finding their primes takes its time."""

import math
import secrets
from functools import cache

from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    generate_private_key,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
)

from authplugin.testing.mint import base64url

PRIMES = [p for p in range(2, 702) if all(p % q for q in range(2, math.isqrt(p) + 1))]


def number(value: int, length: int | None = None) -> str:
    """A number as JWKs have it (RFC 7518 §2, Base64urlUInt), in ``length`` bytes when given."""
    size = length if length is not None else (value.bit_length() + 7) // 8
    return base64url(value.to_bytes(size, "big")).decode()


def rsa_jwk(n: int, e: int = 65537, **changes: object) -> dict[str, object]:
    """A public RSA JWK of any numbers at all."""
    return {"kty": "RSA", "kid": "Assets", "n": number(n), "e": number(e), **changes}


@cache
def roca_key() -> RSAPrivateKey:
    """A key made as the flawed library makes it: both primes k·M + (65537^a mod M)."""
    m = math.prod(PRIMES)

    def flawed_prime() -> int:
        while True:
            k = secrets.randbits(1024 - m.bit_length() + 1) | 1 << (1024 - m.bit_length())
            candidate = k * m + pow(65537, secrets.randbits(256), m)
            if candidate.bit_length() == 1024 and candidate % 2 and _is_prime(candidate):
                return candidate

    while True:
        p, q = flawed_prime(), flawed_prime()
        if (p * q).bit_length() == 2048 and math.gcd(65537, (p - 1) * (q - 1)) == 1:
            d = pow(65537, -1, (p - 1) * (q - 1))
            public = RSAPublicNumbers(65537, p * q)
            crt = (rsa_crt_dmp1(d, p), rsa_crt_dmq1(d, q), rsa_crt_iqmp(p, q))
            return RSAPrivateNumbers(p, q, d, *crt, public).private_key()


@cache
def small_key() -> RSAPrivateKey:
    """1,024 bits."""
    return generate_private_key(65537, 1024)  # noqa: S505 - the weak key that must be refused


@cache
def low_exponent_key() -> RSAPrivateKey:
    """2,048 bits, and an exponent of 3."""
    return generate_private_key(3, 2048)


def modulus(key: RSAPrivateKey) -> int:
    """N."""
    return key.public_key().public_numbers().n


def _is_prime(candidate: int) -> bool:
    return all(pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5, 7))
