"""What the status page shows: the newest samples of every series, the cases, and the gate's counters."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

#: Samples kept of one series: a quarter of an hour at one a second.
_POINTS = 900
#: Series and cases kept: the demo has far fewer, and nobody else can make it keep more.
_SERIES = 2_000
_CASES = 200


@dataclass(frozen=True, slots=True)
class Limit:
    """A value that a rule compares a metric with: drawn as a line."""

    metric: str
    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Case:
    """One case or opportunity as the page tells it; times are event times in ms since the epoch.

    Attributes:
        id: case id, also its key on the page.
        kind: ``case``, ``opportunity`` or ``security``.
        title: what happened, for a person.
        detail: one sentence more, with the numbers.
        metric: the series that the finding is about, ``""`` when there is none.
        since: start of the episode, ms.
        took: seconds from the publish of the deciding sample to the case, None when there was none.
    """

    id: str
    kind: str
    title: str
    detail: str
    asset: str
    device: str
    metric: str
    severity: str
    seen: str
    expected: str
    rule: str
    version: str
    since: int
    opened: int
    closed: int | None
    evidence: tuple[str, ...]
    took: float | None


@dataclass(frozen=True, slots=True)
class GateCounts:
    """The gate's own counters: connections allowed, and refusals by reason; sessions live now."""

    allowed: int | None = None
    refusals: Mapping[str, int] = field(default_factory=dict)
    sessions: int | None = None


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """Samples on the telemetry topic, and dead letters."""

    samples: int | None = None
    dead: int | None = None


class Board:
    """Everything the page can ask for, fed by the story; bounded, whatever arrives.

    Args:
        names: asset id → what people call the device.
        limits: lines to draw.
        meanings: reason → one sentence.
        now: milliseconds since the epoch.
    """

    def __init__(
        self,
        *,
        names: Mapping[str, str],
        limits: Sequence[Limit],
        meanings: Mapping[str, str],
        now: Callable[[], int],
    ) -> None:
        self.gate = GateCounts()
        self.stream = StreamCounts()
        self._names = names
        self._limits = limits
        self._meanings = meanings
        self._now = now
        self._series: dict[str, dict[str, deque[tuple[int, float]]]] = {}
        self._series_count = 0
        self._units: dict[str, str] = {}
        self._cases: dict[str, Case] = {}

    def sample(self, asset: str, metric: str, time: int, value: float, unit: str = "") -> None:
        """Remember one sample; ``time`` is its event time in ms."""
        points = self._series.get(asset, {}).get(metric)
        if points is None:
            if self._series_count >= _SERIES:
                return
            self._series_count += 1
            points = self._series.setdefault(asset, {})[metric] = deque(maxlen=_POINTS)
        if points and time <= points[-1][0]:
            return  # a repeat, or one that came late: the line has passed it
        points.append((time, value))
        if unit:
            self._units[metric] = unit

    def case(self, case: Case) -> None:
        """Remember a case, or its newer state; the oldest gives way when there are too many."""
        self._cases[case.id] = case
        while len(self._cases) > _CASES:
            del self._cases[next(iter(self._cases))]

    def state(self) -> dict[str, object]:
        """All but the series, ready for JSON."""
        flagged = {case.asset for case in self._cases.values()}
        refusals = sorted(self.gate.refusals.items(), key=lambda item: (-item[1], item[0]))
        return {
            "now": self._now(),
            "gate": {
                "allowed": self.gate.allowed,
                "refused": sum(self.gate.refusals.values()),
                "sessions": self.gate.sessions,
                "reasons": [
                    {"reason": reason, "meaning": self._meanings.get(reason, ""), "count": count}
                    for reason, count in refusals
                ],
            },
            "stream": {"samples": self.stream.samples, "dead": self.stream.dead},
            "devices": [
                {
                    "id": asset,
                    "name": self._names.get(asset, ""),
                    "metrics": sorted(self._series[asset]),
                    "flagged": asset in flagged,
                }
                for asset in sorted(self._series, key=lambda asset: (self._names.get(asset, ""), asset))
            ],
            "cases": [
                {name: getattr(case, name) for name in Case.__slots__}
                for case in sorted(self._cases.values(), key=lambda case: -case.opened)
            ],
        }

    def series(self, asset: str, metric: str) -> dict[str, object]:
        """One series with its limits and the episodes found in it, ready for JSON; empty when unknown."""
        points = self._series.get(asset, {}).get(metric, ())
        return {
            "now": self._now(),
            "asset": asset,
            "metric": metric,
            "unit": self._units.get(metric, ""),
            "points": list(points),
            "limits": [
                {"value": limit.value, "label": limit.label}
                for limit in self._limits
                if limit.metric == metric
            ],
            "marks": [
                {"from": case.since, "to": case.closed, "label": case.title, "kind": case.kind}
                for case in self._cases.values()
                if case.asset == asset and case.metric in {metric, ""}
            ],
        }
