"""Gaps in the numbers that devices give their messages."""

import random
from collections.abc import Sequence

import pytest

from processor.engine import Engine
from processor.model import Notes
from processor.rules import parse_rules
from tests.support.payloads import metric
from tests.support.payloads import payload as sparkplug_payload
from tests.support.telemetry import START, Written, rules_text, sent, unstamped

RULES = parse_rules(rules_text("{threshold: {above: 80}}"))


def engine(*, jit: bool = False) -> Engine:
    return Engine(RULES, partition=0, jit=jit)


def numbered(numbers: Sequence[int], times: Sequence[int] | None = None, asset: str = "a") -> list[Written]:
    moments = range(len(numbers)) if times is None else times
    return [
        sent(asset, START + t * 1000, seq=seq, temperature=1.0)
        for seq, t in zip(numbers, moments, strict=True)
    ]


def told(numbers: Sequence[int], times: Sequence[int] | None = None) -> tuple[int, int, int]:
    notes = engine().advance(numbered(numbers, times)).notes
    return notes.skipped, notes.filled, notes.restarted


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([7, 8, 9], (0, 0, 0)),
        ([7, 9], (1, 0, 0)),
        ([7, 71], (63, 0, 0)),
        ([7, 72], (64, 0, 0)),
        ([0, 1000, 1001, 2000], (1997, 0, 0)),
        ([500, 501, 0, 1, 2], (0, 0, 1)),
        ([254, 255, 0, 1], (0, 0, 1)),
        ([0, 5_000_000, 5_000_001], (0, 0, 1)),
        ([3, 3, 3], (0, 0, 2)),
    ],
)
def test_numbers_left_out_are_counted_and_a_new_beginning_is_no_loss(
    numbers: list[int], expected: tuple[int, int, int]
) -> None:
    assert told(numbers) == expected


def test_what_comes_late_fills_its_gap() -> None:
    assert told([1, 2, 5, 4, 3, 6], [1, 2, 5, 4, 3, 6]) == (2, 2, 0)


def test_what_was_sent_before_the_first_that_came_fills_none() -> None:
    assert told([5, 4, 3, 6], [5, 4, 3, 6]) == (0, 0, 0)


def test_repeats_change_nothing() -> None:
    assert told([1, 2, 4, 2, 4, 3, 3], [1, 2, 4, 2, 4, 3, 3]) == (1, 1, 0)


def test_a_straggler_from_before_a_new_beginning_is_neither_gap_nor_beginning() -> None:
    assert told([5000, 5001, 0, 1, 4999, 2], [0, 1, 2, 3, 0, 4]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1, 2, 3, 2, 3, 4], (0, 0, 0)),
        ([11, 12, 13, 14, 15, 16, 12, 17], (0, 0, 0)),
        ([7, 7, 7, 8], (0, 0, 0)),
        ([1, 2, 5, 4, 4, 3, 6], (2, 2, 0)),
        ([100, 101, 0, 1, 2], (0, 0, 1)),
        ([100, 103, 0, 1, 3], (3, 0, 1)),
    ],
)
@pytest.mark.parametrize("jit", [True, False])
def test_without_times_a_repeat_is_neither_gap_nor_beginning(
    numbers: list[int], expected: tuple[int, int, int], *, jit: bool
) -> None:
    records = [unstamped("a", START + n * 1000, seq=seq, temperature=1) for n, seq in enumerate(numbers)]
    outcome = engine(jit=jit).advance(records)
    notes = outcome.notes
    assert (notes.skipped, notes.filled, notes.restarted) == expected
    assert outcome.counts.judged == len(numbers)


def test_what_is_written_back_without_a_time_is_no_beginning() -> None:
    one = engine()
    one.advance([unstamped("a", START + n, seq=n, temperature=1) for n in range(100, 300)])
    back = [unstamped("a", START + n, seq=n, replay=True, temperature=1) for n in (0, 150, 250, 5000)]
    assert one.advance(back).notes == Notes(evaluations=4)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([254, 255, 0, 1], (0, 0, 0)),
        ([*range(256), *range(256), 0], (0, 0, 0)),
        ([254, 1], (2, 0, 0)),
        ([250, 1, 2, 255], (6, 0, 1)),
        ([200, 0, 1], (0, 0, 1)),
        ([57, 0, 1], (0, 0, 1)),
        ([10, 138], (0, 0, 1)),
    ],
)
@pytest.mark.parametrize("jit", [True, False])
def test_numbers_that_go_round_are_counted_on(
    numbers: list[int], expected: tuple[int, int, int], *, jit: bool
) -> None:
    assert sparkplug(numbers, [START + n for n in range(len(numbers))], jit=jit) == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([254, 255, 0, 1, 0, 255, 2], (0, 0, 0)),
        ([254, 1, 0, 255, 2], (2, 2, 0)),
        ([57, 58, 0, 1, 59], (0, 0, 0)),
        ([200, 0, 1, 0, 2], (0, 0, 1)),
    ],
)
@pytest.mark.parametrize("jit", [True, False])
def test_without_times_numbers_that_go_round_may_be_repeated(
    numbers: list[int], expected: tuple[int, int, int], *, jit: bool
) -> None:
    assert sparkplug(numbers, [None] * len(numbers), jit=jit) == expected


def sparkplug(numbers: Sequence[int], times: Sequence[int | None], *, jit: bool) -> tuple[int, int, int]:
    records = []
    for n, (seq, t) in enumerate(zip(numbers, times, strict=True)):
        value = sparkplug_payload([metric("temperature", double=1.0)], timestamp=t, seq=seq)
        headers = [("t", b"telemetry"), ("ct", b"application/protobuf")]
        records.append(Written(b"a", value, n, START + n, headers))
    notes = engine(jit=jit).advance(records).notes
    return notes.skipped, notes.filled, notes.restarted


def test_assets_count_for_themselves() -> None:
    records = [*numbered([1, 2], [1, 2]), *numbered([50, 51], [1, 2], "b")]
    assert engine().advance(records).notes.skipped == 0


def test_messages_without_a_number_count_nothing() -> None:
    records = [sent("a", START + n * 1000, temperature=1) for n in range(3)]
    assert engine().advance(records).notes == Notes(evaluations=3)


def test_numbering_goes_on_after_a_restart_of_the_worker() -> None:
    first = engine()
    first.advance(numbered([5, 6, 9], [5, 6, 9]))
    second = Engine.load(first.dump(), RULES, partition=0, jit=False)
    # 4 was sent before the first that came: it fills no gap.
    notes = second.advance(numbered([4, 8, 12], [4, 8, 12])).notes
    assert (notes.skipped, notes.filled) == (2, 1)


def test_compiled_and_plain_count_alike_however_the_run_is_cut() -> None:
    chance = random.Random(5)
    numbers, times, seq = [], [], 0
    for n in range(600):
        seq = chance.choice((seq + 1, seq + 1, seq + 1, seq + 2, seq + 70, max(0, seq - 2), 0))
        numbers.append(seq)
        times.append(n - chance.choice((0, 0, 0, 3)))
    records = numbered(numbers, times)
    whole = engine(jit=True).advance(records).notes
    one, parts, at = engine(), Notes(), 0
    while at < len(records):
        size = chance.randrange(1, 40)
        parts = parts.plus(one.advance(records[at : at + size]).notes)
        at += size
    assert parts == whole
    assert min(whole.skipped, whole.filled, whole.restarted) > 0


def test_evaluations_and_transitions_are_counted() -> None:
    records = [sent("a", START + n * 1000, temperature=v) for n, v in enumerate([70, 90, 70])]
    notes = engine().advance(records).notes
    assert (notes.evaluations, notes.transitions) == (3, 2)
