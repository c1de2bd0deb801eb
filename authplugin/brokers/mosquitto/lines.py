"""Lines for the broker's log: no more of a kind each second than a person reads, none with secrets.

A flood of refusals must not fill the disk, so each kind has a budget a second; what was left out is
said as a number. Text that a client chose is cut and made printable: it can forge no second line.
"""

from collections import Counter

PER_SECOND = 10
"""Lines of one kind each second."""

_SHOWN = 80


def shown(text: str | None) -> str:
    """A client's own words, for a log line: quoted, printable, at most 80 characters."""
    if text is None:
        return "nothing"
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return ascii(cut) if not cut.isprintable() else f"'{cut}'"


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
        if not self._seen:
            return {}
        left_out = {kind: count - self._per_second for kind, count in self._seen.items() if count > self._per_second}
        self._seen.clear()
        return left_out
