from typing import NamedTuple, cast

import pytest

from processor.cases.excess import Excess
from processor.engine.partition import Engine
from processor.flow.partition import Partition, Verdict


class Record(NamedTuple):
    offset: int
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def run(first: int, last: int) -> list[Record]:
    return [Record(offset) for offset in range(first, last + 1)]


@pytest.fixture
def partition() -> Partition:
    return Partition(cast("Engine", None), cast("Excess", None), position=100, saved=100)


def test_the_next_records_are_judged(partition: Partition) -> None:
    assert partition.admit(run(100, 109)) == (Verdict.JUDGE, run(100, 109))
    partition.advance(run(100, 109), 1.0)
    assert partition.position == 110


def test_of_a_run_that_repeats_only_what_is_new_is_judged(partition: Partition) -> None:
    assert partition.admit(run(90, 104)) == (Verdict.JUDGE, run(100, 104))
    assert partition.admit(run(90, 99)) == (Verdict.DROP, ())


def test_a_run_that_skips_is_fetched_again_and_what_was_queued_behind_it_dropped(
    partition: Partition,
) -> None:
    assert partition.admit(run(120, 129))[0] is Verdict.REWIND
    assert partition.admit(run(130, 139))[0] is Verdict.DROP
    assert partition.admit(run(100, 149)) == (Verdict.JUDGE, run(100, 149))


def test_a_hole_that_is_still_there_after_fetching_again_is_lost(partition: Partition) -> None:
    partition.admit(run(120, 129))
    assert partition.admit(run(120, 139)) == (Verdict.LOST, run(120, 139))


def test_the_age_of_what_is_not_saved_is_that_of_its_first_record(partition: Partition) -> None:
    partition.advance(run(100, 109), 5.0)
    partition.advance(run(110, 119), 7.0)
    assert partition.dirty_since == partition.uncommitted_since == 5.0
