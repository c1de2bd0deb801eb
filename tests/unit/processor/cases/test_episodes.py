"""The state machine of one condition, as a timeline in seconds."""

import json
from typing import Any

import pytest

from processor.cases.casebook import Casebook, Condition
from processor.cases.episode import Episode, Phase, Turn
from processor.cases.event import case_id, make_event, write_time
from processor.cases.finding import Evidence, Finding
from processor.model import CaseEvent
from processor.rules import parse_rules
from processor.rules.schedule import Schedule
from tests.support.telemetry import rules_text

FOUND = Finding(
    "temperature", 91.0, 80.0, 11.0, "Cel", "91 is above 80", (Evidence("temperature", 1000, 91.0),)
)
AT = Condition(0, 0)


class Timeline:
    """One condition under a rule with `for` and `clear`; the clock moves only when it is said."""

    def __init__(self, hold: int = 0, clear: int = 0, lateness: int = 0) -> None:
        text = rules_text("{threshold: {above: 80}}", more=f"for: {hold}s\n    clear: {clear}s")
        self.book = Casebook(
            Schedule.begin(parse_rules(text)), lateness * 1000, lambda _: "press-7", lambda _: 0
        )

    def rise(self, t: int, previous: int = 0) -> list[tuple[str, int]]:
        return told(self.book.rise(AT, t=t * 1000, previous=previous * 1000, find=lambda: FOUND))

    def fall(self, t: int, previous: int = 0) -> list[tuple[str, int]]:
        return told(self.book.fall(AT, t=t * 1000, previous=previous * 1000))

    def settle(self, newest: int = 0, clock: int | None = None) -> list[tuple[str, int]]:
        """`clock` is where the partition's clock has just moved to."""
        moved = None if clock is None else clock * 1000
        return told(self.book.settle(moved, lambda _: newest * 1000))


def told(events: list[CaseEvent]) -> list[tuple[str, int]]:
    return [(event.type.split(".")[2], event.time // 1000) for event in events]


def test_without_patience_it_opens_and_closes_at_once() -> None:
    line = Timeline()
    assert line.rise(10) == [("opened", 10)]
    assert line.rise(11) == []
    assert line.fall(20) == [("closed", 20)]
    assert len(line.book) == 0


def test_it_opens_when_a_sample_proves_that_the_condition_held() -> None:
    line = Timeline(hold=5)
    assert line.rise(10) == []
    assert line.settle(newest=14) == []
    assert line.settle(newest=15) == [("opened", 15)]
    assert line.settle(newest=16) == []


def test_it_opens_when_the_clock_proves_it_and_waits_for_late_samples() -> None:
    line = Timeline(hold=5, lateness=2)
    line.rise(10)
    assert line.settle(newest=10, clock=100) == []
    assert line.settle(newest=10, clock=106) == []
    assert line.settle(newest=10, clock=107) == [("opened", 15)]


def test_the_clock_counts_from_its_next_move_because_the_last_one_lies_before_the_sample() -> None:
    line = Timeline(hold=5, clear=5)
    line.settle(clock=100)
    line.rise(10)
    assert line.settle(newest=10, clock=101) == []
    assert line.settle(newest=10, clock=105) == []
    assert line.settle(newest=10, clock=106) == [("opened", 15)]
    line.fall(20)
    assert line.settle(newest=20, clock=110) == []
    assert line.settle(newest=20, clock=114) == []
    assert line.settle(newest=20, clock=115) == [("closed", 25)]


def test_a_condition_that_ends_before_its_time_was_nothing() -> None:
    line = Timeline(hold=5)
    line.rise(10)
    assert line.fall(14, previous=13) == []
    assert len(line.book) == 0


def test_a_run_that_holds_both_ends_tells_both_in_order() -> None:
    line = Timeline(hold=5)
    line.rise(10)
    assert line.fall(20, previous=19) == [("opened", 15), ("closed", 20)]


def test_nothing_is_proven_between_two_samples_far_apart() -> None:
    line = Timeline(hold=5)
    line.rise(10)
    assert line.fall(100, previous=10) == []


def test_it_closes_only_when_the_condition_has_been_over_long_enough() -> None:
    line = Timeline(clear=5)
    line.rise(10)
    assert line.fall(20) == []
    assert line.rise(24, previous=23) == []
    assert line.fall(30) == []
    assert line.settle(newest=34) == []
    assert line.settle(newest=35) == [("closed", 35)]


def test_after_a_proven_end_a_new_rise_is_a_new_episode() -> None:
    line = Timeline(clear=5)
    line.rise(10)
    line.fall(20)
    assert line.rise(40, previous=39) == [("closed", 25), ("opened", 40)]


def test_a_fall_without_an_episode_is_nothing() -> None:
    assert Timeline().fall(10) == []


def event(turn: Turn = Turn.OPENED, t: int = 15_000) -> tuple[CaseEvent, dict[str, Any]]:
    rule = parse_rules(rules_text("{threshold: {above: 80}}")).rules[0]
    made = make_event("press-7", rule, turn, t, Episode(10_000, Phase.OPEN, 10_000, 0, FOUND))
    return made, json.loads(made.value)


def test_an_event_tells_what_was_seen_and_expected_by_which_rule() -> None:
    made, value = event()
    assert made.key == b"press-7"
    assert (value["id"], value["type"]) == (made.id, "assetgate.case.opened.v1")
    assert (value["subject"], value["time"]) == ("press-7", "1970-01-01T00:00:15.000Z")
    data = value["data"]
    assert (data["seen"], data["expected"], data["margin"], data["unit"]) == (91.0, 80.0, 11.0, "Cel")
    assert data["window"] == {"from": "1970-01-01T00:00:10.000Z", "to": "1970-01-01T00:00:15.000Z"}
    assert data["evidence"] == [{"metric": "temperature", "ts": 1000, "v": 91.0}]
    assert data["caseId"] == str(case_id("press-7", "r", 10_000))


def test_an_event_is_the_same_to_the_byte_whenever_it_is_made() -> None:
    assert event()[0] == event()[0]


def test_opened_and_closed_share_the_case_and_differ_in_id() -> None:
    opened, closed = event(), event(Turn.CLOSED, 20_000)
    assert opened[1]["data"]["caseId"] == closed[1]["data"]["caseId"]
    assert opened[0].id != closed[0].id


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
        (2**62, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_written_in_utc_to_the_millisecond(milliseconds: int, text: str) -> None:
    assert write_time(milliseconds) == text
