"""Subscriptions are a debt: each may cost the broker memory that it never gives back.

2.0.11 loses 64 bytes at every SUBSCRIBE to a filter that the session is subscribed to already, and no
version bounds how many filters a session has. A device subscribes to a few when it connects; one that
does nothing else would fill the broker's memory, thirty thousand times a second. The debt is of the
asset at an address, so that nobody with a copy of its token keeps the device from its commands.
"""

from authplugin.debts import Debts
from authplugin.throttle import network

AT_ONCE = 1000
"""Filters that one asset may subscribe to at once from one address: 64 kB lost at most."""

PAID_SECONDS = 1.0
"""After which one more may be: 5.5 MB lost in a day, by a device that does nothing else."""

CAPACITY = 100_000


class Subscriptions:
    """What the assets of one broker have subscribed to of late; for one thread at a time."""

    def __init__(self) -> None:
        self._debts: Debts[tuple[str, bytes]] = Debts(
            at_once=AT_ONCE, paid_seconds=PAID_SECONDS, capacity=CAPACITY
        )

    def admits(self, asset_id: str, address: str, now: float) -> bool:
        """Whether an asset may subscribe to one more filter; if so, it owes for it.

        Args:
            asset_id: as its client was let in.
            address: the peer's.
            now: monotonic seconds.
        """
        debtor = (asset_id, network(address))
        if not self._debts.admits(debtor, now):
            return False
        self._debts.charge(debtor, now)
        return True
