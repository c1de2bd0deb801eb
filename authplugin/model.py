"""The words of the gate: what a broker asks, and the two answers there are."""

from dataclasses import dataclass, field
from enum import StrEnum

from authplugin.errors import Reason


class Action(StrEnum):
    """What a client wants to do with a topic (or, for `SUBSCRIBE`, with a topic filter)."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    RECEIVE = "receive"


@dataclass(frozen=True, slots=True)
class Connect:
    """A client asks to be let in.

    Attributes:
        client_id: MQTT client identifier as sent; ``""`` when the client leaves it to the broker.
        username: MQTT user name, None when the flag is not set.
        password: the asset token's bytes, None when the flag is not set; never in a repr.
        address: the peer's address, without its port.
    """

    client_id: str
    username: str | None
    password: bytes | None = field(repr=False)
    address: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token allows.

    Attributes:
        asset_id: the asset, in the form used in topics, keys and events (18 characters for
            Salesforce ids).
        device_id: ``did`` as the issuer wrote it.
        issuer: ``iss``, one of the configured ones.
        kid: name of the issuer's key that signed.
        expires: ``exp``, seconds since the epoch, without leeway.
        token_digest: first 16 hex digits of the SHA-256 of the token: names it, opens nothing.
        key_thumbprint: RFC 7638 thumbprint of ``cnf.jwk``, None when no key is bound.
        publish: topic filters the client may publish to.
        subscribe: topic filters the client may subscribe within and receive from.
    """

    asset_id: str
    device_id: str
    issuer: str
    kid: str
    expires: float
    token_digest: str
    key_thumbprint: str | None
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Allow:
    """Yes: the grant says to what."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class Deny:
    """No: the reason says why; ``detail`` helps a person and holds no secret."""

    reason: Reason
    detail: str = ""


Decision = Allow | Deny
