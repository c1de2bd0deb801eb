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

    def line(self, mark: Mark, text: str) -> None:
        """Say one line with its mark."""


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
        claim = self._claims[name]
        if name in self._judged:
            raise ValueError(f"the claim {name!r} was judged before")
        self._judged[name] = (true, detail)
        self._teller.line(Mark.TRUE if true else Mark.FALSE, f"{claim.text}{f': {detail}' if detail else ''}")
        return true

    def judged(self, name: str) -> bool:
        """True when the claim has a verdict."""
        return name in self._judged

    def unmet(self) -> list[tuple[Claim, str]]:
        """Every claim that did not come true, in the order of the story, with what was seen instead."""
        found = []
        for claim in self._claims.values():
            true, detail = self._judged.get(claim.name, (False, "the story did not get this far"))
            if not true:
                found.append((claim, detail))
        return found

    def total(self) -> int:
        """How many claims there are."""
        return len(self._claims)
