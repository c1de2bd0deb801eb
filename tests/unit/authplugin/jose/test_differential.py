"""What we accept, PyJWT and joserfc accept and read alike; no mutation of a good token is ever accepted."""

import json
import random

import jwt
import pytest
from joserfc import jws
from joserfc.jwk import import_key

from authplugin.errors import Refused
from authplugin.jose import verify_jws
from authplugin.testing import TokenMint
from tests.support.judge import judge
from tests.support.mints import CLOCK, mint

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def accepted_elsewhere(token: bytes, of: TokenMint) -> list[object]:
    """The claims as the two other libraries read them; raises if either refuses."""
    options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    theirs = jwt.decode(token, jwt.PyJWK(of.jwk()), algorithms=[of.algorithm], options=options)  # type: ignore[arg-type] # some of the options
    other = jws.deserialize_compact(token, import_key(of.jwk()), algorithms=[of.algorithm])  # type: ignore[arg-type] # a JWK
    return [theirs, json.loads(other.payload)]


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # by RFC 9864, for a name few issuers write yet
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_we_accept_others_accept_and_read_alike(algorithm: str) -> None:
    of = mint(algorithm, "Assets" if algorithm == "RS256" else algorithm)
    source = random.Random(7)
    for _ in range(40):
        extra = {
            f"x{source.random()}": source.choice([1, -1.5, 'é\u2028\\"', [1, [2]], {"a": {}}, True, ""])
            for _ in range(3)
        }
        token = of.mint(**extra)
        claims = judge(token, of, now=CLOCK.now(), algorithms=frozenset({algorithm}))
        assert all(dict(claims.all) == theirs for theirs in accepted_elsewhere(token, of))


def mutations(token: bytes, source: random.Random, count: int) -> list[bytes]:
    made = []
    for _ in range(count):
        mutant = bytearray(token)
        for _ in range(source.choice([1, 1, 1, 2, 5])):
            where = source.randrange(len(mutant))
            kind = source.randrange(6)
            if kind == 0:
                mutant[where] = source.choice(LETTERS)
            elif kind == 1:
                mutant[where] = source.randrange(256)
            elif kind == 2:
                del mutant[where]
            elif kind == 3:
                mutant.insert(where, source.choice(LETTERS + b".=+/ \n"))
            elif kind == 4:
                other = source.randrange(len(mutant))
                mutant[where], mutant[other] = mutant[other], mutant[where]
            else:
                mutant[where:where] = mutant[where : where + source.randrange(8)]
        made.append(bytes(mutant))
    return made


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_mutation_of_a_good_token_is_accepted(algorithm: str) -> None:
    of = mint(algorithm, "Assets" if algorithm == "RS256" else algorithm)
    token = of.mint()
    jwks = of.jwks()
    refused = 0
    for mutant in mutations(token, random.Random(algorithm), 1500):
        if mutant == token:
            continue
        with pytest.raises(Refused):
            verify_jws(mutant, jwks, algorithms=[algorithm])
        refused += 1
    assert refused > 1300
    assert verify_jws(token, jwks, algorithms=[algorithm])


def test_every_single_letter_matters() -> None:
    of = mint("EdDSA", "EdDSA")
    token = of.mint(cnf=None)
    jwks = of.jwks()
    for where, letter in enumerate(token):
        changed = LETTERS[(LETTERS.index(letter) + 1) % 64] if letter in LETTERS else LETTERS[0]
        with pytest.raises(Refused):
            verify_jws(token[:where] + bytes([changed]) + token[where + 1 :], jwks, algorithms=["EdDSA"])


def test_parts_of_two_good_tokens_do_not_mix() -> None:
    of = mint()
    first, second = of.mint().split(b"."), of.mint(aid="02iAB00000CdEfH").split(b".")
    jwks = of.jwks()
    for parts in ([first[0], first[1], second[2]], [first[0], second[1], first[2]]):
        with pytest.raises(Refused):
            verify_jws(b".".join(parts), jwks, algorithms=["RS256"])
