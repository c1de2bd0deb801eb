"""A clock that moves only when told to."""


class FakeClock:
    """Both clocks of `authplugin.clock.Clock`, by hand.

    The two move together with `advance`; `step` moves the wall clock alone, as a time server does.
    """

    def __init__(self, now: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        """Start at ``now`` seconds since the epoch and ``monotonic`` seconds since some start."""
        self._now = now
        self._monotonic = monotonic

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        if seconds < 0:
            raise ValueError("time does not pass backwards; step() sets the wall clock back")
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock ahead, or back when negative; no time passes."""
        self._now += seconds
