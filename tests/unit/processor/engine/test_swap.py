"""A rule set that takes over at an event time: the same for any cut, any crash, and whenever it is read."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.cases.event import write_time
from processor.engine import Engine, Limits
from processor.model import CaseEvent
from processor.rules import parse_rules
from processor.rules.ruleset import RuleSet
from processor.rules.schedule import GRACE, Schedule
from tests.support.telemetry import START, Written, beat, event, rules_text, sent
from tests.unit.processor.engine.test_invariants import LATENESS, TEXT, cutting, streams

SECOND = 1000
SWAP = START + 12 * SECOND
HOUR = 3600


def effective(text: str, t: int = SWAP) -> RuleSet:
    """A set that states when it is in force."""
    moment = datetime.fromtimestamp(t / 1000, UTC).isoformat(timespec="milliseconds")
    return parse_rules(f"effective: {moment}\n{text}")


OLD = parse_rules(TEXT)
#: One of each: other bounds, gone, another meaning (twice), a longer time, a rule that joins; three stay.
NEW_TEXT = (
    TEXT.replace("for: 3s, clear: 2s", "for: 1s, clear: 3s")
    .replace("{above: 5, hysteresis: 2}", "{above: 3, hysteresis: 1}")
    .replace("{id: quick, kind: case, severity: low, title: t, select: {metric: a}",
             "{id: more, kind: case, severity: low, title: t, select: {metric: b}")
    .replace("{below: 2}", "{above: 6}")
    .replace("{over: 4s}", "{over: 4s, tolerance: 1}")
    .replace("severity: low, title: t, select: {metric: a},\n     detect: {forecast",
             "severity: low, title: t, select: {metric: b},\n     detect: {forecast")
    .replace("silence: {after: 4s}", "silence: {after: 6s}")
)  # fmt: skip
NEW = effective(NEW_TEXT)
STAYING = ("rate", "odd", "says")
#: These have neither `for` nor `clear`, so that a set of samples alone says what they find.
ENDING, BEGINNING = ("quick", "stuck", "empty"), ("more", "stuck", "empty")


@st.composite
def crossing(draw: st.DrawFn) -> list[Written]:
    """A stream that ends when everything of both assets is long past the swap."""
    records = draw(streams())
    for asset, second in itertools.product(("x", "y"), (40, 50)):
        t = START + second * SECOND
        records += [sent(asset, t, received=t, a=3, b=1, c=1), event(asset, t, "low")]
    return records


def is_newer(record: Written) -> bool:
    return record.timestamp >= SWAP


def run(
    records: Sequence[Written], cuts: Collection[int] = (), *, adopt: int = 0, crash: bool = False,
    jit: bool = True, lateness: float = LATENESS,
) -> list[CaseEvent]:  # fmt: skip
    """Judge by the old set, and read the new one before record `adopt`."""
    limits = Limits(lateness=lateness)
    engine = Engine(OLD, partition=0, limits=limits, jit=jit)
    events: list[CaseEvent] = []
    edges = sorted({0, adopt, len(records), *(cut % (len(records) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        if start == adopt:
            schedule, why = engine.plan(NEW)
            assert not why
            engine = engine.under(schedule)
        if crash:
            rules = NEW if start >= adopt else OLD
            engine = Engine.load(engine.dump(), rules, partition=0, limits=limits, jit=jit)
        engine = engine.under(engine.remaining)
        outcome = engine.advance(records[start:end])
        assert outcome.counts.balanced
        events += outcome.events
    return sorted(events)


def brief(events: Sequence[CaseEvent], rules: Collection[str]) -> list[tuple[str, str, int, bytes]]:
    return sorted((e.rule, e.type, e.time, e.key) for e in events if e.rule in rules)


def first_newer(records: Sequence[Written]) -> int:
    return next(at for at, record in enumerate(records) if is_newer(record))


@settings(max_examples=80, deadline=None)
@given(records=crossing(), cuts=cutting, lateness=st.sampled_from([0, 1, LATENESS]))
def test_cutting_the_stream_around_the_swap_changes_nothing(
    records: list[Written], cuts: list[int], lateness: int
) -> None:
    assert run(records, cuts, lateness=lateness) == run(records, lateness=lateness)


@settings(max_examples=60, deadline=None)
@given(records=crossing(), cuts=cutting, when=st.integers(0, 200))
def test_neither_a_crash_nor_the_moment_at_which_the_file_is_read_changes_anything(
    records: list[Written], cuts: list[int], when: int
) -> None:
    adopt = when % (first_newer(records) + 1)
    assert run(records, cuts, adopt=adopt, crash=True) == run(records, cuts)


@settings(max_examples=60, deadline=None)
@given(records=crossing(), saved=st.integers(0, 200), crashed=st.integers(0, 200))
def test_what_is_judged_again_after_a_crash_makes_the_same_events(
    records: list[Written], saved: int, crashed: int
) -> None:
    limits = Limits(lateness=LATENESS)
    saved, crashed = sorted(place % (len(records) + 1) for place in (saved, crashed))
    engine = Engine(OLD, partition=0, limits=limits)
    engine = engine.under(engine.plan(NEW)[0])
    events = set(engine.advance(records[:saved]).events)
    dump = engine.dump()
    events |= set(engine.advance(records[saved:crashed]).events)
    events |= set(Engine.load(dump, NEW, partition=0, limits=limits).advance(records[saved:]).events)
    assert sorted(events) == run(records)


def test_a_set_whose_time_may_have_come_since_the_snapshot_is_not_taken_back() -> None:
    engine = Engine(OLD, partition=0, jit=False)
    dump = engine.under(engine.plan(NEW)[0]).dump()
    later = replace(NEW, hash="later", effective=SWAP + 1)

    def eras(begun: int) -> list[tuple[str, int]]:
        loaded = Engine.load(dump, later, partition=0, jit=False, begun=begun)
        return [(era.rules.hash, era.start) for era in loaded.schedule.eras[1:]]

    assert eras(SWAP - 1) == [("later", SWAP + 1)]
    assert eras(SWAP) == [(NEW.hash, SWAP), ("later", SWAP + 1)]


@settings(max_examples=60, deadline=None)
@given(records=crossing(), lateness=st.sampled_from([0, LATENESS]))
def test_rules_that_stay_as_they_were_tell_what_they_tell_without_the_swap(
    records: list[Written], lateness: int
) -> None:
    alone = Engine(OLD, partition=0, limits=Limits(lateness=lateness)).advance(records).events
    assert brief(run(records, lateness=lateness), STAYING) == brief(alone, STAYING)


@settings(max_examples=80, deadline=None)
@given(records=crossing())
def test_rules_that_end_and_begin_tell_what_two_engines_tell_of_the_samples_before_and_after(
    records: list[Written],
) -> None:
    # On which side what has no time of its own is judged, only the one engine knows.
    records = [r for r in records if r.key is None or b'"ts"' in (r.value or b"")]
    before = Engine(OLD, partition=0).advance([r for r in records if r.key is None or not is_newer(r)])
    after = Engine(parse_rules(NEW_TEXT), partition=0)
    events = brief(before.events, ENDING)
    for rule, asset in itertools.product(ENDING, (b"x", b"y")):
        turns = [kind for name, kind, _, key in events if (name, key) == (rule, asset)]
        if len(turns) % 2:
            events.append((rule, turns[0].replace("opened", "closed"), SWAP, asset))
    events += brief(after.advance([r for r in records if is_newer(r)]).events, BEGINNING)
    assert brief(run(records, lateness=0), {*ENDING, *BEGINNING}) == sorted(events)


@settings(max_examples=30, deadline=None)
@given(records=crossing(), cuts=cutting)
def test_compiled_and_plain_engines_tell_the_same_of_a_swap(records: list[Written], cuts: list[int]) -> None:
    assert run(records, cuts) == run(records, cuts, jit=False)


def at(second: float) -> int:
    return START + round(second * SECOND)


def told(events: Sequence[CaseEvent]) -> list[tuple[str, str, float]]:
    return [(e.key.decode(), e.type.split(".")[2], (e.time - START) / 1000) for e in events]


def swap(old: str, new: str, t: float = 12) -> Engine:
    engine = Engine(parse_rules(old), partition=0, jit=False)
    return engine.under(engine.plan(effective(new, at(t)))[0])


def hot(above: int, more: str = "", **select: str) -> str:
    return rules_text(f"{{threshold: {{above: {above}}}}}", more=more, **select)


def test_an_asset_that_lags_is_judged_by_the_old_set_while_another_is_judged_by_the_new() -> None:
    engine = swap(hot(80), hot(60))
    records = [sent("a", at(13), temperature=70), sent("b", at(11), temperature=70)]
    records += [sent("b", at(12), temperature=70)]
    assert told(engine.advance(records).events) == [("a", "opened", 13), ("b", "opened", 12)]


def test_an_open_case_lives_on_under_another_bound_and_ends_by_it() -> None:
    engine = swap(hot(80), hot(60))
    values = {10: 85, 11: 85, 12: 70, 13: 65, 14: 50}
    events = engine.advance([sent("a", at(t), temperature=v) for t, v in values.items()]).events
    assert told(events) == [("a", "opened", 10), ("a", "closed", 14)]


def test_a_rule_of_another_kind_closes_the_case_that_it_opened_and_begins_anew() -> None:
    engine = swap(hot(80), hot(80).replace("kind: case", "kind: opportunity"))
    events = engine.advance(
        [sent("a", at(t), temperature=v) for t, v in {10: 85, 13: 85, 14: 50}.items()]
    ).events
    assert {(e.type, e.time) for e in events} == {
        ("assetgate.case.opened.v1", at(10)),
        ("assetgate.case.closed.v1", at(12)),
        ("assetgate.opportunity.opened.v1", at(13)),
        ("assetgate.opportunity.closed.v1", at(14)),
    }


def test_how_long_a_condition_must_hold_is_said_by_the_set_in_which_it_began() -> None:
    engine = swap(hot(80, "for: 5s"), hot(80, "for: 1s"))
    records = [sent("a", at(t), temperature=85) for t in (10, 13, 15)]
    records += [sent("b", at(t), temperature=85) for t in (12, 13)]
    assert told(engine.advance(records).events) == [("b", "opened", 13), ("a", "opened", 15)]


def test_a_quiet_asset_is_in_the_new_set_an_hour_after_it_by_the_partitions_clock() -> None:
    engine = swap(hot(80), hot(80, select="{metric: pressure}"))
    beats = [beat(at(second)) for second in range(10, 14 + HOUR)]
    assert told(engine.advance([sent("a", at(9), temperature=90), *beats[: HOUR + 1]]).events) == [
        ("a", "opened", 9)
    ]
    assert engine.remaining is engine.schedule
    assert told(engine.advance(beats[HOUR + 1 :]).events) == [("a", "closed", 12)]
    assert [era.start for era in engine.remaining.eras] == [SWAP]


@pytest.mark.parametrize(
    ("seconds", "turns"),
    [
        ((10, 20), []),  # nothing that the old set judged proves that it held
        ((5, 11, 20), [("a", "opened", 10), ("a", "closed", 12)]),
        ((7, 11, 20), []),  # it would have been due at 12, which is the new set's
    ],
)
def test_what_was_pending_opens_only_if_the_old_set_has_seen_it_hold(
    seconds: tuple[int, ...], turns: list[tuple[str, str, float]]
) -> None:
    engine = swap(hot(80, "for: 5s"), hot(80, select="{metric: pressure}"))
    assert told(engine.advance([sent("a", at(t), temperature=85) for t in seconds]).events) == turns


def test_the_clock_opens_nothing_by_a_rule_that_has_ended() -> None:
    engine = swap(hot(80, "for: 5s"), hot(80, select="{metric: pressure}"))
    records = [sent("a", at(10), temperature=85), *(beat(at(s)) for s in range(10, 30))]
    assert told(engine.advance(records).events) == []


def test_a_longer_silence_takes_back_what_the_shorter_one_found() -> None:
    engine = swap(
        rules_text("{silence: {after: 5s}}", select="{}"), rules_text("{silence: {after: 20s}}", select="{}")
    )
    events = engine.advance([sent("a", at(5), temperature=1), *(beat(at(s)) for s in range(5, 30))]).events
    assert told(events) == [("a", "opened", 10), ("a", "closed", 12), ("a", "opened", 25)]


@pytest.mark.parametrize(
    ("rule", "select", "turns"),
    [
        ("{silence: {after: 5s}}", "{}", [("a", "opened", 36)]),
        ("{event: {quiet: 5s}}", "{event: low}", [("a", "opened", 31), ("a", "closed", 31)]),
    ],
)
def test_what_the_clock_finds_out_before_a_rule_begins_is_told_when_it_has_begun(
    rule: str, select: str, turns: list[tuple[str, str, float]]
) -> None:
    engine = swap(hot(80), rules_text(rule, select=select), 30)
    ahead = [event("a", at(31), "low")._replace(timestamp=at(5))]
    records = [beat(at(5)), *ahead, *(beat(at(s)) for s in range(6, 40))]
    assert told(engine.advance(records).events) == turns


def test_an_asset_has_room_for_as_many_series_when_no_rule_looks_at_the_whole_of_it_any_more() -> None:
    silent = parse_rules(rules_text("{silence: {after: 5s}}", select="{}"))
    engine = Engine(silent, partition=0, limits=Limits(series=2))
    engine = engine.under(engine.plan(effective(hot(80)))[0])
    engine.advance([sent("a", at(11), temperature=1), *(beat(at(s)) for s in range(11, 14 + HOUR))])
    assert len(engine.remaining.eras) == 1
    outcome = engine.under(engine.remaining).advance([sent("a", at(14 + HOUR), pressure=1)])
    assert (outcome.counts.judged, outcome.dead) == (1, [])


def test_a_rule_that_comes_to_look_at_more_assets_keeps_what_it_knows_of_the_first_ones() -> None:
    some = "{metric: temperature, assets: [a]}"
    engine = swap(hot(80, select=some), hot(80))
    records = [sent(key, at(t), temperature=85) for t in (10, 13, 14) for key in ("a", "b")]
    assert told(engine.advance(records).events) == [("a", "opened", 10), ("b", "opened", 13)]
    engine = swap(hot(80), hot(80, select=some))
    assert sorted(told(engine.advance(records).events)) == [
        ("a", "opened", 10), ("b", "closed", 12), ("b", "opened", 10)
    ]  # fmt: skip


def test_before_a_stated_time_a_partition_without_a_past_has_no_rules() -> None:
    engine = Engine(effective(hot(80)), partition=0, jit=False)
    events = engine.advance([sent("a", at(t), temperature=85) for t in (10, 11, 12, 13)]).events
    assert told(events) == [("a", "opened", 12)]


def test_what_has_begun_stays_and_what_has_not_is_as_the_file_says() -> None:
    first, second, third = (parse_rules(hot(80)), effective(hot(60)), effective(hot(50), at(14)))
    begun = Schedule.begin(first).adopt(second, at(11), at(11))[0]
    assert [era.rules for era in begun.eras] == [first, second]
    assert [era.rules for era in begun.adopt(third, at(11), at(11))[0].eras] == [first, third]
    assert [era.rules for era in begun.adopt(third, at(12), at(12))[0].eras] == [first, second, third]
    assert [era.rules for era in begun.adopt(first, at(11), at(11))[0].eras] == [first]


@pytest.mark.parametrize("older", [parse_rules(hot(80)), effective(hot(50), at(3))])
def test_a_file_older_than_what_has_begun_is_left_alone(older: RuleSet) -> None:
    begun = Schedule.begin(parse_rules(hot(80))).adopt(effective(hot(60)), at(1), at(1))[0]
    schedule, why = begun.adopt(older, at(12), at(12))
    assert schedule is begun
    assert "put the newer file in its place" in why


def test_more_sets_than_a_row_has_bits_for_are_refused() -> None:
    schedule = Schedule.begin(parse_rules(hot(80)))
    for number in range(1, 8):
        schedule, why = schedule.adopt(effective(hot(number), at(number)), at(100), at(100))
        assert not why
    same, why = schedule.adopt(effective(hot(9), at(200)), at(100), at(100))
    assert same is schedule
    assert schedule.full
    assert "one more than 8 sets" in why
    # When the first of them is forgotten: an hour after the second began.
    assert write_time(at(1) + GRACE)[:19] in why
    room = schedule.since(at(1))
    assert room.adopt(effective(hot(9), at(200)), at(100), at(100))[1] == ""
    assert GRACE == HOUR * SECOND
