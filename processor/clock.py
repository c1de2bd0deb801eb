"""Time as an argument: what asks the time takes a `Clock`; event time is never read from one."""

import time
from typing import Protocol


class Clock(Protocol):
    """The wall clock and one that never steps."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that only grow."""


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
