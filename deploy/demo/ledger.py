"""The lines of the story, declared before it is told: what is never reached did not come true either."""

from dataclasses import dataclass
from typing import Protocol

from deploy.demo.console import Console, Mark


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of the story.

    Attributes:
        name: what the exit report calls it, unique, e.g. ``case.silence``.
        text: the line as a sentence that is true or not.
    """

    name: str
    text: str


class Teller(Protocol):
    """Who says each line aloud: a `Console` does."""

    def line(self, mark: Mark, text: str, detail: str = "") -> None:
        """Say one line with its mark, and what was seen."""


class Ledger:
    """Which claims came true. A claim is judged once; the first judgement stands."""

    def __init__(self, claims: tuple[Claim, ...], teller: Teller | Console) -> None:
        self._claims = {claim.name: claim for claim in claims}
        if len(self._claims) != len(claims):
            raise ValueError("two claims share a name")
        self._teller = teller
        self._judged: dict[str, tuple[bool, str]] = {}

    def judge(self, name: str, true: bool, detail: str = "") -> bool:  # noqa: FBT001 - judge(name, verdict) reads as it is
        """Record a claim and say its line; ``detail`` is what was seen. Returns the verdict."""
        claim = self.note(name, true, detail)
        self._teller.line(Mark.TRUE if true else Mark.FALSE, claim.text, detail)
        return true

    def note(self, name: str, true: bool, detail: str = "") -> Claim:  # noqa: FBT001 - as above
        """Record a claim whose line was said otherwise, in a table."""
        claim = self._claims[name]
        if name in self._judged:
            raise ValueError(f"the claim {name!r} was judged before")
        self._judged[name] = (true, detail)
        return claim

    def unmet(self) -> list[tuple[Claim, str]]:
        """Every claim that was found untrue, in the order of the story, with what was seen instead."""
        judged = (
            (claim, *self._judged[name]) for name, claim in self._claims.items() if name in self._judged
        )
        return [(claim, detail) for claim, true, detail in judged if not true]

    def unreached(self) -> list[Claim]:
        """Every claim that the story did not get to: it did not come true either."""
        return [claim for name, claim in self._claims.items() if name not in self._judged]

    def total(self) -> int:
        """How many claims there are."""
        return len(self._claims)
