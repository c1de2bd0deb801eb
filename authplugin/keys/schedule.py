"""When an issuer's key set is asked for again: a plan of attempts, without a clock or a socket of its own.

Two roads lead to an attempt. The timed one keeps the set fresh and is never charged for what tokens
say; the asked one looks for a kid nobody knows, at most once a cooldown, counted from any attempt
whether it failed or not. So forged kids cost the issuer one request a cooldown, and cannot push the
timed refresh aside.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec

_Seconds = Annotated[float, msgspec.Meta(gt=0, extra={"unit": "s"})]


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often an issuer is asked.

    Attributes:
        soft: seconds after which a set is refreshed when the answer names no ``max-age``.
        soft_least: least seconds between timed refreshes, whatever ``max-age`` says.
        soft_most: most seconds between timed refreshes, whatever ``max-age`` says.
        hard: seconds after which a set that could not be refreshed is no longer trusted.
        cooldown: least seconds from any attempt to one for an unknown kid; with the fetch's own
            time, how long the first token of a new key may be refused.
        retry_first: seconds before the first retry after a failure; doubles.
        retry_most: most seconds between retries.
        absent: seconds for which a kid that the set did not have is not asked for again.
    """

    soft: _Seconds = 300.0
    soft_least: _Seconds = 60.0
    soft_most: _Seconds = 3600.0
    hard: _Seconds = 86400.0
    cooldown: _Seconds = 30.0
    retry_first: _Seconds = 1.0
    retry_most: _Seconds = 30.0
    absent: _Seconds = 60.0


HTTP_TIMING = Timing()
"""For key sets that an issuer serves."""

FILE_TIMING = Timing(soft=5.0, soft_least=1.0, soft_most=60.0, cooldown=1.0, absent=5.0)
"""For key sets in a file: reading costs nobody anything."""


class Schedule:
    """The plan for one issuer. Times are monotonic seconds, given by the caller."""

    def __init__(self, timing: Timing, jitter: Callable[[], float]) -> None:
        """``jitter`` gives numbers in [0, 1): many gates must not ask in the same second."""
        self._timing = timing
        self._jitter = jitter
        self._timed = 0.0
        self._last: float | None = None
        self._failures = 0

    def due(self, *, asked: bool) -> float:
        """When the next attempt may start; ``asked`` when a kid is looked for."""
        if not asked or self._last is None:
            return self._timed
        return min(self._timed, self._last + self._timing.cooldown)

    def began(self, now: float) -> None:
        """An attempt starts: it counts, however it ends."""
        self._last = now

    def succeeded(self, now: float, max_age: float | None) -> None:
        """The issuer vouched for its set; ``max_age`` is what its answer allows, seconds."""
        timing = self._timing
        self._failures = 0
        soft = timing.soft if max_age is None else max_age
        soft = min(max(soft, timing.soft_least), timing.soft_most)
        # Between 80 and 100 percent: fresh before it is due, and not with everyone else.
        self._timed = now + soft * (0.8 + 0.2 * self._jitter())

    def failed(self, now: float) -> None:
        """No usable set came; the wait doubles, from half of it to all of it."""
        timing = self._timing
        wait = min(timing.retry_first * 2.0 ** min(self._failures, 32), timing.retry_most)
        self._failures += 1
        self._timed = now + wait * (0.5 + 0.5 * self._jitter())
