"""Memories dealt out to another number of partitions: every asset goes on as if nothing had happened."""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.detect.detector import Detector
from processor.detect.silence import SILENCE
from processor.engine import Engine, Limits
from processor.engine.memory import decode, encode
from processor.engine.repartition import deal
from processor.kafka.partitioner import choose_partition
from processor.model import CaseEvent, Counts
from processor.rules import parse_rules
from tests.support.telemetry import START, Written, beat, event, sent
from tests.unit.processor.engine.test_invariants import LATENESS, RULES

ASSETS = [f"asset-{number}" for number in range(7)]
LIMITS = Limits(lateness=LATENESS)


def stream(seed: int, seconds: int) -> list[Written]:
    """Assets that report each second or fall silent, with repeats, events, and heartbeats with gaps."""
    chance = random.Random(seed)
    records: list[Written] = []
    silent = {asset: chance.randrange(2, 60) for asset in ASSETS}
    for second in range(seconds):
        for asset in ASSETS:
            if chance.random() < 0.3 or second > silent[asset]:
                continue
            t = START + second * 1000 + chance.randrange(-2000, 900, 100)
            names = chance.choice(["ab", "ba", "a", "abc"])
            metrics: dict[str, object] = {name: chance.choice([0, 1, 4, 6, 9]) for name in names}
            if asset in ASSETS[:3] and "a" in metrics:
                metrics["a"] = {"v": metrics["a"], "u": "bar"}
            records.append(sent(asset, t, seq=second, received=START + second * 1000, **metrics))
            if chance.random() < 0.1:
                records.append(event(asset, t, "low"))
            if chance.random() < 0.2:
                records.append(records[chance.randrange(len(records))])
        if chance.random() < 0.9 and second % 17 < 12:
            records.append(beat(START + second * 1000 + 950))
    return records


class Partitions:
    """One engine a partition; a heartbeat goes to each, everything else to its asset's."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = engines
        self.events: list[CaseEvent] = []

    @classmethod
    def fresh(cls, count: int) -> "Partitions":
        return cls([Engine(RULES, partition=number, limits=LIMITS) for number in range(count)])

    def advance(self, records: Sequence[Written], begin: Mapping[int, int] | None = None) -> None:
        """Judge records; a partition in `begin` gets no heartbeat before that place."""
        for number, engine in enumerate(self.engines):
            mine = [
                record
                for place, record in enumerate(records)
                if (
                    place >= (begin or {}).get(number, 0)
                    if record.key is None
                    else choose_partition(record.key, len(self.engines)) == number
                )
            ]
            self.events += engine.advance(mine).events

    def dealt(self, count: int) -> "Partitions":
        memories = [decode(engine.dump(), engine.partition) for engine in self.engines]
        after = Partitions(
            [
                Engine.load(b"".join(encode(memory)), RULES, partition=number, limits=LIMITS)
                for number, memory in enumerate(deal(memories, count, to(count)))
            ]
        )
        after.events = self.events
        return after

    @property
    def counts(self) -> Counts:
        whole = Counts()
        for engine in self.engines:
            assert engine.counts.balanced
            assert engine.rows["held"] == engine.counts.held >= 0
            whole = whole.plus(engine.counts)
        return whole


def to(count: int) -> Callable[[bytes], int]:
    return lambda key: choose_partition(key, count)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    seconds=st.integers(10, 40),
    counts=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    cuts=st.lists(st.floats(0.2, 1), min_size=3, max_size=3),
)
def test_assets_that_change_their_partition_go_on_as_if_they_had_not(
    seed: int, seconds: int, counts: list[int], cuts: list[float]
) -> None:
    records, chance = stream(seed, seconds), random.Random(seed)
    edges = [*sorted(round(cut * len(records)) for cut in cuts[: len(counts) - 1]), len(records)]
    # Clocks that begin to run at different times, but have all seen the last heartbeat before the change.
    beats = [place for place, record in enumerate(records[: edges[0]]) if record.key is None]
    late = {number for number in range(counts[0]) if chance.random() < 0.5}
    begin = {number: beats[int(chance.uniform(0, 0.8) * len(beats))] for number in late if beats}
    undisturbed, changed = Partitions.fresh(counts[0]), Partitions.fresh(counts[0])
    for each in (undisturbed, changed):
        each.advance(records[: edges[0]], begin)
    for count, start, end in zip(counts[1:], edges, edges[1:], strict=False):
        changed = changed.dealt(count)
        # Event times do not tell when something was noticed: heartbeat by heartbeat it must be the same.
        moves = [place + 1 for place in range(start, end) if records[place].key is None]
        for first, last in itertools.pairwise([start, *moves, end]):
            undisturbed.advance(records[first:last])
            changed.advance(records[first:last])
            assert sorted(changed.events) == sorted(undisturbed.events)
    assert changed.counts == undisturbed.counts


def test_there_and_back_every_asset_has_what_it_had() -> None:
    before = Partitions.fresh(3)
    before.advance(stream(5, 30))
    once = before.dealt(5).dealt(3)
    again = once.dealt(5).dealt(3)
    assert [engine.dump() for engine in again.engines] == [engine.dump() for engine in once.engines]
    for old, new in zip(before.engines, once.engines, strict=True):
        assert set(old.index.keys) == set(new.index.keys)
        assert {**old.rows} == {**new.rows}


def test_how_long_an_asset_has_been_silent_moves_with_it_to_another_clock() -> None:
    lone, other = (next(a for a in ASSETS if to(2)(a.encode()) == number) for number in range(2))
    old = Partitions.fresh(2)
    times = range(START, START + 20_000, 1000)
    old.engines[0].advance([sent(lone, START + 16_000, a=3)])
    # The other partition's clock has run for twenty seconds when this one's begins.
    old.engines[1].advance([beat(t) for t in times] + [sent(other, times[-1], a=3)])
    old.engines[0].advance([beat(t) for t in times[-3:]])
    new = old.dealt(1)
    late = [beat(t) for t in range(START + 20_000, START + 40_000, 1000)]
    found = [(e.key.decode(), e.rule) for e in new.engines[0].advance(late).events if ".opened." in e.type]
    assert found == [(lone, "silent"), (other, "silent")]


def opening(engine: Engine, first: int) -> int:
    """The heartbeat, counted in seconds, at which something is opened."""
    for second in range(first, first + 30):
        if any(".opened." in each.type for each in engine.advance([beat(START + 1000 * second)]).events):
            return second
    raise AssertionError("nothing was opened")


def quiet_for(seconds: int, asset: str, engine: Engine) -> None:
    """One sample, and then only heartbeats."""
    engine.advance([beat(START), sent(asset, START, a=3)])
    engine.advance([beat(START + 1000 * second) for second in range(1, seconds)])


def test_an_asset_whose_partition_had_a_gap_waits_from_there_on() -> None:
    lone = next(a for a in ASSETS if to(2)(a.encode()) == 0)
    old, other = Partitions.fresh(2), Partitions.fresh(2)
    for each in (old, other):
        quiet_for(5, lone, each.engines[0])
        each.engines[0].advance([beat(START + 1000 * second) for second in range(18, 21)])
        each.engines[1].advance([beat(START + 1000 * second) for second in range(21)])
    assert opening(old.dealt(1).engines[0], 21) == opening(other.engines[0], 21)


def test_a_partition_that_missed_heartbeats_gives_its_assets_their_whole_time_again() -> None:
    lone = next(a for a in ASSETS if to(2)(a.encode()) == 0)
    old, just = Partitions.fresh(2), Partitions.fresh(2)
    quiet_for(5, lone, old.engines[0])
    just.engines[0].advance([beat(START + 58_000), sent(lone, START + 58_000, a=3), beat(START + 59_000)])
    for each in (old, just):
        each.engines[1].advance([beat(START + 1000 * second) for second in range(60)])
    # As one that was heard of just now.
    assert opening(old.dealt(1).engines[0], 60) == opening(just.dealt(1).engines[0], 60)


def test_memories_of_different_rules_are_not_dealt_out_together() -> None:
    other = parse_rules(
        "rules:\n  - {id: r, kind: case, severity: low, title: t, select: {metric: a},\n"
        "     detect: {threshold: {above: 1}}}"
    )
    memories = [
        decode(Engine(rules, partition=number).dump(), number) for number, rules in enumerate((RULES, other))
    ]
    with pytest.raises(ValueError, match="different rules"):
        next(deal(memories, 3, to(3)))


def test_a_detector_that_keeps_the_clock_elsewhere_is_no_detector() -> None:
    fields = {name: getattr(SILENCE, name) for name in SILENCE.__slots__}
    with pytest.raises(TypeError, match="'seen'"):
        Detector(**(fields | {"state": SILENCE.params}))
