"""Judge a file of telemetry by a rule set, on a clock that runs with its event times."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from processor.codec.instant import LATEST
from processor.engine.partition import Engine
from processor.errors import DeadReason
from processor.limits import Limits
from processor.model import HEARTBEAT, TAIL, CaseEvent, Counts
from processor.rules.ruleset import RuleSet

_SECOND = 1_000
_DAY = 86_400 * _SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONED = Annotated[datetime, Meta(tz=True)]
_ASSET = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class _Line(msgspec.Struct):
    asset: str
    ts: object = None


class _Record(NamedTuple):
    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int
    headers: list[tuple[str, bytes]]


class Trial(NamedTuple):
    """What a rule set would have said: events, counts, and refused lines with their reason."""

    events: list[CaseEvent]
    counts: Counts
    dead: list[tuple[int, DeadReason, str]]


def try_rules(rules: RuleSet, lines: Iterable[bytes], *, jit: bool = True) -> Trial:
    """Judge lines of telemetry, each one message with ``asset`` and ``ts``.

    Time of receipt is event time, in the order of the lines; a heartbeat a second lets timers run. A line
    without a time, or with one that is none, is received with the line before it.
    """
    # What the rules would find is asked, not from when they are in force.
    engine = Engine(replace(rules, effective=None), partition=0, limits=Limits(), jit=jit)
    outcome = engine.advance(list(_records(lines)))
    dead = [(letter.record.offset, letter.reason, letter.detail) for letter in outcome.dead]
    return Trial(outcome.events, outcome.counts, dead)


def _records(lines: Iterable[bytes]) -> Iterator[_Record]:
    now = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            head = msgspec.json.decode(line, type=_Line)
        except (msgspec.MsgspecError, RecursionError):
            yield _Record(b"", line, number, now, [(TAIL, b"telemetry")])
            continue
        key = head.asset.encode() if _ASSET.fullmatch(head.asset) else b""
        moment = _moment(head.ts)
        if moment is not None:
            for beat in _beats(now, moment):
                yield _Record(None, msgspec.json.encode({"ts": beat}), number, beat, [(HEARTBEAT, b"1")])
            now = max(now, moment)
        yield _Record(key, line, number, now, [(TAIL, b"telemetry")])


def _moment(ts: object) -> int | None:
    """Milliseconds since the epoch; None of what is no time, which the engine will say."""
    if isinstance(ts, str):
        try:
            return (msgspec.convert(ts, _ZONED) - _EPOCH) // timedelta(milliseconds=1)
        except (msgspec.ValidationError, ValueError, OverflowError):
            return None
    return ts if isinstance(ts, int) and not isinstance(ts, bool) and 0 <= ts <= LATEST else None


def _beats(now: int, ts: int) -> Iterable[int]:
    """Heartbeats up to `ts`; across more than a day there are none, which the clock holds as a gap."""
    if ts - now > _DAY:
        return [ts]
    return range(now - now % _SECOND + _SECOND, ts + 1, _SECOND)
