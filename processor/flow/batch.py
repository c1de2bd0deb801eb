"""A batch of Kafka's message format 2 into columns, in one compiled pass without an object a record.

Format: KIP-98, and "Record Batch" in Kafka's protocol guide. Lengths come from whoever produced the batch, as
its checksum does: each is held against the record's end, and that against the buffer's.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from aiokafka import codec
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from numba.extending import register_jitable

from processor.detect.kernel import compiled
from processor.run import COLUMNS, Run

#: Bytes of a batch before its records, and where they count them.
HEAD = 61
_COUNT = 57
#: No record is smaller: length, attributes, two deltas, key, value and headers take a byte each.
_SMALLEST = 7
#: A byte of a varint holds seven bits of its 64.
_SEVEN, _BITS = 0x7F, 64
_ROAD = {1: codec.gzip_decode, 2: codec.snappy_decode, 3: codec.lz4_decode, 4: codec.zstd_decode}


class Head(NamedTuple):
    """What the head of a batch says of all its records.

    Attributes:
        base: offset that the records count from.
        stamp: time that the records count from, milliseconds; the one time of all when `appended`.
        appended: the log stamped them, not who wrote them.
        compression: number of the codec, 0 for none.
    """

    base: int
    stamp: int
    appended: bool
    compression: int


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


def read(buffer, base, stamp, appended, columns):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201, C901, PLR0911 - compiled: each part may be the damaged one
    """Find the parts of every record. Returns where the last ends, or -1 less the place of a damaged one."""
    at = 0
    before = base - 1
    for n in range(columns.shape[0]):
        row = columns[n]
        size, at = _varint(buffer, at, buffer.shape[0])
        if at < 0 or size < 1 or size > buffer.shape[0] - at:
            return -1 - n
        end = at + size
        # Attributes of a record mean nothing yet.
        delta, at = _varint(buffer, at + 1, end)
        if at < 0:
            return -1 - n
        place, at = _varint(buffer, at, end)
        if at < 0:
            return -1 - n
        row.offset = base + place
        if row.offset <= before:
            return -1 - n
        before = row.offset
        row.timestamp = stamp if appended else stamp + delta
        begin, at = _part(buffer, at, end)
        if begin < 0:
            return -1 - n
        row.key, row.key_end = begin, at
        begin, at = _part(buffer, max(begin, at), end)
        if begin < 0:
            return -1 - n
        row.value, row.value_end = begin, at
        row.headers = max(begin, at)
        count, at = _varint(buffer, row.headers, end)
        if at < 0 or count < 0:
            return -1 - n
        for _ in range(count):
            begin, at = _part(buffer, at, end)
            if begin < 0 or at < begin:
                return -1 - n
            begin, at = _part(buffer, at, end)
            if begin < 0:
                return -1 - n
            at = max(begin, at)
        if at != end:
            return -1 - n
        row.headers_end = end
    return at


@cache
def reader() -> Any:  # noqa: ANN401 - what numba makes of it
    """`read`, compiled at its first call or taken from the cache."""
    return compiled(read)


def warm() -> None:
    """Compile, or read from the cache, by reading nothing."""
    reader()(np.frombuffer(b"", np.uint8), 0, 0, False, np.empty(0, COLUMNS))


def parse(head: Head, batch: bytes, *, read: Any = None) -> Run:  # noqa: ANN401 - compiled or plain
    """The records of a batch.

    Args:
        head: what aiokafka has read of it.
        batch: all of it.
        read: another form of the pass, for tests.

    Raises:
        CorruptRecordException: they are not whole.
        UnsupportedCodecError: nothing here decompresses them.
    """
    count = int.from_bytes(batch[_COUNT:HEAD], signed=True)
    buffer = batch[HEAD:]
    if head.compression:
        if head.compression not in _ROAD:
            raise UnsupportedCodecError(f"the batch at {head.base} has codec {head.compression}")
        try:
            buffer = _ROAD[head.compression](buffer)
        except Exception as error:
            # Each library has its own kinds of them.
            raise CorruptRecordException(
                f"the batch at {head.base} cannot be decompressed: {error}"
            ) from error
    if count * _SMALLEST > len(buffer):
        raise CorruptRecordException(f"the batch at {head.base} has no room for its {count} records")
    columns = np.empty(max(count, 0), COLUMNS)
    end = (read or reader())(np.frombuffer(buffer, np.uint8), head.base, head.stamp, head.appended, columns)
    if end < 0:
        raise CorruptRecordException(
            f"record {-1 - end} of the batch at {head.base} is not whole, or in no order"
        )
    if end != len(buffer):
        raise CorruptRecordException(
            f"the batch at {head.base} has {len(buffer) - end} bytes after its records"
        )
    return Run(buffer, columns)
