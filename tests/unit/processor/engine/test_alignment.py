"""Partitions that took new rules at different times, or by different ways, come under one schedule."""

from dataclasses import replace

import pytest

from processor.engine import Engine
from processor.engine.alignment import align
from processor.engine.memory import Memory, encode
from processor.engine.repartition import deal
from processor.rules import parse_rules
from processor.rules.ruleset import RuleSet
from processor.rules.schedule import GRACE
from tests.support.telemetry import START, beat, rules_text, sent

COLD = parse_rules(rules_text("{threshold: {above: 80}}"))
WARM = parse_rules(rules_text("{threshold: {above: 50}}"))
HOT = parse_rules(rules_text("{threshold: {above: 20}}"))
LATER = parse_rules(
    "effective: 2100-01-01T00:00:00Z\n" + rules_text("{threshold: {above: 20}}", more="version: 2")
)


def partition(number: int, *sets: RuleSet, since: int = 0) -> Engine:
    """One that has judged a hot sample under each of these rule sets, one after the other."""
    engine = Engine(sets[0], partition=number, jit=False)
    for step, rules in enumerate(sets):
        engine = engine.under(engine.plan(rules)[0])
        t = START + since + step * 60_000
        engine.advance([sent(f"asset-{number}", t, temperature=30)])
    return engine


def names(memory: Memory) -> list[tuple[int, str]]:
    return [(era.start, era.hash) for era in memory.eras]


def load(memory: Memory, rules: RuleSet) -> Engine:
    return Engine.load(b"".join(encode(memory)), rules, partition=memory.partition, jit=False)


def test_a_set_that_began_at_different_times_begins_at_the_latest() -> None:
    engines = [partition(0, COLD, HOT), partition(1, COLD, HOT, since=500)]
    first, second = align(engines)
    starts = [engine.schedule.eras[-1].start for engine in engines]
    assert starts[0] != starts[1]
    assert names(first) == names(second) == [(-1, COLD.hash), (max(starts), HOT.hash)]
    (whole,) = deal([first, second], 1, lambda _key: 0)
    loaded = load(whole, HOT)
    # Both are known to be too hot under the newer set: nothing is opened twice, and both can close.
    closed = loaded.advance([sent(f"asset-{n}", START + 120_000, temperature=3) for n in (0, 1)]).events
    assert {(event.key, event.type.split(".")[2]) for event in closed} == {
        (b"asset-0", "closed"), (b"asset-1", "closed")
    }  # fmt: skip


def test_a_case_that_was_opened_before_the_common_start_stays_open() -> None:
    other = parse_rules(rules_text("{threshold: {above: 80}}", select="{metric: pressure}"))
    first, second = partition(0, other, HOT), partition(1, other, HOT, since=120_000)
    (whole,) = deal(align([first, second]), 1, lambda _key: 0)
    loaded = load(whole, HOT)
    assert loaded.advance([sent("asset-0", START + 200_000, temperature=30)]).events == []
    (closed,) = loaded.advance([sent("asset-0", START + 201_000, temperature=3)]).events
    assert (closed.type.split(".")[2], closed.time) == ("closed", START + 201_000)


def test_a_partition_that_has_forgotten_the_old_set_has_it_back() -> None:
    old, new = partition(0, COLD, HOT), partition(1, COLD, HOT)
    forgetful = new.under(new.schedule.since(START + 2 * GRACE))
    assert len(forgetful.schedule.eras) == 1
    first, second = align([old, forgetful])
    assert names(first) == names(second) == [(-1, COLD.hash), (old.schedule.eras[1].start, HOT.hash)]
    assert set(load(second, HOT).index.keys) == {b"asset-1"}


def test_where_partitions_came_by_different_ways_only_the_newest_set_is_left() -> None:
    first, second = align([partition(0, COLD, HOT), partition(1, WARM, HOT)])
    assert names(first) == names(second)
    assert [each for _, each in names(first)] == [HOT.hash]
    closed = load(first, HOT).advance([sent("asset-0", START + 120_000, temperature=3)]).events
    assert [event.type.split(".")[2] for event in closed] == ["closed"]


def test_partitions_whose_newest_sets_differ_or_have_not_begun_are_refused() -> None:
    with pytest.raises(ValueError, match="under different rules"):
        align([partition(0, COLD), partition(1, HOT)])
    with pytest.raises(ValueError, match="take `effective` out of the rules file") as refused:
        align([partition(0, COLD, LATER), partition(1, WARM, LATER)])
    assert "partitions 0 and 1" in str(refused.value)
    assert f"{LATER.hash}, which begins at 2100-01-01T00:00:00.000Z" in str(refused.value)


def test_without_its_time_the_planned_set_begins_at_once_and_they_are_taken() -> None:
    at_once = replace(LATER, effective=None)
    engines = []
    for number, before in enumerate((COLD, WARM)):
        engine = partition(number, before, LATER)
        # The clock is the newest that there is: nothing lies behind the moment at which the set begins.
        engine.advance([beat(START + 600_000)])
        engines.append(engine.under(engine.plan(at_once)[0]))
    assert {tuple(name for _, name in names(memory)) for memory in align(engines)} == {(LATER.hash,)}


def test_a_partition_that_remembers_nothing_is_in_nobodys_way() -> None:
    engines = [partition(0, COLD, HOT), partition(1, WARM, HOT)]
    nothing = Engine(engines[1].schedule, partition=2, jit=False)
    memories = align([*engines, nothing])
    assert [[name for _, name in names(memory)] for memory in memories] == [[HOT.hash]] * 3
