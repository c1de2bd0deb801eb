"""Where messages come from: one interface, whatever the MQTT client."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

LARGEST_PACKET = 33_554_432
"""Bytes that a source takes in one packet, twice what Kafka does: a broker of MQTT 5 drops what is larger."""


class Token(NamedTuple):
    """Names a delivery to acknowledge: packet ids are reused, so the connection is part of the name."""

    epoch: int
    packet_id: int


class Delivery(NamedTuple):
    """A message as it came; `token` is None for QoS 0, which nobody acknowledges; `retained`: an old one."""

    topic: str
    payload: bytes
    content_type: str | None
    token: Token | None
    retained: bool = False


OnBatch = Callable[[Sequence[Delivery]], None]


class Source(Protocol):
    """An MQTT session that holds messages until they are acknowledged.

    Attributes:
        ready: set once subscribed for the first time.
    """

    ready: asyncio.Event

    async def run(self, on_batch: OnBatch) -> None:
        """Connect, subscribe and hand over what arrives, reconnecting until `close`.

        Raises:
            StreamError: the broker refuses us, or another client has taken our session.
        """

    def ack(self, tokens: Sequence[Token]) -> None:
        """Tell the broker that these are safe; those of an older connection are dropped: they come again."""

    async def publish(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 1 and retain it; False when it did not reach the broker."""

    def stop_intake(self) -> None:
        """Hand over nothing more; what still arrives stays unacknowledged, in the broker's keeping."""

    async def close(self) -> None:
        """Disconnect cleanly, keeping the session; `run` returns."""
