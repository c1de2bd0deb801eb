"""An asset beyond its own limits: one finding a day for each limit, the same bytes however often it is met.

What is beyond a limit is set aside by the engine; here somebody is told. Nothing need be remembered for that:
the finding's start is the midnight (UTC) before the receipt, so that a replay, or another worker, raises the
same event again. How many dead letters an asset has made is counted from when this worker took its partition.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

from processor.cases.episode import Episode, Phase, Turn
from processor.cases.event import make_event
from processor.cases.finding import Finding
from processor.detect.detector import Target
from processor.detect.threshold import THRESHOLD
from processor.errors import DeadReason
from processor.model import CaseEvent, Dead, Kind, Severity
from processor.rules.ruleset import Rule

_HOUR = 3_600_000
_DAY = 24 * _HOUR
#: Ids of the findings, in place of a rule's; rules that people write cannot have them.
SERIES, DEAD_LETTERS = "limit:series", "limit:dead-letters"


class Excess:
    """Findings about the assets of one partition.

    Args:
        series: most series of one asset (`engine.series`).
        dead_letters: dead letters of one asset in an hour that are still no finding.
    """

    def __init__(self, *, series: int, dead_letters: int) -> None:
        self._series = _rule(SERIES, "More series than an asset may have", series)
        self._dead = _rule(DEAD_LETTERS, "A flood of what cannot be judged", dead_letters)
        self._told: set[tuple[str, str]] = set()
        self._counts: Counter[str] = Counter()
        self._day = self._hour = 0

    def find(self, dead: Sequence[Dead]) -> list[CaseEvent]:
        """What the dead letters of a run tell about their assets."""
        events: list[CaseEvent] = []
        for record, reason, _ in dead:
            if record.key is None or reason is DeadReason.KEY_MISSING:
                continue
            asset = record.key.decode("ascii")
            day, hour = record.timestamp // _DAY, record.timestamp // _HOUR
            if day != self._day:
                self._told.clear()
                self._day = day
            if hour != self._hour:
                self._counts.clear()
                self._hour = hour
            self._counts[asset] += 1
            if reason is DeadReason.SERIES_LIMIT:
                most = int(self._series.params["above"])
                text = f"it names more than {most} metrics and event types; those beyond are set aside"
                self._tell(asset, self._series, text, events)
            if self._counts[asset] > self._dead.params["above"]:
                most = int(self._dead.params["above"])
                text = f"more than {most} of its messages in an hour cannot be judged and are set aside"
                self._tell(asset, self._dead, text, events)
        return events

    def _tell(self, asset: str, rule: Rule, text: str, events: list[CaseEvent]) -> None:
        if (asset, rule.id) in self._told:
            return
        self._told.add((asset, rule.id))
        most = rule.params["above"]
        start = self._day * _DAY
        finding = Finding(metric="", seen=most + 1, expected=most, margin=1.0, unit="", text=text)
        episode = Episode(start=start, phase=Phase.OPEN, since=start, clock=None, finding=finding)
        events.append(make_event(asset, rule, Turn.OPENED, start, episode))


def _rule(name: str, title: str, most: int) -> Rule:
    """A limit in the words of a rule, for the event."""
    return Rule(
        id=name,
        version=1,
        hash=hashlib.sha256(f"{name} {most}".encode()).hexdigest()[:16],
        kind=Kind.SECURITY,
        severity=Severity.MEDIUM,
        title=title,
        target=Target.ASSET,
        select="",
        assets=("*",),
        detector=THRESHOLD,
        params={"above": float(most)},
        hold=0,
        clear=0,
    )
