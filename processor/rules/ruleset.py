"""Rules as the engine reads them: parsed, checked, frozen, with a hash that names exactly this set."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from processor.detect.detector import Detector, Target
from processor.model import Kind, Severity

#: What each letter of an asset's id may be.
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
#: The parts of a pattern, as `fnmatch` reads it: a class, which may begin with its own end, or one character.
_PART = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: which series it looks at, what it looks for, and what a finding is.

    Attributes:
        id: name of the rule; part of every case id, so a renamed rule opens new cases.
        version: raised by the author when the meaning changes; carried by every event.
        hash: first 16 hex digits of the SHA-256 of the rule's own content.
        kind: what a finding is for.
        severity: how soon somebody should look.
        title: one line for a person.
        target: what kind of series the rule selects.
        select: name of the metric or event type; "" for any sample of the asset.
        assets: patterns of asset ids (``*``, ``?``, ``[…]``), one of which must match.
        detector: what looks at the samples.
        params: the detector's parameters by field of its ``params`` dtype.
        hold: milliseconds that the condition must hold before the case opens (``for``).
        clear: milliseconds that the condition must be over before the case closes.
    """

    id: str
    version: int
    hash: str
    kind: Kind
    severity: Severity
    title: str
    target: Target
    select: str
    assets: tuple[str, ...]
    detector: Detector
    params: Mapping[str, float]
    hold: int
    clear: int

    def selects(self, asset: str, target: Target, name: str) -> bool:
        """Whether this rule looks at that series of that asset."""
        return (
            self.target is target
            and self.select == name
            and any(pattern == "*" or fnmatchcase(asset, pattern) for pattern in self.assets)
        )


def can_match(pattern: str) -> bool:
    """Whether there is an asset id that a pattern of at most 64 characters matches."""
    return all(
        part in _LETTERS or any(fnmatchcase(letter, part) for letter in _LETTERS)
        for part in _PART.findall(pattern)
    )


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a file, in its order.

    Attributes:
        hash: of the rules' whole content.
        rules: the rules.
        effective: event time from which they are in force, milliseconds since the epoch; None for at once.
    """

    hash: str
    rules: tuple[Rule, ...]
    effective: int | None = None
