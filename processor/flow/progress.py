"""How far a recovery is: a gauge for machines, a bar in the log for who waits for it."""

import logging
import time
from collections.abc import Callable

from processor.metrics import WorkerMetrics

_LOG = logging.getLogger(__name__)
_WIDTH = 20
#: Seconds between two bars; a recovery that is over before draws none.
_PAUSE = 1.0


def draw(done: int, total: int) -> str:
    """A bar: ``[#####---------------] 25 %``."""
    filled = _WIDTH * done // total if total else _WIDTH
    percent = 100 * done // total if total else 100
    return f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {percent} %"


class Progress:
    """Of reading the state topic, by offsets. Called from the thread that reads.

    Args:
        metrics: has the gauge.
        monotonic: a clock that never steps.
    """

    def __init__(self, metrics: WorkerMetrics, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._gauge = metrics.recovery
        self._monotonic = monotonic
        self._told = monotonic()

    def __call__(self, done: int, total: int) -> None:
        """So many of so many are read."""
        self._gauge.set(done / total if total else 1.0)
        now = self._monotonic()
        if now - self._told >= _PAUSE:
            self._told = now
            # The text itself, not a template: the log's limit would hold back all but the first few.
            text = f"reading the state: {draw(done, total)} of {total} records"
            _LOG.info(text)
