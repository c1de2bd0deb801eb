"""Usual claims: what is read in one pass is what the strict parser finds; the rest is left to that."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.errors import Refused
from authplugin.jose.claims import ClaimNames, parse_claims
from authplugin.jose.identity import IdForm
from authplugin.jose.possession import confirmation
from authplugin.jose.profile import Attribute, RequiredClaim
from authplugin.jose.usual import USUAL, UsualClaims, read_usual
from authplugin.policy import AssetScope, IssuerPolicy
from tests.support.mints import mint

JWK = '{"kid":"devicekey","kty":"RSA","e":"AQAB","n":"sXch"}'
BOUND = '{"jwk":' + JWK + "}"
SAMPLE = {
    "aud": '["https://ingest.example.com"]',
    "nbf": "1700000000",
    "iss": '"https://acme.my.site.com"',
    "cnf": BOUND,
    "id": '"05bAB"',
    "exp": "1700518400.5",
    "aid": '"02iAB00000CdEfG"',
    "did": '"0a1b"',
}
MEMBERS = st.tuples(
    st.sampled_from([*SAMPLE, "iat", "sub", "kty", "jwk", r"\u0069ss", r"a\"", ""]),
    st.sampled_from(
        [
            *(*SAMPLE.values(), "[]", '["a","b"]', "null", "true", "-1", "9007199254740992", r'"\""', "{}"),
            *('{"jwk":{"kty":"EC","e":"AQAB","n":"sXch"}}', BOUND[:-1] + ',"jkt":"x"}', '{"jwk":[]}'),
            '{"jwk":{"kty":"RSA","e":"AQAB","n":"sXch","d":"x"}}',
            '{"jwk":{"kty":"RSA","e":"AQAB","n":"A","n":"s"}}',
        ]
    ),
)
SPACE = st.sampled_from(["", "", "", " ", "\n\t"])


def read_alike(payload: bytes) -> bool:
    """Whether the payload is a usual one; if so, the strict parser must find the same in it."""
    usual = read_usual(payload)
    if usual is None:
        return False
    strict = parse_claims(payload)
    assert set(strict.all) <= USUAL
    assert (strict.iss, strict.exp, strict.nbf, strict.iat) == (usual.iss, usual.exp, usual.nbf, usual.iat)
    assert (strict.id, strict.aid, strict.did) == (usual.id, usual.aid, usual.did)
    assert strict.aud == ((usual.aud,) if isinstance(usual.aud, str) else usual.aud)
    assert bound(strict.cnf) == bound(usual.cnf)
    return True


def bound(cnf: object) -> object:
    try:
        return confirmation(cnf)  # type: ignore[arg-type] # either kind
    except Refused as refused:
        return refused.reason, refused.detail


def write(members: list[tuple[str, str]], space: str = "") -> bytes:
    return ("{" + f"{space},".join(f'"{name}"{space}:{value}' for name, value in members) + "}").encode()


@given(
    st.permutations(list(SAMPLE.items())),
    st.lists(MEMBERS, max_size=2),
    st.sets(st.sampled_from(list(SAMPLE)), max_size=2),
    SPACE,
)
def test_what_is_read_at_once_is_what_the_strict_parser_finds(
    sample: list[tuple[str, str]], more: list[tuple[str, str]], without: set[str], space: str
) -> None:
    read_alike(write([member for member in sample if member[0] not in without] + more, space))


def test_the_issuers_own_tokens_are_usual_in_any_order_and_with_any_spacing() -> None:
    claims = mint().claims()
    assert read_alike(json.dumps(claims, separators=(",", ":")).encode())
    assert read_alike(json.dumps(claims, indent=1, sort_keys=True).encode())
    assert read_alike(json.dumps({**claims, "iat": 1, "aud": "a text"}).encode())
    assert read_alike(json.dumps({**claims, "aud": ["one", "other", ""]}).encode())
    assert read_alike(json.dumps({**claims, "aud": []}).encode())
    assert read_alike(json.dumps({n: claims[n] for n in ("iss", "aud", "exp", "aid", "did")}).encode())


@pytest.mark.parametrize("name", list(SAMPLE))
@pytest.mark.parametrize("space", ["", " "])
def test_a_member_twice_is_never_usual(name: str, space: str) -> None:
    members = list(SAMPLE.items())
    assert read_usual(write(members, space)) is not None
    assert read_usual(write([*members, (name, SAMPLE[name])], space)) is None
    assert read_usual(write([(name, SAMPLE[name]), *members], space)) is None
    with pytest.raises(Refused):
        parse_claims(write([*members, (name, SAMPLE[name])], space))


@pytest.mark.parametrize(
    "jwk", [JWK[:-1] + ',"d":"x"}', JWK[:-1] + ',"n":"sXch"}', '{"kty":"EC","e":"a","n":"b"}']
)
def test_another_key_than_a_plain_rsa_key_is_not_usual(jwk: str) -> None:
    assert read_usual(write([*(SAMPLE | {"cnf": BOUND.replace(JWK, jwk)}).items()])) is None


@pytest.mark.parametrize(
    ("e", "n", "said"),
    [
        ("AQAB", "", "has no text named n"),
        ("AQAB", "sXc!", "has an n that is not base64url"),
        ("AQAB", "sXcB=", "has an n that is not base64url"),
        ("AQAB", "sXchB", "has an n that does not end as base64url"),
        ("AQAB", "AR", "has an n that does not end as base64url"),
        ("", "sXch", "has no text named e"),
        ("é", "sXch", "has an e that is not base64url"),
    ],
)
def test_a_key_that_is_none_is_refused_as_the_strict_parser_refuses_it(e: str, n: str, said: str) -> None:
    jwk = json.dumps({"kty": "RSA", "e": e, "n": n}, ensure_ascii=False)
    payload = write([*(SAMPLE | {"cnf": BOUND.replace(JWK, jwk)}).items()])
    assert read_alike(payload)
    usual = read_usual(payload)
    assert usual is not None
    with pytest.raises(Refused, match=rf"cnf\.jwk {said}"):
        confirmation(usual.cnf)


@pytest.mark.parametrize(("e", "n"), [("AQAB", "AAAAsXch"), ("AAEAAQ", "sXch"), ("Aw", "sXchsQ")])
def test_keys_written_otherwise_have_the_thumbprint_of_the_key(e: str, n: str) -> None:
    jwk = json.dumps({"kty": "RSA", "e": e, "n": n})
    assert read_alike(write([*(SAMPLE | {"cnf": BOUND.replace(JWK, jwk)}).items()]))


def test_a_claim_that_is_not_of_the_sample_is_not_usual() -> None:
    for more in (("sub", '"x"'), ("x", "1"), ("", "1"), ("at_hash", "null")):
        assert read_usual(write([*SAMPLE.items(), more])) is None


def test_issuers_that_ask_for_more_read_every_claim() -> None:
    def policy(**changes: object) -> IssuerPolicy:
        everything = AssetScope(every=True)
        return IssuerPolicy("i", frozenset(), frozenset(), everything, IdForm.OPAQUE, **changes)  # type: ignore[arg-type] # any of them

    assert policy().usual
    assert not policy(names=ClaimNames(asset="sub")).usual
    assert not policy(required=(RequiredClaim("x"),)).usual
    assert not policy(attributes=(Attribute("site", "x"),)).usual
    assert not policy(foreign=frozenset({"id"})).usual
    assert isinstance(read_usual(write([*SAMPLE.items()])), UsualClaims)
