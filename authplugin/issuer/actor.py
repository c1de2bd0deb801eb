"""The actor token: what a device says about itself, signed with the key it wants bound (RFC 8693 §1.1).

Signed by ``cnf.jwk`` it also proves that the device holds that key (RFC 7800 §3.2); unsigned ones
(RFC 7519 §6) bind no key and are accepted only where that is set.
"""

from typing import Annotated

import msgspec

from authplugin.errors import Refused
from authplugin.issuer.errors import OAuthCode, OAuthError
from authplugin.jose.compact import Compact, split
from authplugin.jose.identity import is_device_id
from authplugin.jose.json import parse_object
from authplugin.jose.jwk import SUPPORTED_ALGORITHMS, UnfitKeyError, admit
from authplugin.jose.key import VerifyingKey

_LEEWAY_SECONDS = 30.0
_MAX_CNF_KID = 256
# What of a bound key goes into the token: enough to verify with, nothing that makes it long.
_BOUND = ("kty", "crv", "e", "kid", "n", "x", "y")

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Serial = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
_RecordId = Annotated[str, msgspec.Meta(min_length=1, max_length=18)]
_Date = Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | Annotated[float, msgspec.Meta(ge=0, lt=2**53)]


class AssetFields(msgspec.Struct, frozen=True):
    """``Asset`` of an actor token: fields of the record to register or to find; all optional."""

    name: _Name | None = msgspec.field(name="Name", default=None)
    serial_number: _Serial | None = msgspec.field(name="SerialNumber", default=None)
    account_id: _RecordId | None = msgspec.field(name="AccountId", default=None)
    id: _RecordId | None = msgspec.field(name="Id", default=None)
    contact_id: _RecordId | None = msgspec.field(name="ContactId", default=None)


class _Confirmation(msgspec.Struct, frozen=True):
    jwk: dict[str, object]


class _Claims(msgspec.Struct, frozen=True):
    did: str
    name: _Name | None = msgspec.field(name="Name", default=None)
    asset: AssetFields = msgspec.field(name="Asset", default_factory=AssetFields)
    cnf: _Confirmation | None = None
    exp: _Date | None = None
    nbf: _Date | None = None


class Actor(msgspec.Struct, frozen=True):
    """A device that asked, and whose signature held.

    Attributes:
        payload: the actor token's payload as text, custom attributes included.
        device_id: ``did`` as the device gave it.
        name: the display name it asked for, or None.
        asset: what it said of its asset.
        jwk: the public key to bind, or None.
    """

    payload: str
    device_id: str
    name: str | None
    asset: AssetFields
    jwk: dict[str, object] | None


def read_actor(token: bytes, *, now: float, accept_unsigned: bool) -> Actor:
    """Parse and verify an actor token.

    Args:
        token: compact serialization, 8,192 bytes at most.
        now: seconds since the epoch, for the token's own ``exp`` and ``nbf`` if it has them.
        accept_unsigned: let ``alg: none`` pass where no key is to be bound.

    Raises:
        OAuthError: ``invalid_request`` for what is no actor token, ``invalid_grant`` for one whose
            key, signature or time does not hold.
    """
    try:
        compact = split(token)
        header = parse_object(compact.header)
        claims = msgspec.convert(parse_object(compact.payload), _Claims)
        payload = compact.payload.decode()
    except Refused as error:
        raise OAuthError(OAuthCode.INVALID_REQUEST, f"actor_token: {error.detail}") from None
    except ValueError as error:
        raise OAuthError(OAuthCode.INVALID_REQUEST, f"actor_token: {error}") from None
    if not is_device_id(claims.did):
        raise OAuthError(OAuthCode.INVALID_REQUEST, "actor_token: did is not 1 to 128 printable characters")
    if "crit" in header:
        raise OAuthError(OAuthCode.INVALID_REQUEST, "actor_token: crit names extensions nobody knows here")
    if claims.cnf is not None:
        _check_signature(compact, header.get("alg"), _bound_key(claims.cnf.jwk))
    elif not (accept_unsigned and header.get("alg") == "none" and not compact.signature):
        expected = "expected alg none or cnf.jwk" if accept_unsigned else "expected cnf.jwk and its signature"
        raise OAuthError(OAuthCode.INVALID_GRANT, f"actor_token: no key to verify it by, {expected}")
    if claims.exp is not None and now >= claims.exp + _LEEWAY_SECONDS:
        raise OAuthError(OAuthCode.INVALID_GRANT, "actor_token: expired")
    if claims.nbf is not None and now < claims.nbf - _LEEWAY_SECONDS:
        raise OAuthError(OAuthCode.INVALID_GRANT, "actor_token: not yet valid")
    jwk = (
        None
        if claims.cnf is None
        else {name: claims.cnf.jwk[name] for name in _BOUND if name in claims.cnf.jwk}
    )
    return Actor(payload, claims.did, claims.name, claims.asset, jwk)


def _bound_key(jwk: dict[str, object]) -> VerifyingKey:
    # A kid is the device's own affair here: optional, and never looked up.
    kid = jwk.get("kid", "")
    if not isinstance(kid, str) or len(kid) > _MAX_CNF_KID:
        raise OAuthError(OAuthCode.INVALID_REQUEST, "actor_token: cnf.jwk has a kid that is no short string")
    try:
        return admit({**jwk, "kid": "cnf"}, SUPPORTED_ALGORITHMS)
    except UnfitKeyError as error:
        raise OAuthError(OAuthCode.INVALID_GRANT, f"actor_token: cnf.jwk {error}") from None


def _check_signature(compact: Compact, algorithm: object, key: VerifyingKey) -> None:
    if algorithm != key.algorithm:
        raise OAuthError(
            OAuthCode.INVALID_GRANT, f"actor_token: alg is not {key.algorithm}, as cnf.jwk needs"
        )
    if not key.holds(compact.signing_input, compact.signature):
        raise OAuthError(OAuthCode.INVALID_GRANT, "actor_token: not signed by the key in cnf.jwk")
