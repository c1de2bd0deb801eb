"""Well-signed tokens of odd texts: what we accept, two other libraries accept and read alike."""

import json
import random

import jwt
import pytest
from joserfc import jws
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry

from authplugin.errors import Reason, Refused
from tests.support.judge import judge
from tests.support.mints import CLOCK, mint

_OPTIONS = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "sub", "jti")}
_HEADERS = (
    ' {0}"kid":"Curve"{1}',
    '{0}"typ":"JWT"{1}',
    '{0}"typ":"jwt"{1}',
    '{0}"cty":"json"{1}',
    '{0}"x5t":"AAAA"{1}',
    '{0}"x":[[[]]]{1}',
    '{0}"\\u0061lg":"ES256"{1}',
    '{0}"alg":"none"{1}',
    '{0}"b64":true{1}',
    '{0}"kid":null{1}',
    "\n{0} {1}",
)
_MEMBERS = (
    '"x":1',
    '"x":-0.0',
    '"x":1E5',
    '"x":1.5e-7',
    '"x":123456789012345678901234567890',
    '"x":0.1234567890123456789',
    '"x":"\\u00e9\\ud83d\\ude00\\/"',
    '"x":"\u00e9\u2028"',
    '"x":"\\u0000"',
    '"x":"\\ud83d"',
    '"x":{"a":{"b":[1,{"c":null}]}}',
    '"x":' + "[" * 15 + "]" * 15,
    '"x":' + "[" * 40 + "]" * 40,
    '"x":NaN',
    '"x":1e999',
    '"x":01',
    '"x":1,"x":1',
    '"x":{"a":1,"a":2}',
    '"":""',
    '"exp":1',
    '"sub":"x"',
    '"sub":5',
    '"iat":1.5',
    '"jti":"a"',
    '"jti":[]',
    '"\\u0065xp":2',
    '"x":"a\tb"',
)
_SPACES = ("", " ", "\n", "\t", "\r\n ", "\x0b", "\xa0", "\ufeff", "\x00")
_USUAL = ("", "", "", " ", "\n")


def spaced(text: str, source: random.Random) -> str:
    """The same text with space after some members' names and values, mostly of the kind that JSON allows."""
    odd = source.random() < 0.1
    changed = text
    for joint in ('":', '",', "],", "}"):
        space = source.choice(_SPACES if odd else _USUAL)
        changed = changed.replace(joint, joint[:-1] + space + joint[-1] + source.choice(_USUAL))
    return changed


def members(text: str) -> str:
    return text.strip()[1:-1]


def made(source: random.Random) -> bytes:
    of = mint("ES256", "Curve")
    kept = ["cnf", "id", "nbf"]
    claims = members(json.dumps(of.claims(**dict.fromkeys(source.sample(kept, source.randrange(3))))))
    for _ in range(source.choice([0, 1, 1, 2])):
        extra = source.choice(_MEMBERS)
        claims = source.choice([f"{extra},{claims}", f"{claims},{extra}"])
    header = members(json.dumps(of.header()))
    if source.random() < 0.4:
        header = source.choice(_HEADERS).format(
            *(("", f",{header}") if source.random() < 0.5 else (f"{header},", ""))
        )
    head, payload = (spaced(f"{{{text}}}", source).encode() for text in (header, claims))
    return of.sign(payload, header=head)


def test_what_we_accept_of_odd_texts_others_accept_and_read_alike() -> None:
    source = random.Random(2026)
    of = mint("ES256", "Curve")
    key, other = jwt.PyJWK(of.jwk()), import_key(of.jwk())  # type: ignore[arg-type] # a JWK
    # RFC 7515 §4 has members that are not understood ignored.
    registry = JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    accepted = 0
    reasons: set[Reason] = set()
    for _ in range(2500):
        token = made(source)
        try:
            claims = judge(token, of, now=CLOCK.now(), algorithms=frozenset({"ES256"}))
        except Refused as refused:
            reasons.add(refused.reason)
            continue
        accepted += 1
        theirs = jwt.decode(token, key, algorithms=["ES256"], options=_OPTIONS)  # type: ignore[arg-type] # some of the options
        assert theirs == dict(claims.all)
        read = jws.deserialize_compact(token, other, registry=registry)
        assert json.loads(read.payload) == theirs
    assert accepted > 700
    assert {Reason.MALFORMED, Reason.CLAIMS_MALFORMED, Reason.NOT_ASSET_TOKEN} <= reasons


def spellings(token: bytes, source: random.Random) -> list[bytes]:
    """Tokens that say much the same as a good one: parts swapped, doubled, dropped, other cases and pads."""
    head, payload, signature = token.split(b".")
    parts = [head, payload, signature, b"", head.swapcase(), payload.lower(), signature.upper()]
    made = [b".".join(source.choice(parts) for _ in range(source.randrange(1, 5))) for _ in range(300)]
    for part in range(3):
        for change in (
            bytes.swapcase,
            bytes.lower,
            lambda text: text + b"=" * (-len(text) % 4 or 4),
            lambda text: b"=" + text,
            lambda text: text[::-1],
            lambda text: text + text,
            lambda text: text.replace(b"-", b"+").replace(b"_", b"/") + b"+",
            lambda text: text[:-1],
            lambda text: text + b"A",
            lambda text: b"A" * 4 + text,
        ):
            changed = [head, payload, signature]
            changed[part] = change(changed[part])
            made.append(b".".join(changed))
    return made


@pytest.mark.parametrize(
    ("algorithm", "kid"), [("RS256", "Assets"), ("ES256", "Curve"), ("EdDSA", "Edwards")]
)
def test_of_all_its_spellings_only_the_token_itself_is_accepted(algorithm: str, kid: str) -> None:
    of = mint(algorithm, kid)
    token = of.mint(cnf=None)
    bits = [bytearray(token) for _ in range(8 * len(token))] if algorithm == "EdDSA" else []
    for number, flipped in enumerate(bits):
        flipped[number // 8] ^= 1 << number % 8
    mutants = {*spellings(token, random.Random(algorithm)), *map(bytes, bits)} - {token}
    for mutant in mutants:
        with pytest.raises(Refused):
            judge(mutant, of, now=CLOCK.now(), algorithms=frozenset({algorithm}))
    assert judge(token, of, now=CLOCK.now(), algorithms=frozenset({algorithm})).iss == of.issuer
