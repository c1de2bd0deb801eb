"""Asset-token events: one for each successful exchange, before the token is answered."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from authplugin.errors import AuthpluginError

MEMORY_LIMIT = 1000
"""Events the memory sink keeps; the oldest go first."""


class PublishError(AuthpluginError):
    """Raised when an event could not be put where it must be; the text says why."""


class AssetTokenEvent(msgspec.Struct, frozen=True, rename="pascal"):
    """What was issued to whom. Null where the exchange had nothing to say.

    Attributes:
        actor_token_payload: the actor token's payload as text.
        asset_id: the asset, 18 characters.
        asset_name: its record's name.
        asset_serial_number: its record's serial number.
        connected_app_id: the application at the issuer.
        user_id: the user the access token spoke for.
        device_id: ``did``.
        device_key: the bound public key, a JWK as text.
        event_uuid: names this event.
        expiration: ``exp`` as an RFC 3339 time.
        name: the token's display name.
        replay_id: grows with each event; gaps are normal.
    """

    actor_token_payload: str | None
    asset_id: str | None
    asset_name: str | None
    asset_serial_number: str | None
    connected_app_id: str | None
    user_id: str | None
    device_id: str | None
    device_key: str | None
    event_uuid: str | None
    expiration: str | None
    name: str | None
    replay_id: str | None


class EventSink(Protocol):
    """Where asset-token events go."""

    async def publish(self, event: AssetTokenEvent) -> None:
        """Return when the event is safe.

        Raises:
            PublishError: it is not; the exchange must not be answered with a token.
        """

    def close(self) -> None:
        """Let go of connections and threads; nothing is published after."""


class MemorySink:
    """Keeps the newest thousand events, for whoever asks."""

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        """Begin empty; ``limit`` events at most are kept."""
        self._events: deque[AssetTokenEvent] = deque(maxlen=limit)

    @property
    def events(self) -> Sequence[AssetTokenEvent]:
        """The events kept, oldest first."""
        return tuple(self._events)

    async def publish(self, event: AssetTokenEvent) -> None:
        """See `EventSink.publish`."""
        self._events.append(event)

    def close(self) -> None:
        """See `EventSink.close`."""
