"""A batch of Kafka's message format 2 into columns, in one compiled pass without an object a record.

Format: KIP-98, and "Record Batch" in Kafka's protocol guide. Lengths come from whoever produced the batch, as
its checksum does: each is held against the record's end, and that against the buffer's.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from aiokafka import codec
from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError
from numba.extending import register_jitable

from processor.detect.kernel import compiled
from processor.run import COLUMNS, Run

#: Bytes of a batch before its records, and where they count them.
HEAD = 61
_COUNT = 57
#: Where it says how far behind its first offset its last one lies, also when compaction has removed that.
_LAST, _LAST_END = 23, 27
#: No record is smaller: length, attributes, two deltas, key, value and headers take a byte each.
_SMALLEST = 7
#: A byte of a varint holds seven bits of its 64.
_SEVEN, _BITS = 0x7F, 64
_ROAD = {1: codec.gzip_decode, 2: codec.snappy_decode, 3: codec.lz4_decode, 4: codec.zstd_decode}
#: Batches whose records lie in one buffer: where each ends, how many it has, offset and time that they count
#: from (their very time when the log `appended` them), how far their offsets go, and how many of them were
#: found whole.
BATCHES = np.dtype(
    [
        ("end", np.int64),
        ("records", np.int64),
        ("offset", np.int64),
        ("last", np.int64),
        ("stamp", np.int64),
        ("appended", np.int64),
        ("whole", np.int64),
    ],
    align=True,
)


class Batch(NamedTuple):
    """A batch as it was fetched, and what its head says of all its records.

    Attributes:
        data: all of it.
        base: offset that the records count from.
        stamp: time that the records count from, milliseconds; the one time of all when `appended`.
        appended: the log stamped them, not who wrote them.
        compression: number of the codec, 0 for none.
    """

    data: bytes
    base: int
    stamp: int
    appended: bool
    compression: int

    @property
    def size(self) -> int:
        """How many records it says it has."""
        return int.from_bytes(self.data[_COUNT:HEAD], signed=True)

    @property
    def last(self) -> int:
        """Its last offset, from its base."""
        return int.from_bytes(self.data[_LAST:_LAST_END], signed=True)

    def unpack(self) -> bytes:
        """The bytes of the records.

        Raises:
            CorruptRecordException: they are not whole.
            UnsupportedCodecError: nothing here decompresses them.
        """
        buffer = self.data[HEAD:]
        if self.compression:
            if self.compression not in _ROAD:
                raise UnsupportedCodecError(f"the batch at {self.base} has codec {self.compression}")
            try:
                buffer = _ROAD[self.compression](buffer)
            except Exception as error:
                # Each library has its own kinds of them.
                text = f"the batch at {self.base} cannot be decompressed: {error}"
                raise CorruptRecordException(text) from error
        if self.size * _SMALLEST > len(buffer):
            raise CorruptRecordException(f"the batch at {self.base} has no room for its {self.size} records")
        return buffer


@register_jitable
def _varint(buffer: Any, at: int, end: int) -> Any:  # noqa: ANN401 - an array; a number and a place
    """A zigzag number and where the next begins: -1 when it does not end in time."""
    raw = np.uint64(0)
    shift = 0
    while at < end and shift < _BITS:
        byte = np.int64(buffer[at])
        at += 1
        raw |= np.uint64(byte & _SEVEN) << np.uint64(shift)
        if byte <= _SEVEN:
            return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1)), at
        shift += 7
    return np.int64(0), -1


@register_jitable
def _part(buffer: Any, at: int, end: int) -> Any:  # noqa: ANN401 - as above
    """Where a part of a record begins and ends, before it when it is none; -1 when it is not whole."""
    size, at = _varint(buffer, at, end)
    if at < 0 or size < -1 or size > end - at:
        return -1, -1
    return at, at + size


def read(buffer, batches, columns):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201, C901, PLR0911, PLR0912 - compiled: each part may be the damaged one
    """Find the parts of every record. Returns how many batches are whole: those behind are not looked at.

    `columns` has a row for each record that they say they have.
    """
    at = 0
    n = 0
    for b in range(batches.shape[0]):
        batch = batches[b]
        before = batch.offset - 1
        for k in range(batch.records):
            batch.whole = k
            row = columns[n]
            n += 1
            size, at = _varint(buffer, at, batch.end)
            if at < 0 or size < 1 or size > batch.end - at:
                return b
            end = at + size
            # Attributes of a record mean nothing yet.
            delta, at = _varint(buffer, at + 1, end)
            if at < 0:
                return b
            place, at = _varint(buffer, at, end)
            if at < 0 or place > batch.last:
                return b
            row.offset = batch.offset + place
            if row.offset <= before:
                return b
            before = row.offset
            row.timestamp = batch.stamp if batch.appended else batch.stamp + delta
            begin, at = _part(buffer, at, end)
            if begin < 0:
                return b
            row.key, row.key_end = begin, at
            begin, at = _part(buffer, max(begin, at), end)
            if begin < 0:
                return b
            row.value, row.value_end = begin, at
            row.headers = max(begin, at)
            count, at = _varint(buffer, row.headers, end)
            if at < 0 or count < 0:
                return b
            for _ in range(count):
                begin, at = _part(buffer, at, end)
                if begin < 0 or at < begin:
                    return b
                begin, at = _part(buffer, at, end)
                if begin < 0:
                    return b
                at = max(begin, at)
            if at != end:
                return b
            row.headers_end = end
        batch.whole = batch.records
        if at != batch.end:
            return b
    return batches.shape[0]


@cache
def reader() -> Any:  # noqa: ANN401 - what numba makes of it
    """`read`, compiled at its first call or taken from the cache."""
    return compiled(read)


def warm() -> None:
    """Compile, or read from the cache, by reading nothing."""
    reader()(np.frombuffer(b"", np.uint8), np.zeros(0, BATCHES), np.empty(0, COLUMNS))


def parse(
    batches: Sequence[Batch],
    *,
    room: float = math.inf,
    read: Any = None,  # noqa: ANN401 - compiled or plain
) -> tuple[Run, int, bool]:
    """The records of batches up to the first that is damaged, how many batches that is, and if it is all.

    All are those that there was room for: how large a batch is, nobody knows before it is unpacked.

    Args:
        batches: one at least, in the order of their offsets.
        room: bytes of the records after which no further batch is unpacked.
        read: another form of the pass, for tests.

    Raises:
        CorruptRecordException: the first is damaged.
        UnsupportedCodecError: nothing here decompresses the first.
    """
    pieces: list[bytes] = []
    rows: list[tuple[int, ...]] = []
    end = total = 0
    sound = True
    for batch in batches:
        if end >= room:
            break
        try:
            piece = batch.unpack()
        except KafkaError:
            if not pieces:
                raise
            sound = False
            break
        end += len(piece)
        count = max(batch.size, 0)
        total += count
        pieces.append(piece)
        rows.append((end, count, batch.base, batch.last, batch.stamp, batch.appended, 0))
    buffer = b"".join(pieces) if len(pieces) > 1 else pieces[0]
    found, columns = np.array(rows, BATCHES), np.empty(total, COLUMNS)
    whole = int((read or reader())(np.frombuffer(buffer, np.uint8), found, columns))
    if whole < len(rows):
        if not whole:
            at = int(found["whole"][0])
            what = (
                f"record {at} is not whole, or in no order" if at < rows[0][1] else "bytes follow its records"
            )
            raise CorruptRecordException(f"the batch at {batches[0].base} is damaged: {what}")
        columns = columns[: int(found["records"][:whole].sum())]
    return Run(buffer, columns), whole, sound and whole == len(rows)
