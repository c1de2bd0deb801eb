"""What a detector found, as the episode keeps it and the event tells it: event-time facts only."""

import sys

import msgspec

from processor.model import Explanation


class Evidence(msgspec.Struct, frozen=True, array_like=True):
    """One sample that led to a finding."""

    metric: str
    t: int
    v: float


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """Seen, expected, margin and the samples at the onset."""

    metric: str
    seen: float
    expected: float
    margin: float
    unit: str
    text: str
    evidence: tuple[Evidence, ...] = ()


def make_finding(why: Explanation, *, metric: str, unit: str, evidence: tuple[Evidence, ...]) -> Finding:
    """A finding from a detector's words; `unit` is the metric's own, for detectors that speak in it."""
    spoken = why.unit or unit
    if spoken.startswith("per "):
        spoken = f"{unit} {spoken}".strip()
    return Finding(
        metric=metric,
        seen=_finite(why.seen),
        expected=_finite(why.expected),
        margin=_finite(why.margin),
        unit=spoken,
        text=why.text,
        evidence=evidence,
    )


def _finite(number: float) -> float:
    """The nearest number that JSON can write: the difference of two large ones may be none."""
    return float(max(-sys.float_info.max, min(number, sys.float_info.max)))
