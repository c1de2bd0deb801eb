"""aiokafka's fetcher, whose records stay columns: a poll gives a run of a partition, not a list of objects.

Network, checksums, decompression, transactions and positions remain aiokafka's. What it makes of a fetched
partition is replaced: a batch of format 2 gives all its records as one `Run` (`processor.flow.batch`); what
is of formats before it is read by aiokafka and made a run. For its filter of transactions and its positions
such a run is one record, with the offset of its last.

Every private name of aiokafka that we lean on is in this file. Read in aiokafka 0.14.0.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from processor.flow.batch import HEAD, Head, parse
from processor.run import Row, Run

#: Classes and what we call or replace of them.
NAMES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (fetcher.PartitionRecords, ("_unpack_records", "_consumer_record")),
    (fetcher.FetchResult, ("getall", "check_assignment", "has_more", "_update_position")),
    (MemoryRecords, ("next_batch",)),
)
#: Functions and the names that they must use for our replacements to be met.
USED = (
    (fetcher.Fetcher._proc_fetch_request, ("MemoryRecords", "PartitionRecords", "FetchResult")),  # noqa: SLF001 - see the first lines
    (fetcher.Fetcher.fetched_records, ("FetchResult", "getall", "has_more")),
    (fetcher.FetchResult.__init__, ("_topic_partition", "_partition_records")),
    (fetcher.FetchResult._update_position, ("consumed_to", "next_fetch_offset")),  # noqa: SLF001 - the same
    (
        fetcher.PartitionRecords._unpack_records,  # noqa: SLF001 - the same
        ("next_fetch_offset", "has_next", "next_batch", "validate_crc", "_consumer_record", "offset"),
    ),
)
#: In every format: bytes before the length of a batch, before what it counts, and before its version.
_LENGTH, _COUNTED, _MAGIC = 8, 12, 16
#: The format that has batches; before it there were sets of messages.
_BATCHES = 2


def install() -> None:
    """Let consumers fetch runs: aiokafka has no argument for it, and this process has one consumer."""
    fetcher.MemoryRecords = FetchedBatches
    fetcher.PartitionRecords = FetchedRuns
    fetcher.FetchResult = FetchedPartition


class Piece(Run):
    """The records of one batch, for aiokafka one record."""

    __slots__ = ()

    @property
    def offset(self) -> int:
        """Of the last."""
        return int(self.columns["offset"][-1])


class _Batch:
    """One batch of aiokafka's, whose records come as one piece; all else of it is as it is."""

    def __init__(self, batch: Any, data: bytes) -> None:  # noqa: ANN401 - aiokafka's
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - aiokafka's
        return getattr(self._batch, name)

    def __next__(self) -> Any:  # noqa: ANN401 - aiokafka's
        """The marker in a control batch."""
        return next(self._batch)

    def __iter__(self) -> Iterator[Piece]:
        batch = self._batch
        if self._data[_MAGIC] >= _BATCHES:
            appended = bool(batch.timestamp_type)
            stamp = batch.max_timestamp if appended else batch.first_timestamp
            run = parse(Head(batch.base_offset, stamp, appended, batch.compression_type), self._data)
        else:
            # The oldest format has no times.
            run = Run.of(
                [
                    Row(
                        each.key,
                        each.value,
                        each.offset,
                        -1 if each.timestamp is None else each.timestamp,
                        [],
                    )
                    for each in batch
                ]
            )
        if run:
            yield Piece(run.buffer, run.columns)


class FetchedBatches:
    """The batches that Kafka sent of one partition, one by one to aiokafka.

    In place of its own `MemoryRecords`, which keeps the bytes to itself, and which reads version and checksum
    of an old message, which is a batch by itself, from the wrong place where several lie there.

    Args:
        data: as they were sent; the last may be cut off.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _end(self) -> int:
        """Where the next batch ends."""
        at = self._at
        return at + _COUNTED + int.from_bytes(self._data[at + _LENGTH : at + _COUNTED], signed=True)

    def has_next(self) -> bool:
        """Whether there is another that is whole."""
        return len(self._data) >= self._at + _COUNTED and self._end() <= len(self._data)

    def size_in_bytes(self) -> int:
        """Of all."""
        return len(self._data)

    def next_batch(self) -> Any:  # noqa: ANN401 - ours in the form of aiokafka's
        """The next.

        Raises:
            CorruptRecordException: it is too short to be one.
        """
        begin, end = self._at, self._end()
        data = self._data[begin:end]
        if len(data) <= _MAGIC or (data[_MAGIC] >= _BATCHES and len(data) < HEAD):
            raise CorruptRecordException(f"a batch of {end - begin} bytes")
        self._at = end
        return _Batch(MemoryRecords(data).next_batch(), data)


class FetchedRuns(fetcher.PartitionRecords):  # type: ignore[misc] # aiokafka has no types
    """What was fetched of one partition."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiokafka's signature
        super().__init__(*args, **kwargs)
        self._rest: Run | None = None
        #: Nothing is left.
        self.exhausted = False

    def _consumer_record(self, tp: Any, record: Piece) -> Piece:  # noqa: ANN401, ARG002 - aiokafka's signature
        """Without what lies before the position: a fetch begins with a whole batch."""
        return record.since(self.next_fetch_offset)

    def take(self, most: int) -> Run:
        """The next records, `most` at most; none when nothing is left.

        Raises:
            KafkaError: the next batch is damaged. Whatever came before it has been given: each fetch from now
                on begins with it, and none goes by it.
        """
        parts: list[Run] = []
        room = most
        while room:
            try:
                part = self._rest or next(self, None)
            except Exception:
                if not parts:
                    raise
                part = None
            self._rest = None
            if part is None:
                self.exhausted = True
                break
            if len(part) > room:
                part, self._rest = part[:room], part[room:]
            self.next_fetch_offset = int(part.columns["offset"][-1]) + 1
            parts.append(part)
            room -= len(part)
        return Run.join(parts)


class FetchedPartition(fetcher.FetchResult):  # type: ignore[misc] # aiokafka has no types
    """What was fetched of one partition, until it is taken."""

    _partition_records: Any

    def getall(self, max_records: int) -> Run:
        """The next records; none when the position has moved meanwhile."""
        if not self.has_more() or not self.check_assignment(self._topic_partition):
            return Run.join([])
        records: FetchedRuns = self._partition_records
        run = records.take(max_records)
        self._update_position()
        if records.exhausted:
            self._partition_records = None
        return run
