"""Exchanges that were begun and not finished are a debt: each may cost the broker memory for weeks.

2.0 keeps what is left of a connection that asked for a stored session and then never answered, until
that session would have ended. It takes a token that holds, so the debt is its asset's, and a stranger
without one owes nothing in an asset's name. Whoever has copied a token does: so an address from which
the asset has proved its key has a debt of its own, and its device comes in from there whatever
the others owe.
"""

import contextlib
from collections import OrderedDict

from authplugin.debts import Debts
from authplugin.jose.identity import IdForm, canonical_asset_id
from authplugin.throttle import network

AT_ONCE = 100
"""Exchanges of one asset, or of one at one of its addresses, that may be unfinished."""

PAID_SECONDS = 60.0
"""After which one more may be."""

CAPACITY = 100_000

_RECORD_ID = 15

Place = tuple[str, bytes]
"""An asset and the network that it is at; nothing for those where it has proved no key."""


class Unfinished:
    """What the assets of one broker owe; bounded, for one thread at a time.

    Args:
        clients: connections that one asset may well open, so that all may come back at once.
    """

    def __init__(self, clients: int = 1) -> None:
        self._debts: Debts[Place] = Debts(
            at_once=AT_ONCE + clients - 1, paid_seconds=PAID_SECONDS, capacity=CAPACITY
        )
        # Where keys were proved; what is oldest goes first.
        self._proved: OrderedDict[Place, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._debts)

    def place(self, client_id: str, address: str) -> Place:
        """Whose debt an exchange is: of a client whose id was found to be its asset's."""
        asset_id = client_id.partition(":")[0]
        if len(asset_id) == _RECORD_ID:  # both forms are one asset's
            with contextlib.suppress(ValueError):
                asset_id = canonical_asset_id(asset_id, IdForm.SALESFORCE)
        place = asset_id, network(address)
        return place if place in self._proved else (asset_id, b"")

    def admits(self, place: Place, now: float) -> bool:
        """Whether one more may begin there; ``now`` is in monotonic seconds."""
        return self._debts.admits(place, now)

    def begin(self, place: Place, now: float) -> None:
        """Note that one has begun."""
        self._debts.charge(place, now)

    def finish(self, place: Place, now: float) -> None:
        """Note that one was answered, well or not: it costs the broker nothing more."""
        self._debts.forgive(place, now)

    def prove(self, client_id: str, address: str) -> None:
        """Note that a client has proved its asset's key at an address."""
        place = self.place(client_id, address)[0], network(address)
        self._proved[place] = None
        self._proved.move_to_end(place)
        if len(self._proved) > CAPACITY:
            self._proved.popitem(last=False)
