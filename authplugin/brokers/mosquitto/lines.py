"""Lines for the broker's log: no more of a kind each second than a person reads, none with secrets.

A flood of refusals must not fill the disk, so each kind has a budget a second; what was left out is
said as a number. Text that a client chose is cut and made printable: it can forge no second line.
What other threads log waits here for the next tick: only the broker's thread may write to its log.
"""

import logging
from collections import Counter, deque

from authplugin.brokers.mosquitto.answers import LOG_ERROR, LOG_NOTICE, LOG_WARNING, Effect

PER_SECOND = 10
"""Lines of one kind each second."""

WAITING = 1000
"""Most lines of other threads that wait for a tick."""

_SHOWN = 80


def shown(text: str | None) -> str:
    """A client's own words, for a log line: quoted, printable, at most 80 characters."""
    if text is None:
        return "nothing"
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return f"'{cut}'" if cut.isprintable() else ascii(cut)


def line(level: int, text: str) -> Effect:
    """The effect that writes one line to the broker's log."""
    return level, " ".join(text.split()).replace("\0", "").encode("utf-8", "replace")


class LineBudget:
    """Counts lines by kind within a second; `turn` starts the next one."""

    def __init__(self, per_second: int = PER_SECOND) -> None:
        self._per_second = per_second
        self._seen: Counter[str] = Counter()

    def take(self, kind: str) -> bool:
        """Whether one more line of that kind may be written in this second."""
        self._seen[kind] += 1
        return self._seen[kind] <= self._per_second

    def turn(self) -> dict[str, int]:
        """Start the next second; how many lines of each kind were left out of the last."""
        left_out = {
            kind: count - self._per_second for kind, count in self._seen.items() if count > self._per_second
        }
        self._seen.clear()
        return left_out


class WaitingLines(logging.Handler):
    """Takes what the package's threads log, until the broker's thread writes it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._waiting: deque[Effect] = deque(maxlen=WAITING)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record; the oldest goes when there are too many."""
        level = (
            LOG_ERROR
            if record.levelno >= logging.ERROR
            else LOG_WARNING
            if record.levelno >= logging.WARNING
            else LOG_NOTICE
        )
        self._waiting.append(line(level, record.getMessage()))

    def take(self) -> list[Effect]:
        """All that wait, in order."""
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        return taken
