"""What a device reads in its own token: who it is at the broker, and until when."""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from authplugin.jose.identity import IdForm, canonical_asset_id, is_device_id

_PARTS = 3


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token with what it says; nothing of it is verified, that is the gate's part.

    Attributes:
        asset_id: the form used in topics: 18 characters for Salesforce record ids.
        device_id: ``did``.
        issuer: ``iss``.
        begins: ``nbf``, else ``iat``, seconds since the epoch; 0 without either.
        expires: ``exp``, seconds since the epoch.
        bound: whether a device key is bound to the token (``cnf``, RFC 7800).
        shows_key: whether a proof has to show that key, since the token has its thumbprint only.
        token: the token itself, never in a repr.
    """

    asset_id: str
    device_id: str
    issuer: str
    begins: float
    expires: float
    bound: bool
    shows_key: bool
    token: str = field(repr=False)


def read_credentials(
    token: str,
    form: IdForm = IdForm.SALESFORCE,
    *,
    asset_claim: str = "aid",
    device_claim: str = "did",
) -> Credentials:
    """Read a token as its holder does.

    Args:
        token: the asset token as issued: JWS compact (RFC 7515 §7.1).
        form: how the issuer writes asset ids.
        asset_claim: the claim with the asset id.
        device_claim: the claim with the device id.

    Raises:
        ValueError: it is no asset token; says what is missing, never shows the token.
    """
    parts = token.split(".")
    if len(parts) != _PARTS:
        raise ValueError(f"the token has {len(parts)} parts, not three")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        raise ValueError("the token's payload is not base64url of JSON") from None
    if not isinstance(claims, dict):
        raise ValueError("the token's payload is no object")  # noqa: TRY004 - wrong text, not a wrong call
    asset_id = _text(claims, asset_claim)
    try:
        canonical = canonical_asset_id(asset_id, form)
    except ValueError as error:
        raise ValueError(f"the token's {asset_claim} {error}") from None
    device_id = _text(claims, device_claim)
    if not is_device_id(device_id):
        raise ValueError(f"the token's {device_claim} is not 1 to 128 printable characters")
    begins = claims.get("nbf", claims.get("iat"))
    cnf = claims.get("cnf")
    return Credentials(
        asset_id=canonical,
        device_id=device_id,
        issuer=_text(claims, "iss"),
        begins=0.0 if begins is None else _time("nbf", begins),
        expires=_time("exp", claims.get("exp")),
        bound=isinstance(cnf, dict),
        shows_key=isinstance(cnf, dict) and "jkt" in cnf and "jwk" not in cnf,
        token=token,
    )


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise ValueError(f"the token has no {name}")  # noqa: TRY004 - wrong text, not a wrong call
    return value


def _time(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"the token's {name} is no time")
    return float(value)
