"""aiokafka's fetcher, whose records stay columns: a poll gives a run of a partition, not a list of objects.

Network, checksums, decompression, transactions and positions remain aiokafka's. What it makes of a fetched
partition is replaced: batches of format 2 give all their records as one `Run` (`processor.flow.batch`); what
is of formats before it is read by aiokafka and made a run. For its filter of transactions and its positions a
batch is one record, with the offset of its last.

Every private name of aiokafka that we lean on is in this file. Read in aiokafka 0.14.0.
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, cast

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.record.memory_records import MemoryRecords

from processor.flow.batch import HEAD, Batch, parse
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


class _Batch:
    """One batch of aiokafka's, for which it is its own one record.

    Attributes:
        offset: of its last record.
        since: the position at which it was fetched; what lies before is not given.
    """

    def __init__(self, batch: Any, data: bytes) -> None:  # noqa: ANN401 - aiokafka's
        self._batch = batch
        self._data = data
        self.validate_crc = batch.validate_crc
        self.is_control_batch = batch.is_control_batch
        self.next_offset = batch.next_offset
        self.offset = self.next_offset - 1
        self.since = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - aiokafka's
        return getattr(self._batch, name)

    def __next__(self) -> Any:  # noqa: ANN401 - aiokafka's
        """The marker in a control batch."""
        return next(self._batch)

    def __iter__(self) -> Iterator["_Batch"]:
        yield self

    def part(self) -> Run | Batch:
        """Its records: a run if they are of an old format."""
        batch = self._batch
        if self._data[_MAGIC] >= _BATCHES:
            appended = bool(batch.timestamp_type)
            stamp = batch.max_timestamp if appended else batch.first_timestamp
            return Batch(self._data, batch.base_offset, stamp, appended, batch.compression_type)
        # The oldest format has no times.
        rows = [
            Row(each.key, each.value, each.offset, -1 if each.timestamp is None else each.timestamp, [])
            for each in batch
        ]
        return Run.of(rows).since(self.since)


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

    #: Unpacked bytes of a run after which no further batch joins it: in Kafka a record may be a thousandth of
    #: what it is in memory, and a run of the most records some gigabytes.
    largest = 4 << 20

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiokafka's signature
        super().__init__(*args, **kwargs)
        self.next_fetch_offset: int
        self._rest: list[Run | Batch] = []
        #: How far aiokafka has read, which is further than what is given while something is left.
        self._read_to = 0
        #: Nothing is left.
        self.exhausted = False

    def _consumer_record(self, tp: Any, record: _Batch) -> Run | Batch:  # noqa: ANN401, ARG002 - aiokafka's signature
        """A batch that lies behind the position, or around it: a fetch begins with a whole batch."""
        record.since = self.next_fetch_offset
        part = record.part()
        if isinstance(part, Batch) and part.base < record.since:
            # Read by itself, for it is cut.
            run, *_ = parse([part])
            return run.since(record.since)
        return part

    def take(self, most: int) -> Run:
        """The next records, `most` at most, and about `largest` bytes; none when nothing is left.

        Raises:
            KafkaError: the next batch is damaged. Whatever came before it has been given: each fetch from now
                on begins with it, and none goes by it.
        """
        begin = self.next_fetch_offset
        parts = self._collect(most)
        self._read_to = max(self._read_to, self.next_fetch_offset)
        try:
            run = self._read(parts)
        except KafkaError:
            self.exhausted, self._rest = True, []
            self.next_fetch_offset = self._read_to = begin
            raise
        if len(run) > most:
            self._rest.insert(0, run[most:])
            run = run[:most]
        if self._rest:
            self.exhausted = False
            self.next_fetch_offset = _first(self._rest[0])
        elif self.exhausted:
            self.next_fetch_offset = self._read_to
        elif run:
            self.next_fetch_offset = max(self.next_fetch_offset, run[-1].offset + 1)
        return run

    def _collect(self, most: int) -> list[Run | Batch]:
        """Parts of that many records, or one of more; as they say, for they are not unpacked yet."""
        parts: list[Run | Batch] = []
        room = most
        while room > 0 and not self.exhausted:
            try:
                part = self._rest.pop(0) if self._rest else next(self, None)
            except Exception:
                if not parts:
                    raise
                part = None
            if part is None:
                self.exhausted = True
                break
            size = len(part) if isinstance(part, Run) else part.size
            if size > room and parts:
                self._rest.insert(0, part)
                break
            parts.append(part)
            room -= max(size, 0)
        return parts

    def _read(self, parts: Sequence[Run | Batch]) -> Run:
        """The records of parts, up to the first that is damaged: there the next fetch begins.

        What there is no room for is taken the next time.
        """
        runs: list[Run] = []
        at, room = 0, self.largest
        while at < len(parts):
            if room <= 0:
                self._rest = [*parts[at:], *self._rest]
                break
            part = parts[at]
            if isinstance(part, Run):
                runs.append(part)
                room -= part.size
                at += 1
                continue
            group = list(takewhile(lambda each: isinstance(each, Batch), parts[at:]))
            try:
                run, whole, sound = parse(cast("list[Batch]", group), room=room)
            except KafkaError:
                if not runs:
                    raise
                whole, sound = 0, False
            else:
                runs.append(run)
                room -= run.size
            at += whole
            if not sound:
                self.exhausted, self._rest = True, []
                self._read_to = _first(parts[at])
                self.next_fetch_offset = _first(parts[at])
                break
        return Run.join([run for run in runs if run])


def _first(part: Run | Batch) -> int:
    """Where a part begins."""
    return part.base if isinstance(part, Batch) else int(part.columns["offset"][0])


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
