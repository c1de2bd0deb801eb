"""What the fuzzer is fed, without the fuzzer: the seeds and some thousand random changes of them."""

import random

import pytest

from authplugin.errors import Refused
from authplugin.jose import verify_jws
from tests.fuzz.targets import TARGETS, judge_token, mints, published

INPUTS = 3000
PIECES = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u0061",
    b"null",
    b"1e999",
    b".",
    b"=",
    b"/",
    b"+",
    b"#",
    b"$",
)


def changed(data: bytes, source: random.Random, others: list[bytes]) -> bytes:
    """One to four changes of the kinds that a fuzzer makes."""
    mutant = bytearray(data)
    for _ in range(source.choice([1, 1, 2, 4])):
        where = source.randrange(len(mutant) + 1)
        match source.randrange(6):
            case 0 if where < len(mutant):
                mutant[where] ^= 1 << source.randrange(8)
            case 1:
                del mutant[where : where + source.randrange(1, 9)]
            case 2:
                mutant[where:where] = source.choice(PIECES)
            case 3:
                mutant[where:where] = mutant[where : where + source.randrange(1, 40)]
            case 4:
                other = source.choice(others)
                mutant[where:] = other[source.randrange(len(other) + 1) :]
            case _:
                mutant[where:where] = source.randbytes(source.randrange(1, 5))
    return bytes(mutant)


@pytest.mark.parametrize("name", TARGETS)
def test_target_stands_any_bytes(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    for seed in [*seeds, b"", b"\0", b"\xff" * 70_000]:
        target.body(seed)
    source = random.Random(name)
    pool = list(seeds)
    for _ in range(INPUTS):
        mutant = changed(source.choice(pool), source, seeds)
        target.body(mutant)
        if len(pool) < 10 * len(seeds) and len(mutant) < 5000:
            pool.append(mutant)


def test_target_notices_a_verifier_that_takes_a_second_spelling() -> None:
    def lax(token: bytes, jwks: dict[str, object], *, algorithms: frozenset[str]) -> bytes:
        return verify_jws(token.rstrip(b"="), jwks, algorithms=algorithms)

    token = mints()[0].mint(cnf=None)
    judge_token(token, lax)
    with pytest.raises((AssertionError, Refused)):
        judge_token(token + b"==", lax)


def test_target_notices_a_verifier_that_returns_another_payload() -> None:
    def wrong(token: bytes, jwks: dict[str, object], *, algorithms: frozenset[str]) -> bytes:
        return verify_jws(token, jwks, algorithms=algorithms) + b" "

    with pytest.raises(AssertionError, match="another payload"):
        judge_token(mints()[0].mint(cnf=None), wrong)
    assert len(published()) == 1
