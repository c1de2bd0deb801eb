"""Bounds what a chatty library logs: aiokafka writes a thousand lines a second while a broker is away."""

import logging
import time
from collections.abc import Callable


class RateLimit(logging.Filter):
    """Lets a message's template through a few times a window; says afterwards how many were held back.

    Args:
        most: records of one template in a window.
        window: seconds.
        monotonic: a clock that never steps.
    """

    def __init__(
        self, most: int = 3, window: float = 30.0, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most = most
        self._window = window
        self._monotonic = monotonic
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write this record."""
        key = (record.name, str(record.msg))
        now = self._monotonic()
        since, count = self._seen.get(key, (now, 0))
        if now - since > self._window:
            if count > self._most:
                record.msg = f"{record.msg} (and {count - self._most} more like it)"
            since, count = now, 0
        if len(self._seen) > 1000:  # noqa: PLR2004 - templates are few; a thousand means that texts are templates
            self._seen.clear()
        self._seen[key] = (since, count + 1)
        return count < self._most
