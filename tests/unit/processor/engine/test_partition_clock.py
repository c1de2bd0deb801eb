"""A bridge's clock that was wrong: what it did to the partition's clock is over once it is set right."""

import json
from collections.abc import Sequence

import pytest

from processor.engine import Engine
from processor.model import Outcome
from processor.rules import parse_rules
from tests.support.telemetry import START, Written, payload, rules_text, sent

SILENT = rules_text("{silence: {after: 10s}}", select="{}")
METRIC_SILENT = rules_text("{silence: {after: 10s}}")
HOT = rules_text("{threshold: {above: 80}}", more="for: 5s")
AHEAD = 7200


def engine(text: str) -> Engine:
    return Engine(parse_rules(text), partition=0, jit=False)


def at(second: float) -> int:
    return START + round(second * 1000)


def beat(sent_at: float, received: float | None = None, bridge: str = "bridge") -> Written:
    """A heartbeat that was sent and came back, by the bridge's clock."""
    value = json.dumps({"ts": at(sent_at), "bridge": bridge}).encode()
    return Written(None, value, 0, at(sent_at if received is None else received), [("hb", b"1")])


def beats(seconds: Sequence[int], bridge: str = "bridge") -> list[Written]:
    return [beat(second, bridge=bridge) for second in seconds]


def told(outcome: Outcome) -> list[tuple[str, float]]:
    return [(each.type.split(".")[2], (each.time - START) / 1000) for each in outcome.events]


def ahead(one: Engine) -> None:
    """Five beats at the right time, then three of a clock two hours ahead; a second passes in each."""
    one.advance(beats([*range(5), *range(AHEAD + 5, AHEAD + 8)]))


@pytest.mark.parametrize("restarted", [False, True])
def test_silence_is_found_when_a_clock_that_was_two_hours_ahead_is_set_right(*, restarted: bool) -> None:
    one = engine(SILENT)
    ahead(one)
    if restarted:
        one = Engine.load(one.dump(), parse_rules(SILENT), partition=0, jit=False)
    outcome = one.advance([beat(8), sent("a", at(8), temperature=1), *beats(range(9, 30))])
    assert told(outcome) == [("opened", 18)]
    assert one.clock.at == at(29)


def test_for_is_proven_when_a_clock_that_was_two_hours_ahead_is_set_right() -> None:
    one = engine(HOT)
    ahead(one)
    assert told(one.advance([beat(8), sent("a", at(8), temperature=90), *beats(range(9, 20))])) == [
        ("opened", 13)
    ]


def test_a_clock_that_was_ahead_opens_no_case_of_silence_when_it_jumps_or_is_set_right() -> None:
    one = engine(SILENT)
    one.advance([*beats(range(5)), sent("a", at(4), temperature=1)])
    # Seven seconds of it before the jump, seven while it lasts, and seven after it.
    jumped = [*beats(range(5, 12)), *beats(range(AHEAD + 12, AHEAD + 19)), *beats(range(19, 26))]
    assert told(one.advance(jumped)) == []


def test_a_device_without_a_clock_is_not_silent_while_its_samples_are_late_by_the_bridges_jump() -> None:
    """Its samples have the time of receipt: those of the jump lie two hours ahead."""
    one = engine(METRIC_SILENT)
    ahead(one)
    value = b'{"metrics": {"temperature": 1}}'
    one.advance([payload("a", value, received=at(AHEAD + 8))])
    mended = [
        each for second in range(9, 60) for each in (beat(second), payload("a", value, received=at(second)))
    ]
    assert told(one.advance(mended)) == []
    # Once that time has come it is judged as before, and then it may be silent.
    later = [*beats(range(AHEAD + 8, AHEAD + 12)), payload("a", value, received=at(AHEAD + 12))]
    assert told(one.advance([*later, *beats(range(AHEAD + 13, AHEAD + 40))])) == [("opened", AHEAD + 22)]


def test_heartbeats_that_come_again_after_a_crash_of_the_bridge_do_not_run_the_clock_twice() -> None:
    one = engine(SILENT)
    samples = [sent("a", at(second), temperature=1) for second in range(60)]
    first = [each for second in range(60) for each in (beat(second), samples[second])]
    # Nothing was acknowledged to the broker: all comes again, at once, and then what is new.
    again = [each for second in range(60) for each in (beat(second, 61), samples[second])]
    assert told(one.advance([*first, *again, beat(61), sent("a", at(61), temperature=1)])) == []
    assert one.clock.now == 59_000 + 2_000


def test_of_two_bridges_the_one_that_is_set_right_takes_the_clock_with_it_and_both_run_it() -> None:
    one = engine(SILENT)
    ahead(one)
    one.advance([beat(AHEAD + 8, bridge="other"), sent("a", at(8), temperature=1)])
    both = [each for second in range(9, 40) for each in (beat(second), beat(second, bridge="other"))]
    assert told(one.advance(both)) == [("opened", 18)]
    assert one.clock.at == at(39)


def test_a_second_bridge_whose_clock_is_behind_holds_nothing() -> None:
    one = engine(SILENT)
    one.advance([*beats(range(5)), sent("a", at(4), temperature=1)])
    both = [each for second in range(5, 40) for each in (beat(second), beat(second - 4, bridge="slow"))]
    assert told(one.advance(both)) == [("opened", 14)]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_topic_that_is_read_again_from_its_beginning_does_not_run_the_clock_twice(
    *, restarted: bool
) -> None:
    """It lost its end: the heartbeats of what was judged come again, as they came."""
    one = engine(SILENT)
    records = [each for second in range(60) for each in (beat(second), sent("a", at(second), temperature=1))]
    one.advance(records)
    one.clock.repeat()
    if restarted:
        one = Engine.load(one.dump(), parse_rules(SILENT), partition=0, jit=False)
    assert told(one.advance(records[:80])) == []
    assert one.clock.now == 59_000
    # What is new counts as ever, and so does a clock that is set right later.
    assert told(one.advance(beats([*range(60, 65), *range(30, 65)]))) == [("opened", 69)]


def test_a_bridge_that_was_renamed_holds_the_clock_until_it_is_said_to_be_gone() -> None:
    one = engine(SILENT)
    one.advance([*beats(range(5), "old"), sent("a", at(4), temperature=1)])
    assert told(one.advance(beats(range(5, 60), "new"))) == []
    gone = json.dumps({"ts": at(60), "bridge": "old", "gone": True}).encode()
    said = Written(None, gone, 0, at(60), [("hb", b"1")])
    # The time that it was held does not count.
    assert told(one.advance([said, *beats(range(60, 68), "new")])) == []
    assert told(one.advance(beats(range(68, 75), "new"))) == [("opened", 14)]
