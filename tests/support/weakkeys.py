"""RSA keys that nobody should publish, and odd ones, made once a run: primes take their time."""

import math
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
#: k and a of two such primes of 1,024 bits; searching for others takes seconds.
_FLAWED = ((0x203AF627D3BDBE, 0xA8062A5558B90D5), (0x209FAF07CE47F6, 0xDDDE526B087E5B61))


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
    p, q = (k * m + pow(65537, a, m) for k, a in _FLAWED)
    return _assemble(p, q)


@cache
def uneven_key() -> RSAPrivateKey:
    """A fit key of 2,049 bits, which no library makes when asked: its signatures have a byte of one bit."""
    long, short = (generate_private_key(65537, bits).private_numbers() for bits in (2050, 2048))
    return _assemble(max(long.p, long.q), max(short.p, short.q))


def _assemble(p: int, q: int) -> RSAPrivateKey:
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
