"""What a device says in CONNECT, and the topics it may use, all from its asset id."""

from dataclasses import dataclass, field

from authplugin.client.credentials import Credentials

ONLINE, OFFLINE = b"online", b"offline"
"""Payloads of the status topic: after CONNACK, and as the will."""

_FORBIDDEN = frozenset("/+#\0")
_MAX_CLIENT_ID = 65_535


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one asset, as the gate's default templates allow them.

    Attributes:
        asset_id: the form of `authplugin.client.canonical_asset_id`.
    """

    asset_id: str

    def telemetry(self, metric: str | None = None) -> str:
        """Where samples go; with ``metric`` the topic of that one alone."""
        base = f"assets/{self.asset_id}/telemetry"
        return base if metric is None else f"{base}/{_level(metric)}"

    def event(self, kind: str) -> str:
        """Where the device's own events of that kind go."""
        return f"assets/{self.asset_id}/events/{_level(kind)}"

    @property
    def status(self) -> str:
        """Where ``online`` and ``offline`` go: the only topic that may be retained, and the will's."""
        return f"assets/{self.asset_id}/status"

    @property
    def commands(self) -> str:
        """The filter of everything that is sent to the device."""
        return f"assets/{self.asset_id}/commands/#"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the connection breaks (MQTT 5 §3.1.2.5)."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Login:
    """The fields of CONNECT.

    Attributes:
        client_id: the asset id, or the asset id, ``:`` and a suffix.
        username: the asset id; empty would do as well.
        password: the token, never in a repr.
        will: the status becomes ``offline``.
        topics: what to use once in.
    """

    client_id: str
    username: str
    will: Will
    topics: Topics
    password: str = field(repr=False)

    @classmethod
    def of(cls, credentials: Credentials, suffix: str | None = None) -> "Login":
        """The login of a token's holder.

        Args:
            credentials: of the token.
            suffix: tells this connection from others of the same asset; two with the same client id
                take each other's place.

        Raises:
            ValueError: the suffix is empty, not printable, or too long for a client id.
        """
        client_id = credentials.asset_id
        if suffix is not None:
            client_id = f"{client_id}:{suffix}"
            if not suffix.isprintable() or not suffix or len(client_id.encode()) > _MAX_CLIENT_ID:
                raise ValueError("a client id's suffix is printable and not empty")
        topics = Topics(credentials.asset_id)
        will = Will(topics.status, OFFLINE, qos=1, retain=True)
        return cls(client_id, credentials.asset_id, will, topics, credentials.token)


def _level(name: str) -> str:
    """One level of a topic.

    Raises:
        ValueError: it is empty, or has a separator or wildcard.
    """
    if not name or not _FORBIDDEN.isdisjoint(name):
        raise ValueError("a metric or event is one level of a topic: not empty, without / + # and NUL")
    return name
