"""One thing that would lose messages, and how to mend it."""

from typing import NamedTuple


class Finding(NamedTuple):
    """What is wrong.

    Attributes:
        where: the file, or the broker's address.
        line: of the file; None where there is none.
        key: the setting, or the property of the protocol.
        found: what it is.
        expected: what it should be.
        why: what would be lost.
    """

    where: str
    line: int | None
    key: str
    found: str
    expected: str
    why: str

    def __str__(self) -> str:
        at = self.where if self.line is None else f"{self.where}:{self.line}"
        return f"{at}: {self.key}: found {self.found}, expected {self.expected}: {self.why}"
