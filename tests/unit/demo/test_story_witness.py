import json

import pytest

from deploy.demo.page.board import Board
from deploy.demo.topics import Record
from deploy.demo.witness import CASES, DEAD, TELEMETRY, TOKENS, Witness, quantity

START = 1_795_265_000_000


class Now:
    def __init__(self) -> None:
        self.seconds = START / 1000

    def __call__(self) -> float:
        return self.seconds


def witness(now: Now) -> Witness:
    board = Board(names={}, limits=(), meanings={}, now=lambda: 0)
    return Witness(board, devices={}, detectors={"supply-low": "event"}, now=now, on_case=lambda _entry: None)


def record(
    topic: str, value: object, *, headers: tuple[tuple[str, bytes], ...] = (("t", b"telemetry"),)
) -> Record:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record(topic, 0, 0, START, b"A1", raw, headers)


def sample(after: float, seq: int, **metrics: object) -> Record:
    return record(TELEMETRY, {"ts": START + round(after * 1000), "seq": seq, "metrics": metrics})


def case(time: str, *, rule: str = "overheating", evidence: tuple[int, ...] = ()) -> Record:
    data = {
        "caseId": "c1",
        "assetId": "A1",
        "rule": {"id": rule, "version": 1, "hash": "ab"},
        "severity": "high",
        "seen": 81.8,
        "expected": 80.0,
        "unit": "°C",
        "metric": "supply_low" if rule == "supply-low" else "temperature",
        "window": {"from": time, "to": time},
        "evidence": [{"metric": "temperature", "ts": START + at, "v": 1.0} for at in evidence],
    }
    event = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/assetgate/processor",
        "type": "assetgate.case.opened.v1",
        "subject": "A1",
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
    }
    return record(CASES, event)


def test_the_time_a_case_took_counts_from_the_newest_sample_at_or_before_its_event_time() -> None:
    now = Now()
    seen = witness(now)
    for number, after in enumerate((0.0, 1.0, 2.0, 3.0)):
        seen.handle(sample(after, number + 1, temperature=85.0))
    now.seconds += 2.4
    seen.handle(case("2026-11-21T12:43:22.300Z", evidence=(0, 1000)))
    (entry,) = seen.book.cases.values()
    assert seen.took(entry) == pytest.approx(0.4)


def test_gaps_show_as_missing_sequence_numbers_and_heartbeats_are_no_telemetry() -> None:
    seen = witness(Now())
    seen.handle(sample(0, 1, temperature=70.0))
    seen.handle(sample(1, 3, temperature={"v": 71, "u": "°C"}))
    seen.handle(record(TELEMETRY, {"ts": 1, "bridge": "b"}, headers=(("hb", b"1"),)))
    assert seen.sequences == {"A1": {1, 3}}
    assert (seen.telemetry["A1"], seen.heartbeats, seen.unsequenced) == (2, 1, 0)


@pytest.mark.parametrize("garbage", [b"", b"{", b"[1, null]", b'"text"', b'{"metrics": 3}', b"\xff\xfe"])
def test_garbage_from_a_device_does_not_trip_the_witness(garbage: bytes) -> None:
    seen = witness(Now())
    seen.handle(record(TELEMETRY, garbage))
    assert seen.telemetry["A1"] == 1
    assert seen.metrics == {}


def test_dead_letters_and_token_events_are_kept_with_reason_and_key() -> None:
    seen = witness(Now())
    seen.handle(record(DEAD, b"{", headers=(("reason", b"malformed"),)))
    seen.handle(record(TOKENS, {"DeviceId": "d1"}))
    assert seen.dead == [("A1", "malformed")]
    assert (seen.token_keys, seen.tokens) == ([b"A1"], [{"DeviceId": "d1"}])


def test_what_a_device_reported_itself_is_told_in_words() -> None:
    seen = witness(Now())
    seen.handle(case("2026-11-21T12:43:20.000Z", rule="supply-low"))
    (entry,) = seen.book.cases.values()
    assert seen.seen(entry) == ("supply_low reported", "not reported")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (81.83, "°C", "81.83 °C"),
        (7.0, "d", "7 d"),
        (0.0155, "d", "22 min"),
        (0.25, "d", "6.0 h"),
        (5.0, None, "5"),
    ],
)
def test_quantities_read_as_people_write_them(value: float, unit: str | None, text: str) -> None:
    assert quantity(value, unit) == text
