"""Durations as people write them: ``10s``, ``1.5h``, ``250ms``; milliseconds inside."""

import re
from typing import Self

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)", re.ASCII)

#: What an error says it expected.
EXPECTED = "a duration such as 250ms, 10s, 5m, 1.5h or 7d"


class Duration(int):
    """Whole milliseconds, read from text."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Self:
        """Milliseconds of `text`.

        Raises:
            ValueError: with what was expected.
        """
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(EXPECTED)
        return cls(round(float(match[1]) * _UNITS[match[2]]))


def write(milliseconds: float) -> str:
    """The largest unit that says `milliseconds` with at most one decimal: ``90s`` → ``1.5m``."""
    for unit in ("d", "h", "m", "s"):
        if milliseconds >= _UNITS[unit]:
            return f"{milliseconds / _UNITS[unit]:.1f}".removesuffix(".0") + unit
    return f"{milliseconds:.0f}ms"
