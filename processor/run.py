"""A run of records of one partition as columns: one buffer, and where in it the parts of each record lie.

An object a record, with its key, value and headers each an object again, costs more to make and to throw away
than all that is done with it: 2 µs of CPU. So a record is made only where somebody asks for that one.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from processor.model import Record

#: A part is the bytes from its place up to its end. A key or value that is none ends before it begins.
#: Headers lie there as Kafka writes them: how many, then name and value of each.
COLUMNS = np.dtype(
    [
        ("offset", np.int64),
        ("timestamp", np.int64),
        ("key", np.int64),
        ("key_end", np.int64),
        ("value", np.int64),
        ("value_end", np.int64),
        ("headers", np.int64),
        ("headers_end", np.int64),
    ],
    align=True,
)
Columns = NDArray[np.void]
_PLACES = COLUMNS.names[2:]  # type: ignore[index] # it has names
#: Headers of at most so many bytes are read once for many records.
_SHORT = 128
#: A byte of a varint holds seven bits.
_SEVEN = 0x7F
_NOTHING = np.empty(0, COLUMNS)


class Row(NamedTuple):
    """One record of a run; see `processor.model.Record`."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]]


class Run(Sequence[Record]):
    """Records of one partition in the order of their offsets.

    Args:
        buffer: holds them.
        columns: of `COLUMNS`, a row a record: where.
        kept: the records themselves, when there were any before the run.
    """

    __slots__ = ("buffer", "columns", "kept")

    def __init__(self, buffer: bytes, columns: Columns, kept: Sequence[Record] | None = None) -> None:
        self.buffer = buffer
        self.columns = columns
        self.kept = kept

    @classmethod
    def of(cls, records: Sequence[Record]) -> Self:
        """Records as a run, which gives these very objects back."""
        buffer, rows = bytearray(), []
        for record in records:
            places = [record.offset, record.timestamp]
            for part in (record.key, record.value, write_headers(record.headers)):
                at = len(buffer)
                buffer += part or b""
                places += (at, at - 1 if part is None else len(buffer))
            rows.append(tuple(places))
        return cls(bytes(buffer), np.array(rows, COLUMNS), records)

    @classmethod
    def join(cls, runs: Sequence[Self]) -> Self:
        """Runs that follow each other as one: each a slice of what was fetched, so none keeps objects."""
        if not runs:
            return cls(b"", _NOTHING)
        if len(runs) == 1:
            return runs[0]
        pieces, parts, size = [], [], 0
        for run in runs:
            columns = run.columns.copy()
            begin, end = int(columns["key"][0]), int(columns["headers_end"][-1])
            for place in _PLACES:
                columns[place] += size - begin
            pieces.append(run.buffer[begin:end])
            parts.append(columns)
            size += end - begin
        return cls(b"".join(pieces), np.concatenate(parts))

    def clear(self) -> None:
        """Let go of the records."""
        self.buffer, self.columns, self.kept = b"", _NOTHING, None

    @property
    def size(self) -> int:
        """Bytes of its records."""
        return int(self.columns["headers_end"][-1] - self.columns["key"][0]) if len(self) else 0

    def since(self, offset: int) -> Self:
        """The records from an offset on."""
        return self[int(np.searchsorted(self.columns["offset"], offset)) :]

    def __len__(self) -> int:
        return len(self.columns)

    @overload
    def __getitem__(self, at: int) -> Record: ...

    @overload
    def __getitem__(self, at: slice) -> Self: ...

    def __getitem__(self, at: int | slice) -> Record | Self:
        if isinstance(at, slice):
            kept = None if self.kept is None else self.kept[at]
            return type(self)(self.buffer, self.columns[at], kept)
        if self.kept is not None:
            return self.kept[at]
        buffer = self.buffer
        offset, timestamp, key, key_end, value, value_end, headers, headers_end = self.columns[at].item()
        return Row(
            None if key_end < key else buffer[key:key_end],
            None if value_end < value else buffer[value:value_end],
            offset,
            timestamp,
            _headers(buffer[headers:headers_end]),
        )


def write_headers(headers: Sequence[tuple[str, bytes]]) -> bytes:
    """Headers as a record of Kafka has them."""
    written = bytearray(_varint(len(headers)))
    for name, value in headers:
        text = name.encode(errors="replace")
        written += _varint(len(text)) + text
        written += _varint(-1) if value is None else _varint(len(value)) + value
    return bytes(written)


def read_headers(written: bytes) -> Iterator[tuple[str, bytes]]:
    """Headers that a reader of batches has found whole; a value may be None, whatever the type says."""
    count, at = _read_varint(written, 0)
    for _ in range(count):
        size, at = _read_varint(written, at)
        name = written[at : at + size].decode(errors="replace")
        at += size
        size, at = _read_varint(written, at)
        value = None if size < 0 else written[at : at + size]
        at += max(size, 0)
        yield name, value  # type: ignore[misc] # as is said above


def _headers(written: bytes) -> list[tuple[str, bytes]]:
    return list(_short_headers(written) if len(written) <= _SHORT else read_headers(written))


@lru_cache(1024)
def _short_headers(written: bytes) -> tuple[tuple[str, bytes], ...]:
    """Headers of which records have the same few."""
    return tuple(read_headers(written))


def _varint(number: int) -> bytes:
    """A number as protobuf's zigzag varint."""
    rest = number << 1 ^ number >> 63
    written = bytearray()
    while rest > _SEVEN:
        written.append(rest & _SEVEN | 0x80)
        rest >>= 7
    written.append(rest)
    return bytes(written)


def _read_varint(written: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next begins."""
    raw = shift = 0
    while (byte := written[at]) > _SEVEN:
        raw |= (byte & _SEVEN) << shift
        shift += 7
        at += 1
    raw |= byte << shift
    return raw >> 1 ^ -(raw & 1), at + 1
