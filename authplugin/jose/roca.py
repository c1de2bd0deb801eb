"""The ROCA fingerprint: RSA moduli from a flawed chip library (CVE-2017-15361).

That library made primes of the form k·M + (65537^a mod M), M the product of the first primes. So its
moduli are powers of 65537 modulo each of those small primes, which a random modulus is with a chance
of about one in 2^27 (Nemec and others, "The Return of Coppersmith's Attack", 2017, §3.1).
"""

_GENERATOR = 65537
# fmt: off
_PRIMES = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)
# fmt: on


def _powers(prime: int) -> frozenset[int]:
    """Every power of the generator modulo ``prime``."""
    return frozenset(pow(_GENERATOR, exponent, prime) for exponent in range(prime))


_POWERS = tuple((prime, _powers(prime)) for prime in _PRIMES)


def has_fingerprint(modulus: int) -> bool:
    """Whether ``modulus`` looks made by the flawed library, so that its factors can be found."""
    return all(modulus % prime in powers for prime, powers in _POWERS)
