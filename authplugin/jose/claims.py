"""The claims of an asset token: what they must be, and what they must say (RFC 7519 §4.1, RFC 8725 §3).

Two steps, so that meaning is only read after the signature holds: `peek_issuer` reads one string
from bytes nobody has vouched for, to choose among configured issuers; `parse_claims` and
`check_claims` run on verified bytes.
"""

import math
from collections.abc import Collection, Mapping

import msgspec

from authplugin.errors import Reason, Refused
from authplugin.jose.identity import IdForm, canonical_asset_id, is_device_id
from authplugin.jose.json import parse_object
from authplugin.jose.jwk import thumbprint

LEEWAY_SECONDS = 30.0
"""How far the issuer's clock and ours may differ."""

_NUMERIC_DATE_END = 2**53
"""First integer after which a double no longer holds every second."""

# Claims of an OpenID Connect ID token (core §2, §3.3.2.11) and of access tokens (RFC 9068 §2.2.1):
# the issuer signs those with the same keys, but never meant them for a broker.
_FOREIGN = frozenset({"at_hash", "c_hash", "nonce", "auth_time", "sub", "scp"})

_AUDIENCE_LIMIT = 32


class ClaimNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which claims of an issuer name the asset and the device.

    Attributes:
        asset: claim with the asset id.
        device: claim with the device id.
    """

    asset: str = "aid"
    device: str = "did"


ASSET_TOKEN = ClaimNames()


class Claims(msgspec.Struct, frozen=True):
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
        key_thumbprint: RFC 7638 thumbprint of ``cnf.jwk``, None when no key is bound.
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
    key_thumbprint: str | None
    all: Mapping[str, object]


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
        iss = _text(claims, "iss")
        if iss is None:
            raise Refused(Reason.ISSUER_UNKNOWN, "the token names no issuer")
        return Claims(
            iss=iss,
            aud=_audiences(claims),
            nbf=_numeric_date(claims, "nbf"),
            exp=_numeric_date(claims, "exp"),
            iat=_numeric_date(claims, "iat"),
            id=_text(claims, "id"),
            aid=_text(claims, names.asset),
            did=_text(claims, names.device),
            key_thumbprint=_confirmation(claims),
            all=claims,
        )
    except ValueError as error:
        raise Refused(Reason.CLAIMS_MALFORMED, f"the payload {error}") from None


def check_claims(
    claims: Claims,
    *,
    audiences: Collection[str],
    now: float,
    leeway: float = LEEWAY_SECONDS,
    max_age: float | None = None,
    names: ClaimNames = ASSET_TOKEN,
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

    Raises:
        Refused: ``not_asset_token exp_missing expired not_yet_valid audience_mismatch
            asset_missing device_missing claims_malformed``.
    """
    foreign = _FOREIGN.intersection(claims.all).difference((names.asset, names.device))
    if foreign:
        raise Refused(Reason.NOT_ASSET_TOKEN, f"{', '.join(sorted(foreign))} marks another kind of token")
    _check_time(claims, now, leeway, max_age)
    if not any(audience in audiences for audience in claims.aud):
        raise Refused(Reason.AUDIENCE_MISMATCH, "no audience of the token is one of ours")
    if not claims.aid:
        raise Refused(Reason.ASSET_MISSING, f"the token has no {names.asset}")
    if not claims.did:
        raise Refused(Reason.DEVICE_MISSING, f"the token has no {names.device}")
    if not is_device_id(claims.did):
        raise Refused(Reason.CLAIMS_MALFORMED, f"{names.device} is not 1 to 128 printable characters")


def check_asset(claims: Claims, form: IdForm) -> str:
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


def _check_time(claims: Claims, now: float, leeway: float, max_age: float | None) -> None:
    if claims.exp is None:
        raise Refused(Reason.EXP_MISSING, "the token has no exp, so it would never end")
    if now >= claims.exp + leeway:
        raise Refused(Reason.EXPIRED, f"expired {now - claims.exp:.0f} s ago")
    if claims.nbf is not None and now < claims.nbf - leeway:
        raise Refused(Reason.NOT_YET_VALID, f"valid in {claims.nbf - now:.0f} s")
    if max_age is not None:
        issued = claims.iat if claims.iat is not None else claims.nbf
        if issued is None:
            raise Refused(Reason.CLAIMS_MALFORMED, "neither iat nor nbf says how old the token is")
        if now >= issued + max_age + leeway:
            raise Refused(
                Reason.EXPIRED, f"issued {now - issued:.0f} s ago, at most {max_age:.0f} s are allowed"
            )


def _text(claims: Mapping[str, object], name: str) -> str | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if not isinstance(value, str):
        raise ValueError(f"has a {name} that is not a string")  # noqa: TRY004 - wrong input, not a wrong call
    return value


def _numeric_date(claims: Mapping[str, object], name: str) -> float | None:
    """Seconds since the epoch (RFC 7519 §2 NumericDate): a number, never text or true."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"has {'an' if name != 'nbf' else 'a'} {name} that is not a number")  # noqa: TRY004 - as above
    if not math.isfinite(value) or not 0 <= value < _NUMERIC_DATE_END:
        raise ValueError(f"has a {name} that is no time")
    return value


def _audiences(claims: Mapping[str, object]) -> tuple[str, ...]:
    value = claims.get("aud")
    if value is None and "aud" not in claims:
        return ()
    if isinstance(value, str):
        return (value,)
    if (
        isinstance(value, list)
        and len(value) <= _AUDIENCE_LIMIT
        and all(isinstance(audience, str) for audience in value)
    ):
        return tuple(value)
    raise ValueError("has an aud that is neither a string nor a list of strings")


def _confirmation(claims: Mapping[str, object]) -> str | None:
    """Thumbprint of the device's own key (RFC 7800 §3.2), for possession only, never for the signature."""
    if "cnf" not in claims:
        return None
    confirmation = claims["cnf"]
    if not isinstance(confirmation, dict):
        raise ValueError("has a cnf that is not an object")  # noqa: TRY004 - wrong input, not a wrong call
    if "jwk" not in confirmation:
        return None
    try:
        return thumbprint(confirmation["jwk"])
    except ValueError as error:
        raise ValueError(f"has a cnf.jwk that {error}") from None
