"""Time as an argument: everything that asks what time it is takes a `Clock`."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that agrees with the tokens, one that never steps."""

    def now(self) -> float:
        """Seconds since the epoch: what ``exp`` and ``nbf`` are compared with."""

    def monotonic(self) -> float:
        """Seconds that only grow: what timeouts, cooldowns and rates are measured by."""


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
