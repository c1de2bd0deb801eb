"""What is fetched as runs is what aiokafka gives record by record: filter, positions and all."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.flow.fetching import FetchedBatches, FetchedPartition, FetchedRuns
from tests.support.batches import CODECS, Sent, fields, make_batch, make_legacy, make_marker, seal

TP = TopicPartition("asset.telemetry.v1", 3)


class OneByOne:
    """aiokafka's batches, each alone in its buffer: where several lie there it reads old messages wrongly."""

    def __init__(self, data: bytes) -> None:
        self._batches, at = [], 0
        while at + 12 <= len(data) and (end := at + 12 + int.from_bytes(data[at + 8 : at + 12])) <= len(data):
            self._batches.append(data[at:end])
            at = end

    def has_next(self) -> bool:
        return bool(self._batches)

    def next_batch(self) -> object:
        return MemoryRecords(self._batches.pop(0)).next_batch()


def stock(data: bytes, *, position: int, aborted: Sequence[tuple[int, int]], level: int) -> Any:  # noqa: ANN401 - aiokafka's
    args = (TP, OneByOne(data), list(aborted), position, None, None)
    return fetcher.PartitionRecords(*args, check_crcs=True, isolation_level=level)


def fetched(
    data: bytes, *, position: int = 0, aborted: Sequence[tuple[int, int]] = (), level: int = 0
) -> Any:  # noqa: ANN401 - of aiokafka's kind
    args = (TP, FetchedBatches(data), list(aborted), position, None, None)
    return FetchedRuns(*args, check_crcs=True, isolation_level=level)


def records(base: int, count: int) -> list[Sent]:
    return [
        Sent(n, 1_000 + base + n, b"k%d" % (base + n), b"v%d" % (base + n), [("t", b"telemetry")])
        for n in range(count)
    ]


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]], int]:
    """A part of a log: its batches, its aborted transactions, and the offset behind it."""
    data, aborted, offset, open_at = b"", list[tuple[int, int]](), draw(st.integers(0, 50)), dict[int, int]()
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["plain", "plain", "transaction", "marker", "legacy", "empty"]))
        count = draw(st.integers(1, 6))
        gap = draw(st.integers(0, 3))
        producer = draw(st.integers(1, 2))
        codec = draw(st.sampled_from(list(CODECS)))
        sent = records(offset, count)
        if kind == "plain":
            appended = draw(st.none() | st.integers(0, 2**40))
            kept = [each for each in sent if draw(st.booleans())] or sent[:1]
            data += make_batch(kept, base=offset, codec=codec, appended=appended, last=count - 1 + gap)
        elif kind == "transaction":
            open_at.setdefault(producer, offset)
            data += make_batch(sent, base=offset, codec=codec, producer=producer, transactional=True)
            gap = 0
        elif kind == "marker":
            began, abort, count, gap = open_at.pop(producer, None), draw(st.booleans()), 1, 0
            data += make_marker(offset, producer, abort=abort)
            if abort and began is not None:
                aborted.append((producer, began))
        elif kind == "legacy":
            magic, codec = draw(
                st.sampled_from([(0, "none"), (1, "none"), (1, "gzip"), (1, "snappy"), (1, "lz4")])
            )
            data += make_legacy(sent, base=offset, magic=magic, codec=codec)
        else:
            data += make_batch([], base=offset, last=count - 1 + gap)
        offset += count + gap
    return data, aborted, offset


@settings(max_examples=300, deadline=None)
@given(
    log=logs(),
    level=st.integers(0, 1),
    back=st.integers(0, 40),
    most=st.integers(1, 12),
    cut=st.integers(0, 30),
    largest=st.sampled_from([1, 50, 200, 1 << 22]),
)
def test_runs_hold_what_aiokafka_gives_and_end_where_it_ends(
    log: tuple[bytes, list[tuple[int, int]], int], level: int, back: int, most: int, cut: int, largest: int
) -> None:
    data, aborted, end = log
    # The last batch of a fetch may be cut off.
    data, position = data[: len(data) - cut], max(0, end - back)
    theirs = stock(data, position=position, aborted=aborted, level=level)
    expected = [fields(record) for record in theirs]
    expected = [(offset, -1 if t is None else t, *rest) for offset, t, *rest in expected]
    ours = fetched(data, position=position, aborted=aborted, level=level)
    ours.largest = largest
    found = []
    while not ours.exhausted:
        run = ours.take(most)
        assert len(run) <= most
        found += [fields(record) for record in run]
    assert found == expected
    assert ours.next_fetch_offset == theirs.next_fetch_offset


def test_a_batch_larger_than_a_run_is_given_in_parts_each_from_its_position() -> None:
    ours = fetched(make_batch(records(100, 7), base=100, codec="lz4"), position=101)
    taken = [[record.offset for record in ours.take(3)] for _ in range(2)]
    assert taken == [[101, 102, 103], [104, 105, 106]]
    assert (ours.next_fetch_offset, ours.exhausted) == (107, False)
    assert (len(ours.take(3)), ours.exhausted) == (0, True)


@pytest.mark.parametrize("legacy", [0, 1])
def test_a_run_is_bounded_by_what_its_records_are_in_memory_not_in_kafka(legacy: int) -> None:
    """A hundred batches of a few hundred bytes each, and of 64 KiB once they are unpacked."""
    large = [Sent(0, 0, b"k", b" " * 65_536, [])]
    data = b"".join(
        make_legacy(large, base=n, magic=1, codec="gzip")
        if n < legacy
        else make_batch(large, base=n, codec="gzip")
        for n in range(100)
    )
    assert len(data) < 100_000
    ours = fetched(data)
    ours.largest = 1 << 20
    taken = []
    while not ours.exhausted:
        run = ours.take(10_000)
        assert run.size < (1 << 20) + 2 * 65_536
        taken.append([record.offset for record in run])
    assert [offset for offsets in taken for offset in offsets] == list(range(100))
    assert len(taken) in {6, 7}
    assert ours.next_fetch_offset == 100


def test_a_run_of_several_batches_is_one_buffer() -> None:
    data = (
        make_batch(records(0, 2))
        + make_batch(records(2, 2), base=2, codec="zstd")
        + make_legacy(records(4, 1), base=4)
    )
    run = fetched(data, position=1).take(100)
    assert [(each.offset, each.key, each.value) for each in run] == [
        (n, b"k%d" % n, b"v%d" % n) for n in range(1, 5)
    ]
    assert len(run.buffer) < len(data) == FetchedBatches(data).size_in_bytes()


def damaged() -> bytes:
    data = bytearray(make_batch(records(2, 2), base=2))
    data[-2] ^= 1
    return bytes(data)


def test_what_came_before_a_damaged_batch_is_given_and_the_position_stays_before_it() -> None:
    ours = fetched(make_batch(records(0, 2)) + damaged() + make_batch(records(4, 2), base=4))
    assert [record.offset for record in ours.take(100)] == [0, 1]
    assert (ours.next_fetch_offset, ours.exhausted) == (2, True)
    again = fetched(damaged() + make_batch(records(4, 2), base=4), position=2)
    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        again.take(100)
    # Asked once more, it has nothing and goes by nothing.
    assert (len(again.take(100)), again.next_fetch_offset, again.exhausted) == (0, 2, True)


def lying(codec: str) -> bytes:
    """A batch whose checksum is right, and which is cut off or does not decompress."""
    data = bytearray(make_batch(records(2, 2), base=2, codec=codec))
    del data[-3:]
    data[8:12] = (len(data) - 12).to_bytes(4)
    return seal(data)


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_what_came_before_a_batch_that_lies_is_given_and_the_position_stays_before_it(
    codec: str, position: int
) -> None:
    bad = lying(codec)
    ours = fetched(make_batch(records(0, 2)) + bad + make_batch(records(4, 2), base=4), position=position)
    assert [record.offset for record in ours.take(100)] == [0, 1][position:]
    assert (ours.next_fetch_offset, ours.exhausted) == (2, True)
    again = fetched(bad + make_batch(records(4, 2), base=4), position=2 + position)
    with pytest.raises(CorruptRecordException, match="the batch at 2"):
        again.take(100)
    assert (len(again.take(100)), again.next_fetch_offset, again.exhausted) == (0, 2 + position, True)


@pytest.mark.parametrize("length", [-12, -1, 0, 3, 20, 40])
def test_a_batch_too_short_to_be_one_is_refused(length: int) -> None:
    data = bytearray(make_batch(records(0, 2)))
    data[8:12] = length.to_bytes(4, signed=True)
    ours = fetched(bytes(data))
    with pytest.raises(CorruptRecordException):
        ours.take(100)
    assert ours.next_fetch_offset == 0


class Position:
    """What a consumer knows of one partition, as aiokafka's subscription does."""

    active = True
    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def state_value(self, _tp: object) -> "Position":
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


@pytest.fixture
def partition() -> tuple[FetchedPartition, Position]:
    position = Position(0)
    ours = fetched(make_batch(records(0, 5)))
    return FetchedPartition(TP, assignment=position, partition_records=ours, backoff=0), position


def test_the_position_follows_what_was_taken(partition: tuple[FetchedPartition, Position]) -> None:
    one, position = partition
    assert (len(one.getall(3)), position.position, one.has_more()) == (3, 3, True)
    assert (len(one.getall(3)), position.position, one.has_more()) == (2, 5, False)
    assert len(one.getall(3)) == 0


def test_what_was_fetched_before_a_seek_is_dropped(partition: tuple[FetchedPartition, Position]) -> None:
    one, position = partition
    one.getall(2)
    position.position = 0
    assert (len(one.getall(2)), position.position, one.has_more()) == (0, 0, False)
