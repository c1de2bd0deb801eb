"""What the demo says on the terminal: chapters, checked lines and aligned tables, 100 columns wide."""

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TextIO

#: Width that every table and paragraph keeps to.
WIDTH = 100


class Mark(StrEnum):
    """What stands before a line: it came true, it did not, or it is only told."""

    TRUE = "✓"
    FALSE = "✗"
    TOLD = "·"


class Ink(StrEnum):
    """The few colours there are, as SGR parameters."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


_MARK_INK = {Mark.TRUE: Ink.GREEN, Mark.FALSE: Ink.RED, Mark.TOLD: Ink.DIM}


def coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """True on a terminal that can, unless `NO_COLOR` (https://no-color.org) says no."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def printable(text: str) -> str:
    """Replace what could move the cursor or recolour the screen: what devices send is shown here."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def clipped(text: str, width: int) -> str:
    """Cut the text to the width, with an ellipsis in its last column when something was cut."""
    return text if len(text) <= width else text[: width - 1] + "…"


class Console:
    """Writes the story; a line in progress is shown only where it can be wiped again (a terminal)."""

    def __init__(self, stream: TextIO, *, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._colour = coloured(stream, environ)
        self._live = stream.isatty() and environ.get("TERM") != "dumb"
        self._pending = False

    def ink(self, text: str, ink: Ink) -> str:
        """The text in that colour, or as it is when there are no colours."""
        return f"\x1b[{ink}m{text}\x1b[0m" if self._colour and ink else text

    def title(self, text: str, subtitle: str) -> None:
        """Head of the whole story."""
        self._write(f"\n{self.ink(text, Ink.BOLD)}  {self.ink(subtitle, Ink.DIM)}\n")

    def chapter(self, number: int, text: str) -> None:
        """Head of one chapter."""
        self._write(f"\n{self.ink(f'{number}  {printable(text)}', Ink.BOLD)}\n")

    def line(self, mark: Mark, text: str, detail: str = "") -> None:
        """One line of the story, wrapped below its own text, and what was seen below it."""
        lines = textwrap.wrap(printable(text), WIDTH - 5, break_on_hyphens=False) or [""]
        self._write(f"   {self.ink(mark, _MARK_INK[mark])} {lines[0]}\n")
        for more in lines[1:]:
            self._write(f"     {more}\n")
        for part in detail.split("\n"):
            for more in textwrap.wrap(printable(part), WIDTH - 5, break_on_hyphens=False):
                self._write(f"     {self.ink(more, Ink.DIM)}\n")

    def plain(self, text: str = "", ink: Ink = Ink.PLAIN) -> None:
        """Lines as they are, in one ink (for what a person copies, so they are never wrapped)."""
        for line in text.split("\n"):
            self._write((self.ink(printable(line), ink) if line else "") + "\n")

    def progress(self, text: str) -> None:
        """Say what is being waited for; the next line replaces it. Nothing where that is impossible."""
        if not self._live:
            return
        self._stream.write(f"\r\x1b[2K   {self.ink('… ' + clipped(printable(text), WIDTH - 6), Ink.DIM)}")
        self._stream.flush()
        self._pending = True

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, inks: Sequence[Ink] = ()
    ) -> None:
        """An aligned table; the widest column gives way when the whole would pass `WIDTH`.

        ``inks`` gives each row its colour, in order; rows beyond it are plain.
        """
        cells = [[printable(cell) for cell in row] for row in rows]
        widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
        room = WIDTH - 3 - 2 * (len(columns) - 1)
        while sum(widths) > room:
            widths[widths.index(max(widths))] -= 1
        head = "  ".join(
            clipped(name, width).ljust(width) for name, width in zip(columns, widths, strict=True)
        )
        self._write(f"   {self.ink(head.rstrip(), Ink.DIM)}\n")
        for number, row in enumerate(cells):
            text = "  ".join(
                clipped(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)
            )
            self._write(f"   {self.ink(text.rstrip(), inks[number] if number < len(inks) else Ink.PLAIN)}\n")

    def _write(self, text: str) -> None:
        if self._pending:
            self._stream.write("\r\x1b[2K")
            self._pending = False
        self._stream.write(text)
        self._stream.flush()
