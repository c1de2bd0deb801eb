"""Bodies that a fuzzer feeds: any bytes at all may only be refused in the words that are documented.

Each body also holds what was accepted to a second opinion. Without the fuzzer they run on their seeds
and on random changes of these in every test run.
"""

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import jwt

from authplugin.ace import parse_challenge, parse_proof, parse_token, write_proof, write_token
from authplugin.errors import ConfigurationErrors, KeySetError, Refused
from authplugin.jose.base64url import encode
from authplugin.jose.claims import check_asset, check_claims, parse_claims, peek_issuer
from authplugin.jose.compact import parse_header, split
from authplugin.jose.identity import IdForm, is_asset_id
from authplugin.jose.usual import USUAL, read_usual
from authplugin.jose.verify import verify_jws
from authplugin.keys.snapshot import take_snapshot
from authplugin.revocation import add_entry, entry_key, parse_entry, parse_revocations, remove_entry
from authplugin.testing import FakeClock, TokenMint
from authplugin.topics.containment import contains, matches, overlaps
from authplugin.topics.grammar import check_filter, check_topic, unshare
from authplugin.topics.template import compile_template

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
_CLOCK = FakeClock()
_AUDIENCES = frozenset({"https://ingest.example.com"})
_MAX_KEYS = 64
_PLAIN = ("iss", "exp", "nbf", "iat", "id", "aid", "did")
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

Verify = Callable[..., bytes]


class Target(NamedTuple):
    """One body and what to begin with."""

    body: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


@cache
def mints() -> tuple[TokenMint, ...]:
    """One issuer's keys, one an algorithm."""
    device = TokenMint(algorithm="EdDSA").key
    return tuple(
        TokenMint(kid=algorithm, algorithm=algorithm, clock=_CLOCK, device_key=device)
        for algorithm in sorted(ALGORITHMS)
    )


@cache
def published() -> dict[str, object]:
    """Their key set."""
    return {"keys": [of.jwk() for of in mints()]}


@cache
def _oracles() -> dict[str, jwt.PyJWK]:
    return {of.kid: jwt.PyJWK(of.jwk()) for of in mints()}


def judge_token(data: bytes, verify: Verify = verify_jws) -> None:
    """A token; and the same bytes as a header and as claims, which a signature would keep us from."""
    try:
        payload = verify(data, published(), algorithms=ALGORITHMS)
    except Refused:
        pass
    else:
        compact = split(data)
        parts = (compact.header, compact.payload, compact.signature)
        assert ".".join(map(encode, parts)).encode() == data, "another spelling was accepted"
        header = parse_header(compact.header, ALGORITHMS)
        read = jwt.PyJWS().decode(data, _oracles()[header.kid], algorithms=[header.alg])
        assert read == payload, "PyJWT reads another payload"
    for body in (_judge_header, _judge_claims):
        body(data)


def _judge_header(data: bytes) -> None:
    try:
        header = parse_header(data, ALGORITHMS)
    except Refused:
        return
    read = json.loads(data)
    assert (header.alg, header.kid) == (read["alg"], read["kid"])
    assert header.alg in ALGORITHMS
    assert not {"crit", "zip", "b64", "jku", "jwk", "x5u", "x5c", "tty"} & read.keys()


def _judge_claims(data: bytes) -> None:
    try:
        issuer = peek_issuer(data)
    except Refused:
        issuer = None
    usual = read_usual(data)
    try:
        claims = parse_claims(data)
    except Refused:
        assert usual is None, "what is refused was read as usual"
        return
    if usual is not None:
        assert set(claims.all) <= USUAL
        assert [getattr(usual, name) for name in _PLAIN] == [getattr(claims, name) for name in _PLAIN]
        assert claims.aud == ((usual.aud,) if isinstance(usual.aud, str) else usual.aud)
        assert (claims.cnf is None) == (usual.cnf is None)
    assert issuer is not None, "an issuer that was not there before"
    assert claims.iss == issuer
    assert json.loads(data) == dict(claims.all)
    try:
        check_claims(claims, audiences=_AUDIENCES, now=_CLOCK.now())
        asset_id = check_asset(claims, IdForm.OPAQUE)
    except Refused:
        return
    assert is_asset_id(asset_id)
    assert claims.exp is not None
    assert _CLOCK.now() < claims.exp + 30
    assert _AUDIENCES & set(claims.aud)


def judge_key_set(data: bytes) -> None:
    """A published key set: each key that is taken is public, fit, named once, and a key to PyJWT too."""
    try:
        snapshot = take_snapshot(data, ALGORITHMS, fetched=_CLOCK.now())
    except KeySetError:
        return
    keys = json.loads(data)["keys"]
    assert len(keys) <= _MAX_KEYS
    assert len(snapshot.keys) + len(snapshot.left_out) == len(keys)
    assert not any(isinstance(jwk, dict) and _PRIVATE & jwk.keys() for jwk in keys)
    for kid, key in snapshot.keys.items():
        (jwk,) = (jwk for jwk in keys if isinstance(jwk, dict) and jwk.get("kid") == kid)
        assert key.kid == kid
        assert jwt.PyJWK(jwk, key.algorithm).algorithm_name == key.algorithm
        assert key.algorithm != "RS256" or 2048 <= key.bits <= 8192
        assert not key.holds(b"message", bytes(64))


def judge_topics(data: bytes) -> None:
    """Two texts: as topic, filter, shared subscription and template."""
    one, _, other = data.decode("utf-8", "replace").partition("\0")
    fit = [text for text in (one, other) if _holds(check_filter, text)]
    for text in fit:
        assert contains(text, text)
        assert text.encode("utf-8")
        if not text.startswith("$"):
            assert contains("#", text)
    if len(fit) == len((one, other)):
        assert overlaps(one, other) == overlaps(other, one)
        if _holds(check_topic, other):
            assert matches(one, other) == _matches_plainly(one.split("/"), other.split("/"), other)
            assert matches(one, other) == overlaps(one, other)
    for text in (one, other):
        try:
            inner = unshare(text)
        except ValueError:
            assert text.startswith("$share")
        else:
            assert inner == text or text.endswith(f"/{inner}")
        try:
            template = compile_template(text)
        except ValueError:
            continue
        check_filter(template.fill("02iAB00000CdEfGYAV"))
        assert str(template) == text


def _matches_plainly(topic_filter: list[str], topic: list[str], name: str) -> bool:
    """MQTT 5 §4.7, level by level."""
    if name.startswith("$") and topic_filter[0] in {"+", "#"}:
        return False
    for position, level in enumerate(topic_filter):
        if level == "#":
            return True
        if position >= len(topic) or level not in {"+", topic[position]}:
            return False
    return len(topic_filter) == len(topic)


def _holds(check: Callable[[str], None], text: str) -> bool:
    try:
        check(text)
    except ValueError:
        return False
    return True


def judge_authentication_data(data: bytes) -> None:
    """Each packet of the ``ace`` method; what is parsed is written back byte by byte."""
    with suppress(Refused):
        assert write_token(parse_token(data)) == data
    with suppress(ValueError):
        assert parse_challenge(data) == data
    for shows_key in (False, True):
        try:
            proof = parse_proof(data, shows_key=shows_key)
        except Refused:
            continue
        assert data.startswith(proof.nonce)
        assert data.endswith(proof.signature)
        assert shows_key or write_proof(proof.nonce, proof.signature) == data
        assert len(proof.signature) <= len(proof.nonce) or repr(proof.signature) not in repr(proof)


def judge_revocations(data: bytes) -> None:
    """A file of revocations: what is added is there, what is removed is gone, the rest stays."""
    try:
        revocations = parse_revocations(data, "revocations.jsonl")
    except ConfigurationErrors as errors:
        mistakes = errors.errors
        # A mistake has its line, but for that there is none.
        assert all((mistake.line or 0) >= 1 for mistake in mistakes) == bool(data.strip())
        return
    assert revocations.count <= data.count(b"\n") + 1
    try:
        entry = parse_entry(data.strip().splitlines()[-1] if data.strip() else b"")
        entry_key(entry)
    except ValueError:
        return
    with_it = add_entry(data, entry)
    assert parse_revocations(with_it, "x").count >= revocations.count
    without, _ = remove_entry(with_it, entry)
    assert parse_revocations(without, "x").count <= revocations.count


def _text(value: Mapping[str, object] | Collection[object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _token_seeds() -> list[bytes]:
    first = mints()[0]
    tokens = [of.mint(cnf=None) for of in mints()]
    hostile = [first.alg_none(), first.expired(), first.id_token(), first.access_token(), b"..", b"a.b.c"]
    return [*tokens, *hostile, _text(first.claims()), *(_text(of.header()) for of in mints())]


def _key_set_seeds() -> list[bytes]:
    fit = [of.jwk() for of in mints()]
    sets: list[list[object]] = [[], [*fit], [fit[0], fit[0]], [{**fit[1], "use": "enc"}, *fit[:1]], [{}, 7]]
    secret = {"kty": "oct", "k": "AAAA", "kid": "x"}
    return [_text({"keys": keys}) for keys in (*sets, [secret], *([jwk] for jwk in fit))] + [b"{}", b"[]"]


def _topic_seeds() -> list[bytes]:
    texts = ("a/b\0a/b", "assets/+/telemetry/#\0assets/x/telemetry/t", "#\0$SYS/a", "+/#\0/", "a/#\0a")
    return [text.encode() for text in (*texts, "$share/g/a/#\0a", "assets/{aid}/status\0{aid}", "é/+\0é/é")]


def _authentication_data_seeds() -> list[bytes]:
    nonce, jwk = b"12345678", mints()[1].jwk()
    proofs = [write_proof(nonce, bytes(64)), write_proof(nonce, bytes(256)), write_proof(nonce, b"s", jwk)]
    return [write_token(mints()[0].mint(cnf=None)), nonce, *proofs, b"\0\0", b"\xff\xff"]


def _revocation_seeds() -> list[bytes]:
    digest = "3a5f" * 16
    lines: list[dict[str, object]] = [
        {"token": digest},
        {"token": digest[:16], "note": "stolen"},
        {"asset": "02iAB00000CdEfG", "issued_before": 1_700_000_000},
        {"device": "0a1b", "issuer": "https://acme.my.site.com"},
        {"kid": "Assets", "issuer": "https://acme.my.site.com"},
        {"issued_before": "2026-01-31T12:00:00Z"},
        {"issuer": "https://acme.my.site.com"},
    ]
    return [*map(_text, lines), b"\n".join([b"# a comment", b"", *map(_text, lines), b""]), b"\n#\n"]


TARGETS: dict[str, Target] = {
    "token": Target(judge_token, _token_seeds),
    "key-set": Target(judge_key_set, _key_set_seeds),
    "topic": Target(judge_topics, _topic_seeds),
    "authentication-data": Target(judge_authentication_data, _authentication_data_seeds),
    "revocations": Target(judge_revocations, _revocation_seeds),
}
