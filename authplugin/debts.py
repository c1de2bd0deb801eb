"""Debts: what somebody may do so often at once, and once more each time that one is paid.

A debt is the time by which it is paid (the generic cell rate algorithm, ITU-T I.371), as in `Throttle`:
one float for whoever owes, and no timer.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

_ROUNDING = 1e-3
"""Seconds, more than what rounding adds to a debt."""

_AT_ONCE = 2
"""Debtors forgotten at most for each one charged."""

K = TypeVar("K")


class Debts(Generic[K]):
    """What is owed, by whom; for one thread at a time.

    Bounded: what is paid is forgotten as others are charged, and beyond that who was charged longest ago.

    Args:
        at_once: how many may be owed.
        paid_seconds: after which one of them is paid.
        capacity: debtors remembered.
    """

    def __init__(self, *, at_once: int, paid_seconds: float, capacity: int) -> None:
        # How far ahead a debt may reach before the last one that may be owed.
        self._reach = (at_once - 1) * paid_seconds + _ROUNDING
        self._paid_seconds = paid_seconds
        self._capacity = capacity
        self._paid: OrderedDict[K, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paid)

    def admits(self, debtor: K, now: float) -> bool:
        """Whether one more may be owed; ``now`` is in monotonic seconds."""
        return self._paid.get(debtor, now) - now <= self._reach

    def charge(self, debtor: K, now: float) -> None:
        """Note one more."""
        self._paid[debtor] = max(self._paid.get(debtor, now), now) + self._paid_seconds
        self._paid.move_to_end(debtor)
        for _ in range(_AT_ONCE):
            if len(self._paid) <= self._capacity and next(iter(self._paid.values())) > now:
                break
            self._paid.popitem(last=False)

    def forgive(self, debtor: K, now: float) -> None:
        """Note one less."""
        paid = self._paid.get(debtor, now) - self._paid_seconds
        if paid > now:
            self._paid[debtor] = paid
        else:
            self._paid.pop(debtor, None)
