"""A clock that moves only when told to."""


class FakeClock:
    """Both clocks of `processor.clock.Clock`, by hand.

    The two move together with `advance`; `step` moves the wall clock alone, as a time server does.

    Args:
        now: seconds since the epoch to begin at.
        monotonic: seconds since some start to begin at.
    """

    def __init__(self, now: float = 1_800_000_000.0, monotonic: float = 1_000.0) -> None:
        self._now = now
        self._monotonic = monotonic

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass; never backwards."""
        if seconds < 0:
            raise ValueError("time does not pass backwards; step() sets the wall clock back")
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock ahead, or back when negative; no time passes."""
        self._now += seconds
