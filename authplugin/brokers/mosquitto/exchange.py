"""Exchanges of enhanced authentication that have not ended: one a connection, each for seconds only.

The broker cuts a silent client by the client's own keepalive, which may be hours or nothing, and
cannot find it by client id before it is let in. So such a client gets a user name of nobody's, which
the tick can end it by. Those whose time is up at the same moment share it: the broker looks through
all its connections for each name, and thousands may be silent at once.
"""

import math
from collections.abc import Iterator

import msgspec

from authplugin.brokers.mosquitto.answers import PENDING
from authplugin.proof import Challenge

_MOMENT_SECONDS = 0.25


class Exchange(msgspec.Struct, frozen=True):
    """A client was asked and has not answered.

    Attributes:
        challenge: what it was asked.
        client_id: as it was sent.
        name: user name until it has answered; "" where the client was let in before and renews.
        until: monotonic seconds at which it is cut.
    """

    challenge: Challenge
    client_id: str
    name: str
    until: float


class Exchanges:
    """The exchanges of one broker, by the shim's name of the connection. For one thread."""

    def __init__(self) -> None:
        self._open: dict[int, Exchange] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(
        self, client: int, challenge: Challenge, client_id: str, *, renews: bool, until: float
    ) -> Exchange:
        """Note that a client was asked; what it was asked before counts no longer."""
        moment = math.ceil(until / _MOMENT_SECONDS)
        name = "" if renews else f"{PENDING}{moment}"
        exchange = Exchange(challenge, client_id, name, moment * _MOMENT_SECONDS)
        # Last in, last out: the order is by `until`, whatever was there before.
        self._open.pop(client, None)
        self._open[client] = exchange
        return exchange

    def end(self, client: int) -> Exchange | None:
        """Take what a client was asked: it has answered, or its connection is gone."""
        return self._open.pop(client, None)

    def overdue(self, now: float) -> Iterator[tuple[int, Exchange]]:
        """Take those that waited too long."""
        while self._open:
            client, exchange = next(iter(self._open.items()))
            if exchange.until > now:
                return
            del self._open[client]
            yield client, exchange
