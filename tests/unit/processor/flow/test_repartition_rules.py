"""Partitions that cannot come under one schedule of rules are refused before anything is changed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from processor.engine import Engine
from processor.errors import StreamError
from processor.flow.repartition import load
from processor.flow.snapshot import VERSION, Snapshot
from processor.flow.state import Known
from processor.flow.survey import Survey
from processor.rules import parse_rules
from processor.settings import load as load_settings
from tests.support.telemetry import beat, rules_text, sent

#: Long ago by the clock of who runs the tests.
START = 1_600_000_000_000
OLD = rules_text("{threshold: {above: 80}}")
OTHER = rules_text("{threshold: {above: 70}}")
BEGUN = "effective: 2020-09-13T12:26:50Z\n" + rules_text("{threshold: {above: 60}}")
PLANNED = "effective: 2100-01-01T00:00:00Z\n" + rules_text("{threshold: {above: 50}}")


def partition(number: int, *texts: str) -> Engine:
    """One that has judged a sample and a heartbeat under each of these files, one after the other."""
    engine = Engine(parse_rules(texts[0]), partition=number, jit=False)
    for step, text in enumerate(texts):
        engine = engine.under(engine.plan(parse_rules(text))[0])
        t = START + step * 60_000
        engine.advance([sent(f"asset-{number}", t, temperature=30), beat(t + 1)])
    return engine


def survey(engines: Mapping[int, Engine], former: int) -> Survey:
    def known(number: int) -> Known:
        if number not in engines:
            return Known(None, 0, 0)
        return Known(Snapshot(VERSION, 0, "", memoryview(engines[number].dump())), 0, 0)

    return Survey(
        former=former, wanted=5, short={}, known={number: known(number) for number in range(former)},
        starts={}, remembers=True,
    )  # fmt: skip


def loaded(directory: Path, file: str, *engines: Engine, former: int | None = None) -> list[list[str]]:
    """Hashes of the rule sets of each partition, under a rules file."""
    (directory / "rules.yaml").write_text(file)
    (directory / "processor.toml").write_text("")
    settings = load_settings(directory / "processor.toml", {})
    _, found = load(settings, survey({each.partition: each for each in engines}, former or len(engines)))
    return [[era.rules.hash for era in engine.schedule.eras] for engine in found]


def test_a_partition_that_does_not_take_the_file_is_named_with_why_and_what_to_do(tmp_path: Path) -> None:
    one, two = partition(0, OLD), partition(1, OLD, BEGUN)
    with pytest.raises(StreamError) as refused:
        loaded(tmp_path, OLD, one, two)
    said = str(refused.value)
    assert said.startswith("nothing was changed: the partitions are under different rules; in partition 1 ")
    assert f"{parse_rules(BEGUN).hash}, in force from 2020-09-13T12:26:50.000Z, stay: the file (" in said
    assert "states no effective time: state an `effective` after that, or put the newer file" in said
    whole = [parse_rules(OLD).hash, parse_rules(BEGUN).hash]
    assert loaded(tmp_path, BEGUN, one, two) == [whole, whole]


def test_a_plan_to_which_partitions_come_by_different_ways_is_refused_with_the_way_out(
    tmp_path: Path,
) -> None:
    ways = partition(0, OLD, PLANNED), partition(1, OTHER, PLANNED)
    with pytest.raises(StreamError) as refused:
        loaded(tmp_path, PLANNED, *ways)
    assert str(refused.value).startswith(
        "nothing was changed: partitions 0 and 1 came by different rule sets"
    )
    assert "take `effective` out of the rules file" in str(refused.value)
    at_once = PLANNED.partition("\n")[2]
    assert [names[-1] for names in loaded(tmp_path, at_once, *ways)] == [parse_rules(at_once).hash] * 2


def test_a_partition_without_a_memory_comes_under_the_rule_sets_of_the_others(tmp_path: Path) -> None:
    planned = [parse_rules(OLD).hash, parse_rules(PLANNED).hash]
    assert loaded(tmp_path, PLANNED, partition(1, OLD, PLANNED), former=3) == [planned] * 3


def test_a_set_that_has_begun_since_the_snapshot_is_not_taken_back(tmp_path: Path) -> None:
    engine = Engine(parse_rules(OLD), partition=0, jit=False)
    engine.advance([sent("asset", START, temperature=1)])
    engine = engine.under(engine.plan(parse_rules(BEGUN))[0])
    assert loaded(tmp_path, OLD, engine) == [[parse_rules(OLD).hash, parse_rules(BEGUN).hash]]


def test_topics_without_anything_come_under_the_rules_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(OLD)
    (tmp_path / "processor.toml").write_text("")
    settings = load_settings(tmp_path / "processor.toml", {})
    # There are to be more partitions than there are: none of them has anything.
    nothing = replace(survey({}, 2), former=5, remembers=False)
    assert [engine.rules.hash for engine in load(settings, nothing)[1]] == [parse_rules(OLD).hash] * 5
