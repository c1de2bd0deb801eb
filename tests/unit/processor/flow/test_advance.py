"""A fault of the engine in a run: what came before it stays told, what comes after it is judged."""

import itertools
from collections.abc import Callable, Sequence

import pytest

from processor.codec.reading import Reading
from processor.engine import Engine, Limits
from processor.errors import DeadReason
from processor.flow.advance import advance
from processor.model import CaseEvent, Outcome
from processor.rules import parse_rules
from tests.support.telemetry import START, Written, beat, payload, rules_text, sent, unstamped

RULES = parse_rules(
    rules_text("{threshold: {above: 80}}")
    + rules_text("{silence: {after: 3s}}", select="{}").replace("rules:\n", "").replace("id: r", "id: s")
)
BAD = b'{"metrics":{"cursed":1}}'


def at(second: int) -> int:
    return START + second * 1000


def cursed(lateness: float = 0) -> Engine:
    """An engine with a fault: one payload breaks it."""
    one = Engine(RULES, partition=0, limits=Limits(lateness=lateness), jit=False)
    read = one._codec.read  # noqa: SLF001 - a fault cannot be asked for

    def faulty(tail: bytes, value: bytes | None, *more: object) -> tuple[Reading, ...]:
        if value == BAD:
            raise ArithmeticError("cursed")
        return read(tail, value, *more)  # type: ignore[arg-type] # passed on as they are

    setattr(one._codec, "read", faulty)  # noqa: B010, SLF001 - as above
    return one


def stream(*, bad: bool) -> list[Written]:
    records = [beat(at(0)), beat(at(1))]
    records += [unstamped("a", at(1), temperature=v) for v in (90, 70, 90)]
    records += [sent("b", at(1), temperature=90), payload("c", b"garbage")]
    records += [beat(at(n)) for n in range(2, 7)] + [Written(None, b"", 0, at(6), [])]
    records += [sent("b", at(6), temperature=70)]
    records += [payload("a", BAD, received=at(6))] if bad else []
    records += [unstamped("a", at(6), temperature=v) for v in (70, 90)] + [beat(at(7))]
    return records


def told(events: Sequence[CaseEvent]) -> list[str]:
    return sorted(event.id for event in events)


@pytest.mark.parametrize("lateness", [0, 2])
def test_a_fault_after_heartbeats_costs_its_own_record_alone(lateness: float) -> None:
    faults: list[int] = []
    failing, well = cursed(lateness), cursed(lateness)
    outcome = advance(failing, stream(bad=True), lambda: faults.append(1))
    expected = well.advance(stream(bad=False))
    assert told(outcome.events) == told(expected.events)
    assert len(outcome.events) > 5
    assert [one.reason for one in outcome.dead] == [
        DeadReason.MALFORMED,
        DeadReason.KEY_MISSING,
        DeadReason.INTERNAL,
    ]
    assert outcome.counts == expected.counts._replace(
        received=expected.counts.received + 1, dead=expected.counts.dead + 1
    )
    assert outcome.counts.balanced
    assert faults == [1]
    assert failing.rows == well.rows


def test_a_fault_while_a_heartbeat_is_judged_loses_no_event_made_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = cursed()
    settle: Callable[..., list[CaseEvent]] = one.casebook.settle
    turns = itertools.count()

    def faulty(*arguments: object) -> list[CaseEvent]:
        if next(turns) == 3:
            raise ArithmeticError("cursed")
        return settle(*arguments)

    monkeypatch.setattr(one.casebook, "settle", faulty)
    outcome: Outcome = advance(one, stream(bad=False), lambda: None)
    assert told(outcome.events) == told(cursed().advance(stream(bad=False)).events)
