from typing import cast

import pytest

from processor.cases.excess import Excess
from processor.engine.partition import Engine
from processor.flow.partition import Partition, Verdict
from processor.run import Row, Run


def run(first: int, last: int) -> Run:
    return Run.of([Row(b"a", b"1", offset, 0, ()) for offset in range(first, last + 1)])


def admit(partition: Partition, new: Run) -> tuple[Verdict, list[int]]:
    """The verdict, and the first and last offset of what is to be judged."""
    verdict, judged = partition.admit(new)
    return verdict, [] if judged is None else [judged[0].offset, judged[-1].offset]


@pytest.fixture
def partition() -> Partition:
    return Partition(cast("Engine", None), cast("Excess", None), position=100, saved=100)


def test_the_next_records_are_judged(partition: Partition) -> None:
    assert admit(partition, run(100, 109)) == (Verdict.JUDGE, [100, 109])
    partition.advance(run(100, 109), 1.0)
    assert partition.position == 110


def test_of_a_run_that_repeats_only_what_is_new_is_judged(partition: Partition) -> None:
    assert admit(partition, run(90, 104)) == (Verdict.JUDGE, [100, 104])
    assert admit(partition, run(90, 99)) == (Verdict.DROP, [])


def test_a_run_that_skips_is_fetched_again_and_what_was_queued_behind_it_dropped(
    partition: Partition,
) -> None:
    assert partition.admit(run(120, 129))[0] is Verdict.REWIND
    assert partition.admit(run(130, 139))[0] is Verdict.DROP
    assert admit(partition, run(100, 149)) == (Verdict.JUDGE, [100, 149])


def test_what_a_topic_that_was_made_anew_holds_is_judged_once_and_in_order(partition: Partition) -> None:
    partition.admit(run(120, 129))
    for first in (0, 10):
        new = run(first, first + 9)
        assert partition.admit(new, lambda: 40)[0] is (Verdict.JUDGE if first else Verdict.CUT)
        partition.advance(new, 1.0)
    assert partition.position == 20
    assert admit(partition, run(0, 19)) == (Verdict.DROP, [])
    assert admit(partition, run(10, 29)) == (Verdict.JUDGE, [20, 29])


@pytest.mark.parametrize("end", [None, 90, 100, 110])
def test_what_repeats_is_no_sign_of_a_topic_that_lost_its_end(partition: Partition, end: int | None) -> None:
    assert partition.admit(run(85, 95), lambda: end)[0] is Verdict.DROP


def test_a_hole_that_is_still_there_after_fetching_again_is_lost(partition: Partition) -> None:
    partition.admit(run(120, 129))
    assert admit(partition, run(120, 139)) == (Verdict.LOST, [120, 139])


def test_the_age_of_what_is_not_saved_is_that_of_its_first_record(partition: Partition) -> None:
    partition.advance(run(100, 109), 5.0)
    partition.advance(run(110, 119), 7.0)
    assert partition.dirty_since == partition.uncommitted_since == 5.0
