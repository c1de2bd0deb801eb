"""Suffixes: an asset's client ids beside its own, ``<asset id>:<suffix>``.

One token may have as many of them as it likes, so whoever has copied one would fill the broker's
connections with them, and its memory with the sessions that it stores for each, for two weeks. How many
are live at once is the policy's, and a new one is a debt of the asset at an address, so that nobody with
a copy of its token uses up what the device may do where it is. The bare asset id is always let in.
"""

from array import array
from collections import OrderedDict

from authplugin.clock import Clock
from authplugin.debts import Debts
from authplugin.throttle import network

AT_ONCE = 100
"""New suffixes of one asset at one address."""

PAID_SECONDS = 600.0
"""After which one more may be new: 2,100 stored sessions at most in the two weeks that they last."""

REMEMBERED = 64
"""Suffixes of one asset at one address that are not new when they come back."""

CAPACITY = 100_000

Place = tuple[str, bytes]

_NONE = array("q")


class Suffixes:
    """Those seen of late; bounded, for one thread at a time."""

    def __init__(self, *, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._debts: Debts[Place] = Debts(at_once=AT_ONCE, paid_seconds=PAID_SECONDS, capacity=CAPACITY)
        # Numbers for client ids, which may be long; first goes where the last new one is longest ago.
        self._known: OrderedDict[Place, array[int]] = OrderedDict()

    def admits(self, client_id: str, asset_id: str, address: str) -> bool:
        """Whether a client may come in under a client id of its asset that is not live."""
        place = asset_id, network(address)
        return hash(client_id) in self._known.get(place, _NONE) or self._debts.admits(
            place, self._monotonic()
        )

    def opened(self, client_id: str, asset_id: str, address: str) -> None:
        """Note that it has come in."""
        place = asset_id, network(address)
        known = self._known.get(place, _NONE)
        number = hash(client_id)
        if number in known:
            return
        self._debts.charge(place, self._monotonic())
        self._known[place] = array("q", (*known, number)[-REMEMBERED:])
        self._known.move_to_end(place)
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)
