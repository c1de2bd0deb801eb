"""From a token's bytes to a grant: every check of the token itself, the cheapest first.

One straight line without I/O. What the client says beside its token, and what may have become wrong
since, is judged elsewhere.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from authplugin.errors import Reason, Refused
from authplugin.jose.claims import Claims, check_asset, check_claims, parse_claims, peek_issuer
from authplugin.jose.compact import parse_header, split
from authplugin.jose.key import VerifyingKey
from authplugin.jose.possession import CERTIFICATE, KEY, confirmation
from authplugin.jose.profile import check_required, read_attributes
from authplugin.jose.respelling import respell
from authplugin.jose.usual import read_usual
from authplugin.jose.verify import verify_signature
from authplugin.model import Grant, Terms, TopicRights
from authplugin.policy import Policy

_BINDINGS = {b"": "to no key", KEY: "to a key", CERTIFICATE: "to a certificate"}

# As tokens of one issuer are alike, so are their terms; whoever has one may drop the memory at any time.
_MAX_TERMS = 1024
_terms: dict[tuple[str, str, int, float | None], Terms] = {}


class Keys(Protocol):
    """The key sets of the configured issuers; reading them never waits."""

    @property
    def generation(self) -> int:
        """Grows whenever any issuer's usable keys change."""

    def find(self, issuer: str, kid: str) -> VerifyingKey:
        """The issuer's key of that name.

        Raises:
            Refused: ``key_unknown``, ``keys_stale``.
        """


def ignore(_check: str, _detail: str) -> None:
    """Nobody asked which checks held."""


def verify(
    token: bytes,
    digest: bytes,
    now: float,
    *,
    policy: Policy,
    keys: Keys,
    passed: Callable[[str, str], None] = ignore,
) -> Grant:
    """Judge a token.

    Args:
        token: as the client sent it.
        digest: SHA-256 of it.
        now: seconds since the epoch.
        policy: the policy in force.
        keys: the issuers' keys.
        passed: hears of each check that held, with a word about it.

    Raises:
        Refused: with the first reason found.
    """
    compact = split(token)
    passed("form", "three canonical base64url parts")
    header = parse_header(compact.header, policy.algorithms, policy.types)
    passed("header", header.alg)
    payload = compact.payload
    usual = read_usual(payload)
    issuer = policy.issuers.get(peek_issuer(payload) if usual is None else usual.iss)
    if issuer is None:
        raise Refused(Reason.ISSUER_UNKNOWN, "the token's issuer is not a configured one")
    if header.alg not in issuer.algorithms:
        raise Refused(Reason.ALG_NOT_ALLOWED, "the issuer does not sign with this algorithm")
    if header.typ not in issuer.types:
        raise Refused(Reason.HEADER_NOT_ALLOWED, f"typ is not {' or '.join(sorted(issuer.types))}")
    passed("issuer", issuer.issuer)
    key = keys.find(issuer.issuer, header.kid)
    passed("key", header.kid)
    verify_signature(compact, header, key)
    passed("signature", key.algorithm)
    claims = parse_claims(payload, issuer.names) if usual is None or not issuer.usual else usual
    passed("claims", "well-formed")
    if isinstance(claims, Claims):
        check_required(claims.all, issuer.required)
    check_claims(
        claims,
        audiences=issuer.audiences,
        now=now,
        leeway=issuer.leeway,
        max_age=issuer.max_age,
        names=issuer.names,
        foreign=issuer.foreign,
    )
    passed("identity", "asset and device named")
    asset_id = check_asset(claims, issuer.id_form)
    if not issuer.assets.holds(asset_id):
        raise Refused(Reason.FOREIGN_ASSET, "the issuer does not speak for this asset")
    if policy.is_program(asset_id):
        raise Refused(Reason.ASSET_UNSAFE, "the asset id is the name of a service account or program")
    passed("asset", asset_id)
    bound = confirmation(claims.cnf)
    passed("binding", _BINDINGS[bound[:1]])
    rights = policy.topics
    if issuer.attributes and isinstance(claims, Claims):
        attributes = read_attributes(claims.all, issuer.attributes)
        passed("attributes", ", ".join(f"{name} = {value}" for name, value in attributes))
        rights = rights.fill(attributes)
    expires = float(claims.exp or 0.0)
    issued = claims.nbf if claims.iat is None else claims.iat
    if issuer.max_age is not None and issued is not None:
        # Whoever keeps the grant, in memory or as a session, keeps it no longer than that.
        expires = min(expires, issued + issuer.max_age)
    validity = None if issued is None else expires - issued
    if header.alg == "ES256":
        other = sha256(respell(compact)).digest()
        terms = Terms(issuer.issuer, header.kid, rights, validity, other)
    else:
        terms = _share(issuer.issuer, header.kid, rights, validity)
    # check_claims has seen to it that both ids are there.
    return Grant(asset_id, str(claims.did), expires, digest, bound, terms)


def _share(issuer: str, kid: str, rights: TopicRights, validity: float | None) -> Terms:
    """The one object for what these tokens have in common."""
    # What is remembered keeps its rights alive, so their id is nobody else's.
    key = (issuer, kid, id(rights), validity)
    terms = _terms.get(key)
    if terms is None:
        if len(_terms) >= _MAX_TERMS:
            _terms.clear()
        terms = _terms[key] = Terms(issuer, kid, rights, validity)
    return terms
