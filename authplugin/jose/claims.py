"""The claims of an asset token: what they must be, and what they must say (RFC 7519 §4.1, RFC 8725 §3).

Two steps, so that meaning is only read after the signature holds: `peek_issuer` reads one string
from bytes nobody has vouched for, to choose among configured issuers; `parse_claims` and
`check_claims` run on verified bytes.
"""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from authplugin.errors import Reason, Refused
from authplugin.jose.identity import IdForm, canonical_asset_id, is_device_id
from authplugin.jose.json import parse_object
from authplugin.jose.profile import find_claim
from authplugin.jose.usual import Audiences, NumericDate, UsualClaims

LEEWAY_SECONDS = 30.0
"""How far the issuer's clock and ours may differ."""

# Claims of an OpenID Connect ID token (core §2, §3.3.2.11) and of access tokens (RFC 9068 §2.2.1):
# the issuer signs those with the same keys, but never meant them for a broker.
FOREIGN = frozenset({"at_hash", "c_hash", "nonce", "auth_time", "sub", "scp"})
"""Claims that mark a token as another kind than an asset token."""


class ClaimNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which claims of an issuer name the asset and the device.

    Attributes:
        asset: claim with the asset id, a name or a JSON Pointer; see `authplugin.jose.profile`.
        device: claim with the device id, the same.
    """

    asset: str = "aid"
    device: str = "did"


ASSET_TOKEN = ClaimNames()


class Claims(msgspec.Struct, frozen=True, gc=False):
    """Claims whose form is right; what they say is not judged yet.

    Attributes:
        iss: issuer as written.
        aud: audiences, also when the token has one string; empty when it names none.
        nbf: not before, seconds since the epoch, or None.
        exp: expiry, seconds since the epoch, or None.
        iat: issued at, seconds since the epoch, or None.
        id: the issuer's own record of this token, or None.
        aid: asset id as written, or None.
        did: device id as written, or None.
        cnf: how the bearer can prove possession of a key (RFC 7800), or None.
        all: every claim by name, the above included.
    """

    iss: str
    aud: tuple[str, ...]
    nbf: float | None
    exp: float | None
    iat: float | None
    id: str | None
    aid: str | None
    did: str | None
    cnf: Mapping[str, object] | None
    all: Mapping[str, object]


# A default is not checked against its type: what is absent is None, and what says null is refused.
_ABSENT: Any = None


class _Registered(msgspec.Struct, frozen=True, gc=False):
    """The claims whose form is the same for every issuer; a null is a wrong form, not an absence."""

    iss: str = _ABSENT
    aud: Audiences = ()
    nbf: NumericDate = _ABSENT
    exp: NumericDate = _ABSENT
    iat: NumericDate = _ABSENT
    id: str = _ABSENT
    cnf: dict[str, object] = _ABSENT


class _Issuer(msgspec.Struct):
    iss: str | None = None


_decode_issuer = msgspec.json.Decoder(_Issuer).decode


def peek_issuer(payload: bytes) -> str:
    """Read ``iss`` from a payload that nobody has vouched for yet.

    Good for choosing among configured issuers and nothing else; `parse_claims` reads it again,
    strictly, from verified bytes.

    Raises:
        Refused: ``claims_malformed`` (not a JSON object, ``iss`` not a string), ``issuer_unknown``
            (no ``iss``).
    """
    try:
        iss = _decode_issuer(payload).iss
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Reason.CLAIMS_MALFORMED, "the payload is not a JSON object with a string iss") from None
    if iss is None:
        raise Refused(Reason.ISSUER_UNKNOWN, "the token names no issuer")
    return iss


def parse_claims(payload: bytes, names: ClaimNames = ASSET_TOKEN) -> Claims:
    """Parse a verified payload; every claim we know has its right form or is absent.

    Raises:
        Refused: ``claims_malformed``, or ``issuer_unknown`` when there is no ``iss``.
    """
    try:
        claims = parse_object(payload)
        known = msgspec.convert(claims, _Registered)
    except msgspec.ValidationError as error:
        raise Refused(Reason.CLAIMS_MALFORMED, str(error)) from None
    except ValueError as error:
        raise Refused(Reason.CLAIMS_MALFORMED, f"the payload {error}") from None
    if "iss" not in claims:
        raise Refused(Reason.ISSUER_UNKNOWN, "the token names no issuer")
    aud = known.aud
    return Claims(
        known.iss,
        (aud,) if isinstance(aud, str) else aud,
        known.nbf,
        known.exp,
        known.iat,
        known.id,
        _text(claims, names.asset),
        _text(claims, names.device),
        known.cnf,
        claims,
    )


def _text(claims: Mapping[str, object], name: str) -> str | None:
    value = find_claim(claims, name) if name.startswith("/") else claims.get(name)
    if isinstance(value, str):
        return value
    if value is not None or name in claims:
        raise Refused(Reason.CLAIMS_MALFORMED, f"{name} is not a string")
    return None


def check_claims(
    claims: Claims | UsualClaims,
    *,
    audiences: Collection[str],
    now: float,
    leeway: float = LEEWAY_SECONDS,
    max_age: float | None = None,
    names: ClaimNames = ASSET_TOKEN,
    foreign: frozenset[str] = FOREIGN,
) -> None:
    """Check what the claims say, token type first, then time, audience and identity.

    Args:
        claims: of a token whose signature holds.
        audiences: the names this gate answers to; one of them must be in ``aud``, exactly.
        now: seconds since the epoch.
        leeway: seconds by which the issuer's clock may differ from ours.
        max_age: seconds after ``iat`` (or ``nbf``) at which a token is too old whatever its
            ``exp`` says; None for no such limit.
        names: the issuer's claims for asset and device.
        foreign: claims that its asset tokens never have, for other kinds of token do; usual claims
            are not asked, see `authplugin.policy.IssuerPolicy.usual`.

    Raises:
        Refused: ``not_asset_token exp_missing expired not_yet_valid audience_mismatch
            asset_missing device_missing claims_malformed``.
    """
    if isinstance(claims, Claims) and not foreign.isdisjoint(claims.all):
        found = ", ".join(sorted(foreign.intersection(claims.all)))
        raise Refused(Reason.NOT_ASSET_TOKEN, f"{found} marks another kind of token")
    _check_time(claims, now, leeway, max_age)
    aud = claims.aud
    for audience in (aud,) if isinstance(aud, str) else aud:
        if audience in audiences:
            break
    else:
        raise Refused(Reason.AUDIENCE_MISMATCH, "no audience of the token is one of ours")
    if not claims.aid:
        raise Refused(Reason.ASSET_MISSING, f"the token has no {names.asset}")
    if not claims.did:
        raise Refused(Reason.DEVICE_MISSING, f"the token has no {names.device}")
    if not is_device_id(claims.did):
        raise Refused(Reason.CLAIMS_MALFORMED, f"{names.device} is not 1 to 128 printable characters")


def check_asset(claims: Claims | UsualClaims, form: IdForm) -> str:
    """The asset id in the form that topics, keys and events use.

    Raises:
        Refused: ``asset_missing``, ``asset_unsafe`` (letters that mean something in a topic, a
            wrong length, a suffix that does not fit).
    """
    if not claims.aid:
        raise Refused(Reason.ASSET_MISSING, "the token names no asset")
    try:
        return canonical_asset_id(claims.aid, form)
    except ValueError as error:
        raise Refused(Reason.ASSET_UNSAFE, f"the asset id {error}") from None


def _check_time(claims: Claims | UsualClaims, now: float, leeway: float, max_age: float | None) -> None:
    if claims.exp is None:
        raise Refused(Reason.EXP_MISSING, "the token has no exp, so it would never end")
    if now >= claims.exp + leeway:
        raise Refused(Reason.EXPIRED, f"expired {now - claims.exp:.0f} s ago")
    nbf, iat = claims.nbf, claims.iat
    for begins in (nbf, iat):
        if begins is not None and now < begins - leeway:
            raise Refused(Reason.NOT_YET_VALID, f"valid in {begins - now:.0f} s")
    if max_age is not None:
        issued = nbf if iat is None else iat
        if issued is None:
            raise Refused(Reason.CLAIMS_MALFORMED, "neither iat nor nbf says how old the token is")
        if now >= issued + max_age + leeway:
            raise Refused(Reason.EXPIRED, f"issued {now - issued:.0f} s ago, at most {max_age:.0f} s allowed")
