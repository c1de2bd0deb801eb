"""The gate's straight line without the gate: every step of `authplugin.jose` on one token."""

from collections.abc import Mapping

from authplugin.errors import Reason, Refused
from authplugin.jose.claims import Claims, check_asset, check_claims, parse_claims, peek_issuer
from authplugin.jose.compact import parse_header, split
from authplugin.jose.identity import IdForm
from authplugin.jose.jwk import admit_set
from authplugin.jose.key import VerifyingKey
from authplugin.jose.possession import confirmation
from authplugin.jose.verify import verify_signature
from authplugin.testing import TokenMint


def judge(
    token: bytes,
    *mints: TokenMint,
    now: float,
    algorithms: frozenset[str] = frozenset({"RS256"}),
    keys: Mapping[str, Mapping[str, VerifyingKey]] | None = None,
    max_age: float | None = None,
) -> Claims:
    """Judge a token against the published sets of some issuers; the claims, or `Refused`.

    ``keys`` are those of more issuers that were admitted before, by issuer and kid.
    """
    compact = split(token)
    header = parse_header(compact.header, algorithms)
    issuer = peek_issuer(compact.payload)
    if keys is None:
        keys = {mint.issuer: admit_set(mint.jwks(), algorithms).keys for mint in mints}
    if issuer not in keys:
        raise Refused(Reason.ISSUER_UNKNOWN)
    key = keys[issuer].get(header.kid)
    if key is None:
        raise Refused(Reason.KEY_UNKNOWN)
    verify_signature(compact, header, key)
    claims = parse_claims(compact.payload)
    check_claims(claims, audiences={"https://ingest.example.com"}, now=now, max_age=max_age)
    check_asset(claims, IdForm.SALESFORCE)
    confirmation(claims.cnf)
    return claims
