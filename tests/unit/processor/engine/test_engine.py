"""One partition from records to events, as plain Python; test_invariants compares it with the compiled.

Long, because all that a record may lead to is read beside the one engine that it goes through.
"""

import json
import struct
import time
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest

from processor.detect.detector import Target
from processor.engine import Engine, Limits
from processor.engine.index import Index
from processor.engine.order import ASSET, POOL
from processor.errors import DeadReason, StreamError
from processor.model import Outcome
from processor.rules import parse_rules
from processor.rules.schedule import Schedule
from tests.support.telemetry import START, Written, beat, event, payload, rules_text, sent

HOT = rules_text("{threshold: {above: 80, hysteresis: 5}}", more="for: 3s\n    clear: 3s")
SILENT = rules_text("{silence: {after: 10s}}", select="{}")


def engine(text: str = HOT, **limits: Any) -> Engine:  # noqa: ANN401 - bounds of several types
    return Engine(parse_rules(text), partition=0, limits=Limits(**limits), jit=False)


def at(second: float) -> int:
    return START + round(second * 1000)


def told(outcome: Outcome) -> list[tuple[str, str, float]]:
    return [(e.key.decode(), e.type.split(".")[2], (e.time - START) / 1000) for e in outcome.events]


def evidence(outcome: Outcome) -> list[tuple[float, float]]:
    """Seconds since `START`, and values."""
    data = json.loads(outcome.events[0].value)["data"]
    return [((each["ts"] - START) / 1000, each["v"]) for each in data["evidence"]]


def beats(first: int, last: int, bridge: str = "bridge") -> list[Written]:
    return [beat(at(second), bridge) for second in range(first, last + 1)]


def together(*parts: Sequence[Written]) -> list[Written]:
    return sorted(
        (record for part in parts for record in part),
        key=lambda record: (record.timestamp, record.key is None),
    )


def test_a_value_that_stays_above_opens_one_case_and_closes_it_once() -> None:
    heat = [70, 85, 86, 79, 84, 85, 70, 71, 72, 73, 74]
    outcome = engine().advance([sent("a", at(n), temperature=v) for n, v in enumerate(heat)])
    assert told(outcome) == [("a", "opened", 4), ("a", "closed", 9)]
    data = json.loads(outcome.events[0].value)["data"]
    assert (data["seen"], data["expected"], data["margin"]) == (85, 80, 5)
    assert [each["v"] for each in data["evidence"]] == [70, 85]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_event_about_the_largest_numbers_there_are_still_holds_numbers() -> None:
    one = engine(rules_text("{threshold: {above: -1.7e+308}}"))
    outcome = one.advance([sent("a", at(n), temperature=v) for n, v in enumerate([-1.75e308, 1.7e308])])
    data = json.loads(outcome.events[0].value)["data"]
    assert data["margin"] == pytest.approx(1.797e308, rel=0.01)


def test_a_header_without_a_value_is_a_dead_letter() -> None:
    record = payload("a", b'{"metrics":{"temperature":1}}')._replace(headers=cast("Any", [("t", None)]))
    outcome = engine().advance([record, sent("a", at(0), temperature=1)])
    assert [(one.record, one.reason) for one in outcome.dead] == [(record, DeadReason.TOPIC_INVALID)]
    assert (outcome.counts.judged, outcome.counts.dead) == (1, 1)


def test_a_run_that_a_fault_broke_off_leaves_nothing_behind_for_the_next() -> None:
    one = engine()
    broken = payload("a", b"{}")._replace(headers=cast("Any", None))
    with pytest.raises(TypeError):
        one.advance([sent("a", at(0), temperature=1), broken])
    counts = one.advance([sent("a", at(0), temperature=1)]).counts
    assert (counts.received, counts.judged) == (1, 1)


def test_the_unit_a_device_sends_is_the_unit_of_the_finding() -> None:
    records = [sent("a", at(n), temperature={"v": 90 + n, "u": "Cel"}) for n in range(6)]
    assert json.loads(engine().advance(records).events[0].value)["data"]["unit"] == "Cel"


def test_evidence_reaches_back_into_earlier_runs() -> None:
    one = engine()
    for n, v in enumerate([1, 2, 3, 4, 5, 85, 86, 87]):
        one.advance([sent("a", at(n), temperature=v)])
    outcome = one.advance([sent("a", at(8), temperature=88)])
    assert evidence(outcome) == [(2, 3), (3, 4), (4, 5), (5, 85)]


@pytest.mark.parametrize("jit", [False, True])
def test_evidence_reaches_back_over_seven_weeks_and_ends_at_a_longer_gap(*, jit: bool) -> None:
    week = 7 * 86_400
    for gap, values in ((7 * week, [1, 2, 3, 85]), (8 * week, [2, 3, 85])):
        times = [0, *(gap + n for n in range(6))]
        one = Engine(parse_rules(HOT), partition=0, jit=jit)
        for n, v in zip(times, [1, 2, 3, 85, 86, 87, 88], strict=True):
            outcome = one.advance([sent("a", at(n), temperature=v)])
        assert evidence(outcome) == list(zip(times[4 - len(values) : 4], values, strict=True))


@pytest.mark.parametrize("far", range(1, 5))
def test_evidence_is_the_same_whether_a_long_gap_lies_within_a_run_or_between_two(far: int) -> None:
    samples = [(n + 50 * 86_400 * (n >= far), v) for n, v in enumerate([1, 2, 3, 4, 85])]
    records = [sent("a", at(n), temperature=v) for n, v in samples]
    for cut in range(5):
        one = engine(rules_text("{threshold: {above: 80}}"))
        one.advance(records[:cut])
        assert evidence(one.advance(records[cut:])) == samples[far:]


def test_repeats_are_duplicates_older_ones_late_and_other_values_conflicts() -> None:
    records = [
        sent("a", at(1), temperature=1),
        sent("a", at(3), temperature=3),
        sent("a", at(3), temperature=3),
        sent("a", at(3), temperature=4),
        sent("a", at(2), temperature=2),
    ]
    counts = engine().advance(records).counts
    assert (counts.received, counts.judged, counts.duplicate, counts.conflict, counts.late) == (5, 2, 1, 1, 1)


def test_a_repeated_sequence_number_tells_a_duplicate_from_a_late_sample() -> None:
    records = [sent("a", at(n), seq=n, temperature=n) for n in (1, 2, 4, 1, 3)]
    counts = engine().advance(records).counts
    assert (counts.judged, counts.duplicate, counts.late) == (3, 1, 1)


def test_a_device_that_counts_anew_is_not_a_repeat() -> None:
    records = [sent("a", at(n), seq=seq, temperature=1) for n, seq in enumerate([500, 501, 0, 1, 2])]
    counts = engine().advance([*records, sent("a", at(1), seq=777, temperature=1)]).counts
    assert (counts.judged, counts.duplicate, counts.late) == (5, 0, 1)


def test_samples_wait_for_older_ones_and_are_judged_in_event_time() -> None:
    one = engine(lateness=5)
    first = one.advance([sent("a", at(n), temperature=85) for n in (2, 1, 3, 4, 0)])
    assert (first.counts.judged, first.counts.held) == (0, 5)
    second = one.advance([sent("a", at(9), temperature=70)])
    assert told(second) == [("a", "opened", 3)]
    assert (second.counts.judged, second.counts.held, one.counts.held) == (5, -4, 1)
    assert one.counts.balanced


def test_what_waits_is_judged_when_the_clock_has_run_for_the_lateness() -> None:
    one = engine(lateness=5)
    one.advance(together([sent("a", at(n), temperature=85) for n in range(5)], beats(0, 8)))
    assert one.counts.held == 1
    one.advance(beats(9, 9))
    assert one.counts.held == 0
    assert one.counts.balanced


def test_a_beat_right_after_a_sample_does_not_end_its_wait() -> None:
    one = engine(lateness=0.5)
    one.advance([beat(at(0)), beat(at(1))])
    one.advance([sent("a", at(1.9), temperature=70), beat(at(2))])
    outcome = one.advance([sent("a", at(1.6), temperature=70)])
    assert (outcome.counts.late, one.rows["held"]) == (0, 2)


def test_a_case_is_never_opened_before_its_own_event_time() -> None:
    one = engine()
    told_at = []
    for n in range(16):
        records = [sent("a", at(0.9), temperature=90)] if n == 1 else []
        outcome = one.advance([*records, beat(at(n))])
        told_at += [(n, (e.time - START) / 1000) for e in outcome.events]
    assert told_at == [(4, 3.9)]


def test_the_reorder_buffer_of_an_asset_is_bounded() -> None:
    one = engine(lateness=3600, held=4)
    one.advance([sent("a", at(n), temperature=1) for n in range(10)])
    assert (one.counts.held, one.counts.judged) == (4, 6)


def test_a_lone_device_that_falls_silent_is_found_once_at_the_time_its_time_was_up() -> None:
    records = together([sent("a", at(n), temperature=1) for n in range(5)], beats(0, 40))
    outcome = engine(SILENT).advance(records)
    assert told(outcome) == [("a", "opened", 14)]
    assert json.loads(outcome.events[0].value)["data"]["evidence"][0]["metric"] == "temperature"


def test_a_device_whose_clock_stands_at_1970_is_found_silent_as_well() -> None:
    one = engine(SILENT)
    zero = [sent("a", 0, received=at(n), temperature=n) for n in range(5)]
    outcome = one.advance(together(beats(0, 30), zero))
    assert [(each.key, each.time) for each in outcome.events] == [(b"a", 10_000)]
    back = one.advance([sent("a", 0, received=at(31), temperature=1), beat(at(31)), beat(at(32))])
    assert len(back.events) == 1


def test_a_silent_device_that_comes_back_closes_its_case() -> None:
    records = together([sent("a", at(n), temperature=1) for n in (0, 30, 31)], beats(0, 32))
    assert told(engine(SILENT).advance(records)) == [("a", "opened", 10), ("a", "closed", 30)]


def test_most_of_a_fleet_falling_silent_while_the_bridge_is_well_is_found() -> None:
    fleet = [sent(f"a{n}", at(s), temperature=1) for s in range(30) for n in range(10) if n >= 8 or s < 5]
    outcome = engine(SILENT).advance(together(fleet, beats(0, 30)))
    assert {key for key, _, _ in told(outcome)} == {f"a{n}" for n in range(8)}


@pytest.mark.parametrize("hours", [0.01, 1, 48])
def test_an_outage_of_the_road_opens_no_silence_case(hours: float) -> None:
    back = round(hours * 3600) + 5
    before = together([sent("a", at(n), temperature=1) for n in range(5)], beats(0, 5))
    # The bridge is back at once, the device only nine seconds later.
    after = together(beats(back, back + 30), [sent("a", at(back + n), temperature=1) for n in range(9, 30)])
    one = engine(SILENT)
    assert told(one.advance(before)) == []
    assert told(one.advance(after)) == []


def test_a_slow_consumer_that_reads_an_hour_at_once_finds_no_silence() -> None:
    records = together([sent("a", at(n), temperature=1) for n in range(3600)], beats(0, 3600))
    assert told(engine(SILENT).advance(records)) == []


def test_one_of_two_bridges_being_down_holds_the_clock() -> None:
    both = together(
        beats(0, 5, "one"), beats(0, 5, "two"), [sent("a", at(n), temperature=1) for n in range(5)]
    )
    one = engine(SILENT)
    assert told(one.advance([*both, *beats(6, 600, "one")])) == []
    assert told(one.advance(together(beats(601, 630, "one"), beats(601, 630, "two")))) == [
        ("a", "opened", 14)
    ]


def test_a_device_event_opens_one_case_however_often_it_is_repeated() -> None:
    text = rules_text("{event: {quiet: 10s}}", select="{event: supply_low}")
    records = together(
        [event("a", at(n), "supply_low") for n in (1, 2, 5)], [event("a", at(3), "other")], beats(0, 30)
    )
    assert told(engine(text).advance(records)) == [("a", "opened", 1), ("a", "closed", 15)]


def test_what_cannot_be_judged_is_handed_back_with_its_reason_and_the_rest_is_judged() -> None:
    no_tail = Written(b"a", b"{}", 0, START, [])
    records = [
        sent("a", at(0), temperature=1),
        payload("a", b"garbage"),
        payload("bad key!", b"{}"),
        payload("a", b"{}", tail=b"commands"),
        no_tail,
        Written(None, b"x", 0, START, []),
        Written(None, b"x", 0, START, [("hb", b"1")]),
        sent("a", at(3600), received=at(1), temperature=1),
        sent("a", at(1), temperature=1),
    ]
    outcome = engine().advance(records)
    assert [dead.reason for dead in outcome.dead] == [
        DeadReason.MALFORMED,
        DeadReason.KEY_MISSING,
        DeadReason.TOPIC_INVALID,
        DeadReason.TOPIC_INVALID,
        DeadReason.KEY_MISSING,
        DeadReason.MALFORMED,
        DeadReason.CLOCK_AHEAD,
    ]
    assert outcome.dead[3].record is no_tail
    assert (outcome.counts.judged, outcome.counts.dead, outcome.counts.balanced) == (2, 7, True)


def test_garbage_makes_no_asset() -> None:
    one = engine()
    one.advance([payload(f"a{n}", b"garbage") for n in range(100)])
    assert one.rows["asset"] == 0


def test_an_asset_that_invents_metrics_meets_its_own_limit_and_no_other_asset_does() -> None:
    one = engine(series=5)
    records = [sent("a", at(n), **{f"m{n}": 1, "temperature": 1}) for n in range(10)]
    outcome = one.advance([*records, sent("b", at(1), temperature=1)])
    assert {dead.reason for dead in outcome.dead} == {DeadReason.SERIES_LIMIT}
    assert one.rows["series"] == 6
    assert (outcome.counts.received, outcome.counts.judged, outcome.counts.dead) == (21, 15, 6)


def test_unknown_metrics_are_set_aside_when_the_setting_says_so() -> None:
    outcome = engine(unknown_metrics="dead").advance([sent("a", at(0), temperature=1, other=2)])
    assert (outcome.counts.judged, outcome.counts.dead) == (1, 1)
    assert outcome.dead[0].reason is DeadReason.UNKNOWN_METRIC


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"series": 3}, DeadReason.SERIES_LIMIT), ({"unknown_metrics": "dead"}, DeadReason.UNKNOWN_METRIC)],
)
def test_a_record_of_many_messages_is_one_dead_letter_a_reason(
    limits: dict[str, Any], reason: DeadReason
) -> None:
    messages = [{"ts": at(n), "metrics": {"temperature": n, f"m{n}": 1, f"n{n}": 1}} for n in range(100)]
    one = engine(**limits)
    outcome = one.advance([payload("a", json.dumps(messages).encode(), received=at(100))])
    assert [dead.reason for dead in outcome.dead] == [reason]
    assert outcome.dead[0].detail.startswith(str(outcome.counts.dead))
    assert outcome.counts.balanced
    assert outcome.counts.dead >= 198
    # The next record has its own sum.
    counts = one.advance([sent("a", at(200), o=1, temperature=1)]).counts
    assert (counts.judged, counts.dead) == (1, 1)


def test_a_rule_of_some_assets_leaves_the_others_alone() -> None:
    text = rules_text("{threshold: {above: 80}}", select="{metric: temperature, assets: ['press-*']}")
    outcome = engine(text).advance([sent(key, at(0), temperature=90) for key in ("press-1", "pump-1")])
    assert told(outcome) == [("press-1", "opened", 0)]


def test_state_survives_a_change_of_the_rules_where_rule_and_detector_stay() -> None:
    before = engine(HOT)
    before.advance([sent("a", at(n), temperature=85) for n in range(5)])
    dump = before.dump()
    higher = parse_rules(HOT.replace("hysteresis: 5", "hysteresis: 9") + SILENT[7:].replace("id: r", "id: s"))
    after = Engine.load(dump, higher, partition=0, jit=False)
    assert told(after.advance([sent("a", at(n), temperature=70) for n in range(5, 10)])) == [
        ("a", "closed", 8)
    ]
    renamed = parse_rules(HOT.replace("id: r", "id: other"))
    # The case of a rule that is gone is closed when the new rules begin: here, after the newest sample.
    fresh = Engine.load(dump, renamed, partition=0, jit=False)
    assert told(fresh.advance([sent("a", at(n), temperature=70) for n in range(5, 10)])) == [
        ("a", "closed", 4.001)
    ]
    other = Engine.load(dump, parse_rules(rules_text("{stuck: {over: 1h}}")), partition=0, jit=False)
    assert told(other.advance([sent("a", at(5), temperature=85)])) == [("a", "closed", 4.001)]
    assert other.rows["episode"] == 0


def test_a_dump_of_another_partition_or_format_is_refused() -> None:
    one = engine()
    with pytest.raises(StreamError, match="partition 0, not of 1"):
        Engine.load(one.dump(), one.rules, partition=1, jit=False)
    with pytest.raises(StreamError, match=r"partition 0 is damaged \(not a dump"):
        Engine.load(b"garbage", one.rules, partition=0, jit=False)
    newer = one.dump().replace(b"\xa7version\x08", b"\xa7version\x09", 1)
    with pytest.raises(StreamError, match="format 9, this version reads 8"):
        Engine.load(newer, one.rules, partition=0, jit=False)


@pytest.mark.parametrize(
    "change",
    [
        {"samples": b"odd"},
        {"shape": []},
        {"shape": b"\1\0\0\0"},
        {"lengths": b"\2"},
        {"evidence": 0},
        {"eras": []},
        {"clock": {}},
        {"counts": [1] * 9},
    ],
)
def test_a_damaged_dump_is_refused_with_what_to_do(change: dict[str, object]) -> None:
    one = engine()
    one.advance([sent("a", at(n), temperature=90) for n in range(5)])
    damaged = msgspec.msgpack.encode(msgspec.msgpack.decode(one.dump()) | change)
    with pytest.raises(StreamError, match=r"partition 0 is damaged.*write a tombstone"):
        Engine.load(damaged, one.rules, partition=0, jit=False)


def lie(rows: bytes, place: int, number: int) -> bytes:
    """Columns of numbers of 32 bits of which one is another."""
    return rows[: 4 * place] + struct.pack("<i", number) + rows[4 * place + 4 :]


#: Numbers of 32 bits before an asset's `head`, of which `held`, `whole`, `begin` and `width` follow.
HEAD = ASSET.fields["head"][1] // 4  # type: ignore[index] # it has fields


@pytest.mark.parametrize(
    ("column", "place", "number", "why"),
    [
        ("assets", HEAD, 7, "samples wait"),
        ("assets", HEAD + 1, 1, "samples wait"),
        ("assets", HEAD + 2, 10**6, "a series that there is not"),
        ("assets", HEAD + 3, 10**6, "shapes beyond the series"),
        ("assets", HEAD + 3, -7, "shapes beyond the series"),
        ("assets", HEAD + 4, 10**6, "not of their asset's shape"),
        ("blocks", 0, 10**6, "a block of no series"),
        ("blocks", 1, 10**6, "a block of no asset"),
        ("blocks", 2, 10**6, "a block of no name"),
        ("pool", POOL.fields["series"][1] // 4, -2, "samples that wait for no"),  # type: ignore[index] # as above
        ("pool", POOL.fields["asset"][1] // 4, 10**6, "samples that wait for no"),  # type: ignore[index] # as above
    ],
)
def test_a_dump_that_names_rows_that_there_are_not_is_refused(
    column: str, place: int, number: int, why: str
) -> None:
    one = engine(lateness=60)
    one.advance([sent("a", at(n), temperature=90) for n in range(5)])
    whole = msgspec.msgpack.decode(one.dump())
    whole[column] = lie(whole[column], place, number)
    with pytest.raises(StreamError, match=rf"partition 0 is damaged \(.*{why}"):
        Engine.load(msgspec.msgpack.encode(whole), one.rules, partition=0, jit=False)


@pytest.mark.parametrize(
    ("part", "column", "value", "why"),
    [
        ("layouts", "rule", b"\x4d", "a rule that there is not"),
        ("layouts", "rule", b"", "not as many rows"),
        ("layouts", "counts", b"\x60\xea", "not as many rows"),
        ("banks", "flags", b"", "not as many states"),
        ("banks", "rows", b"", "not as many states"),
    ],
)
def test_a_dump_whose_rows_of_rules_do_not_fit_their_series_is_refused(
    part: str, column: str, value: bytes, why: str
) -> None:
    one = engine()
    one.advance([sent("a", at(n), temperature=90) for n in range(5)])
    whole = msgspec.msgpack.decode(one.dump())
    whole[part][0][column] = value
    with pytest.raises(StreamError, match=rf"partition 0 is damaged \({why}"):
        Engine.load(msgspec.msgpack.encode(whole), one.rules, partition=0, jit=False)


def test_the_size_of_its_memory_can_be_told() -> None:
    one = engine()
    one.advance([sent("a", at(0), temperature=1)])
    assert one.rows == {"asset": 1, "series": 1, "threshold": 1, "episode": 0, "held": 0}
    assert one.nbytes > 0


def test_a_metric_at_the_end_of_a_long_message_is_found_as_soon_as_one_at_its_beginning() -> None:
    names = tuple(f"m{n}" for n in range(4096))
    index = Index(Schedule.begin(parse_rules(HOT)), jit=False, evidence=1)
    index.add_shape(index.add_asset(b"a"), names)

    def cost(place: int) -> float:
        begin = time.process_time()
        assert {index.find(0, Target.METRIC, names[place], 0) for _ in range(1000)} == {place}
        return time.process_time() - begin

    first, last = (min(cost(place) for _ in range(3)) for place in (0, 4095))
    assert last < 5 * first
