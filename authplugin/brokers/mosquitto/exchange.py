"""Exchanges of enhanced authentication that have not ended: one a connection, each for seconds only.

The broker cuts a silent client by the client's own keepalive, which may be hours or nothing, and
cannot find it by client id before it is let in. So such a client gets a user name of nobody's, which
the tick can end it by. Those whose time is up at the same moment share it: the broker looks through
all its connections for each name, and thousands may be silent at once.

Whoever leaves an exchange unfinished, by silence or by going, owes for it: its address as for a bad
token, and its asset by `Unfinished`. One that renews is let in already, and leaves nothing behind.
"""

import math
from collections.abc import Iterator

import msgspec

from authplugin.brokers.mosquitto.answers import PENDING
from authplugin.brokers.mosquitto.unfinished import Place, Unfinished
from authplugin.errors import Reason
from authplugin.proof import Challenge
from authplugin.throttle import Throttle

_MOMENT_SECONDS = 0.25


class Exchange(msgspec.Struct, frozen=True):
    """A client was asked and has not answered.

    Attributes:
        challenge: what it was asked.
        client_id: as it was sent.
        name: user name until it has answered; "" where the client was let in before and renews.
        until: monotonic seconds at which it is cut.
        place: who owes for it while it is open.
    """

    challenge: Challenge
    client_id: str
    name: str
    until: float
    place: Place


class Exchanges:
    """The exchanges of one broker, by the shim's name of the connection. For one thread.

    Args:
        throttle: debts of addresses.
        unfinished: debts of assets.
    """

    def __init__(self, throttle: Throttle, unfinished: Unfinished) -> None:
        self._throttle = throttle
        self._unfinished = unfinished
        self._open: dict[int, Exchange] = {}

    def __len__(self) -> int:
        return len(self._open)

    def admits(self, challenge: Challenge, now: float) -> bool:
        """Whether a client that is not let in yet may be asked: not where too many never answered."""
        connect = challenge.connect
        place = self._unfinished.place(connect.client_id, connect.address)
        return self._unfinished.admits(place, now) and self._throttle.admits(connect.address)

    def begin(
        self, client: int, challenge: Challenge, client_id: str, *, renews: bool, now: float, until: float
    ) -> Exchange:
        """Note that a client was asked; what it was asked before counts no longer."""
        moment = math.ceil(until / _MOMENT_SECONDS)
        name = "" if renews else f"{PENDING}{moment}"
        place = self._unfinished.place(client_id, challenge.connect.address)
        exchange = Exchange(challenge, client_id, name, moment * _MOMENT_SECONDS, place)
        # Last in, last out: the order is by `until`, whatever was there before.
        self.end(client, now)
        self._open[client] = exchange
        if name:
            self._unfinished.begin(place, now)
        return exchange

    def end(self, client: int, now: float) -> Exchange | None:
        """Take what a client was asked: it has answered."""
        exchange = self._open.pop(client, None)
        if exchange is not None and exchange.name:
            self._unfinished.finish(exchange.place, now)
        return exchange

    def prove(self, challenge: Challenge) -> None:
        """Note that the answer was right."""
        self._unfinished.prove(challenge.connect.client_id, challenge.connect.address)

    def abandon(self, client: int) -> None:
        """Drop what a client was asked: its connection is gone."""
        exchange = self._open.pop(client, None)
        if exchange is not None:
            self._charge(exchange)

    def overdue(self, now: float) -> Iterator[tuple[int, Exchange]]:
        """Take those that waited too long."""
        while self._open:
            client, exchange = next(iter(self._open.items()))
            if exchange.until > now:
                return
            del self._open[client]
            self._charge(exchange)
            yield client, exchange

    def _charge(self, exchange: Exchange) -> None:
        """Charge the address as well: its asset owes since the beginning."""
        if exchange.name:
            self._throttle.failed(exchange.challenge.connect.address, Reason.POSSESSION_FAILED)
