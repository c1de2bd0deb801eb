"""What arrived on Kafka: the story's witness of every topic, which also feeds the status page."""

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime

from deploy.demo.casebook import CaseBook, Entry, milliseconds
from deploy.demo.page.board import Board, Case, StreamCounts
from deploy.demo.topics import Record

TELEMETRY = "asset.telemetry.v1"
TOKENS = "asset.tokens.v1"
CASES = "asset.cases.v1"
DEAD = "asset.telemetry.dead.v1"
TOPICS = (TOKENS, TELEMETRY, CASES, DEAD)

#: Header of a control record of the bridge, which is no telemetry.
_HEARTBEAT = "hb"
_TAIL = "t"
#: The detector whose findings read otherwise than a number against a bound.
_EVENT = "event"
#: Event times kept of an asset: longer back than any case takes to arrive.
_TIMES = 120


class Witness:
    """Takes every record of `TOPICS`, once, and keeps what the story is judged by.

    Args:
        board: the status page's memory.
        devices: asset id → name.
        detectors: rule id → what looks at the samples.
        now: seconds since the epoch.
        on_case: called with each newly opened case.
    """

    def __init__(
        self,
        board: Board,
        *,
        devices: Mapping[str, str],
        detectors: Mapping[str, str],
        now: Callable[[], float],
        on_case: Callable[[Entry], None],
    ) -> None:
        self.book = CaseBook()
        self.tokens: list[dict[str, object]] = []
        self.token_keys: list[bytes | None] = []
        self.telemetry: Counter[str] = Counter()
        self.newest: dict[str, int] = {}
        self.sequences: dict[str, set[int]] = {}
        self.metrics: dict[str, set[str]] = {}
        self.unsequenced = 0
        self._times: dict[str, deque[int]] = {}
        self.dead: list[tuple[str, str]] = []
        self.heartbeats = 0
        self._samples = 0
        self._board = board
        self._devices = devices
        self._detectors = detectors
        self._now = now
        self._on_case = on_case

    def handle(self, record: Record) -> None:
        """Take one record."""
        if record.topic == TELEMETRY:
            self._take_telemetry(record)
        elif record.topic == CASES:
            self._take_case(record)
        elif record.topic == TOKENS:
            self.tokens.append(json.loads(record.value or b"null"))
            self.token_keys.append(record.key)
        elif record.topic == DEAD:
            headers = dict(record.headers)
            self.dead.append((_text(record.key), _text(headers.get("reason"))))
        self._board.stream = StreamCounts(samples=self._samples, dead=len(self.dead))

    def _take_telemetry(self, record: Record) -> None:
        headers = dict(record.headers)
        if _HEARTBEAT in headers:
            self.heartbeats += 1
            return
        asset = _text(record.key)
        self.telemetry[asset] += 1
        if not _text(headers.get(_TAIL)).startswith("telemetry"):
            return
        # A page must not trip over what a device sends: what cannot be read is the worker's to refuse.
        for message in messages(record):
            time = message.get("ts", record.timestamp)
            if not isinstance(time, int):
                continue
            if isinstance(sequence := message.get("seq"), int):
                self.sequences.setdefault(asset, set()).add(sequence)
            else:
                self.unsequenced += 1  # a device of ours numbers every message
            self.newest[asset] = max(time, self.newest.get(asset, time))
            self._times.setdefault(asset, deque(maxlen=_TIMES)).append(time)
            for metric, value, unit in samples(message):
                self._samples += 1
                self.metrics.setdefault(asset, set()).add(metric)
                self._board.sample(asset, metric, time, value, unit)

    def _take_case(self, record: Record) -> None:
        known = len(self.book.cases)
        entry = self.book.add(record, self._now())
        if entry is None:
            return
        self._board.case(self.shown(entry))
        if len(self.book.cases) > known:
            self._on_case(entry)

    def seen(self, entry: Entry) -> tuple[str, str]:
        """What was seen and what was expected, as a person writes it."""
        data = entry.opened.data
        if self._detectors.get(data.rule.id) == _EVENT:
            return f"{data.metric} reported", "not reported"
        return quantity(data.seen, data.unit), quantity(data.expected, data.unit)

    def took(self, entry: Entry) -> float:
        """Seconds from the publish of the newest sample that the case stands on to the case's arrival here.

        That is the newest at or before the case's event time: the one that decided, or, where time alone
        decided (silence, or a condition that held), the last one before.
        """
        event = entry.opened
        until = milliseconds(event.time)
        times = [time for item in event.data.evidence if isinstance(time := item.get("ts"), int)]
        times += (time for time in self._times.get(entry.asset, ()) if time <= until)
        return entry.arrived - max(times, default=until) / 1000

    def shown(self, entry: Entry) -> Case:
        """The case as the page tells it."""
        data = entry.opened.data
        closed = entry.closed()
        seen, expected = self.seen(entry)
        return Case(
            id=data.caseId,
            kind=entry.kind,
            title=data.title or data.rule.id,
            detail=data.detail,
            asset=entry.asset,
            device=self._devices.get(entry.asset, ""),
            metric=data.metric,
            severity=data.severity,
            seen=seen,
            expected=expected,
            rule=data.rule.id,
            version=str(data.rule.version),
            since=milliseconds(data.window.from_),
            opened=milliseconds(entry.opened.time),
            closed=milliseconds(closed.time) if closed else None,
            evidence=tuple(evidence(item) for item in data.evidence),
            took=self.took(entry),
        )


def messages(record: Record) -> list[dict[str, object]]:
    """The messages in one telemetry record; empty for garbage."""
    try:
        body = json.loads(record.value or b"")
    except ValueError:
        return []
    return [each for each in (body if isinstance(body, list) else [body]) if isinstance(each, dict)]


def samples(message: Mapping[str, object]) -> list[tuple[str, float, str]]:
    """``(metric, value, unit)`` of every sample that a page can draw."""
    metrics = message.get("metrics")
    found = []
    for metric, given in metrics.items() if isinstance(metrics, dict) else ():
        value = given.get("v") if isinstance(given, dict) else given
        unit = given.get("u", "") if isinstance(given, dict) else ""
        if isinstance(value, int | float):
            found.append((metric, float(value), str(unit)))
    return found


def quantity(value: float | str | None, unit: str | None) -> str:
    """A value with its unit as a person writes it."""
    if value is None:
        return "nothing"
    if unit == "d" and isinstance(value, float) and value < 1:
        return f"{value * 24:.1f} h" if value * 24 >= 1 else f"{value * 24 * 60:.0f} min"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{text} {unit or ''}".strip()


def evidence(item: Mapping[str, object]) -> str:
    """One piece of evidence on one line."""
    time = item.get("ts")
    when = f"{datetime.fromtimestamp(time / 1000):%H:%M:%S}  " if isinstance(time, int) else ""  # noqa: DTZ006 - for a person here
    return when + " ".join(
        f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in item.items()
        if name != "ts"
    )


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")
