"""The words of the gate: what a broker asks, and the two answers there are."""

from binascii import b2a_base64
from enum import StrEnum
from typing import Protocol

import msgspec

from authplugin.errors import Reason, Refused

_THUMBPRINT_LETTERS = 43
_URL_LETTERS = bytes.maketrans(b"+/", b"-_")


class Action(StrEnum):
    """What a client wants to do with a topic (or, for `SUBSCRIBE`, with a topic filter)."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    RECEIVE = "receive"


class Possession(StrEnum):
    """How a client has shown that it holds the key its token is bound to."""

    NONE = "none"
    NONCE = "nonce"
    CERTIFICATE = "certificate"


class Connect(msgspec.Struct, frozen=True, gc=False):
    """A client asks to be let in.

    Attributes:
        client_id: MQTT client identifier as sent; ``""`` when the client leaves it to the broker.
        username: MQTT user name, None when the flag is not set; never in a repr, for some put
            their token there.
        password: the asset token's bytes, None when the flag is not set; never in a repr.
        address: the peer's address, without its port.
        certificate: the client's TLS certificate, DER, once the broker's TLS has seen that the
            client holds its key; None when it showed none.
    """

    client_id: str
    username: str | None
    password: bytes | None
    address: str
    certificate: bytes | None = None

    def __repr__(self) -> str:
        """Who asks from where; never what may hold a token."""
        return f"Connect(client_id={self.client_id!r}, address={self.address!r})"


class TopicRights(Protocol):
    """What an asset may do, as topic filters: compiled once at load, shared by every grant."""

    def publish_filters(self, asset_id: str) -> tuple[str, ...]:
        """Topic filters the asset may publish to."""

    def subscribe_filters(self, asset_id: str) -> tuple[str, ...]:
        """Topic filters the asset may subscribe within and receive from."""


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What the tokens of one issuer, key and validity have in common; made once for all of them.

    Attributes:
        issuer: ``iss``, one of the configured ones.
        kid: name of the issuer's key that signed.
        rights: the compiled topic templates.
        validity: seconds from ``iat``, else ``nbf``, to `Grant.expires`; None when the token has neither.
        respelled: SHA-256 of the token's other spelling where its signature has two (ES256), whose
            terms are its own; nothing where it has one.
    """

    issuer: str
    kid: str
    rights: TopicRights
    validity: float | None = None
    respelled: bytes = b""


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What a verified token allows.

    Kept small and away from the garbage collector, for a gate remembers hundreds of thousands:
    what can be derived is a property, what grants have in common is shared.

    Attributes:
        asset_id: the asset, in the form used in topics, keys and events (18 characters for
            Salesforce ids).
        device_id: ``did`` as the issuer wrote it.
        expires: ``exp``, or the end of the age that its issuer's tokens may reach if that comes first;
            seconds since the epoch, without leeway.
        digest: SHA-256 of the token's bytes.
        confirmation: what the token is bound to (``cnf``, RFC 7800): ``b"j"`` and the SHA-256 JWK
            thumbprint of a key (RFC 7638), ``b"x"`` and the SHA-256 of a certificate (RFC 8705), or
            nothing.
        terms: what it shares with other grants.
    """

    asset_id: str
    device_id: str
    expires: float
    digest: bytes
    confirmation: bytes
    terms: Terms

    @property
    def issuer(self) -> str:
        """``iss``, one of the configured ones."""
        return self.terms.issuer

    @property
    def kid(self) -> str:
        """Name of the issuer's key that signed."""
        return self.terms.kid

    @property
    def rights(self) -> TopicRights:
        """The compiled topic templates."""
        return self.terms.rights

    @property
    def issued(self) -> float:
        """``iat``, else ``nbf``, seconds since the epoch; 0 when the token has neither."""
        validity = self.terms.validity
        return 0.0 if validity is None else self.expires - validity

    @property
    def token_digest(self) -> str:
        """First 16 hex digits of the token's SHA-256: names the token, opens nothing."""
        return self.digest[:8].hex()

    @property
    def key_thumbprint(self) -> str | None:
        """RFC 7638 thumbprint of the bound key, base64url; None when no key is bound."""
        if not self.confirmation.startswith(b"j"):
            return None
        # The letters of base64url, 43 for 32 bytes, without the padding that would be a 44th.
        letters = b2a_base64(self.confirmation[1:], newline=False)[:_THUMBPRINT_LETTERS]
        return letters.translate(_URL_LETTERS).decode("ascii")

    @property
    def publish(self) -> tuple[str, ...]:
        """Topic filters the client may publish to."""
        return self.rights.publish_filters(self.asset_id)

    @property
    def subscribe(self) -> tuple[str, ...]:
        """Topic filters the client may subscribe within and receive from."""
        return self.rights.subscribe_filters(self.asset_id)


class Allow(msgspec.Struct, frozen=True, gc=False):
    """Yes: the grant says to what, ``possession`` whether the client has shown that it holds the key."""

    grant: Grant
    possession: Possession = Possession.NONE


class Deny(msgspec.Struct, frozen=True, gc=False):
    """No: the reason says why; ``detail`` helps a person and holds no secret.

    ``grant`` is what the token would have allowed when its signature and claims held and something
    else refused it, None when nothing about the client is verified.
    """

    reason: Reason
    detail: str = ""
    grant: Grant | None = None


class GrantRefused(Refused):
    """Raised when a token was verified, and something else about it or its client is refused."""

    def __init__(self, reason: Reason, detail: str, grant: Grant) -> None:
        super().__init__(reason, detail)
        self.grant = grant


Decision = Allow | Deny
