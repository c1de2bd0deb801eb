"""Batches of Kafka's formats, written by aiokafka's own builders, with the fields that only a broker sets."""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_ATTRIBUTES, _LAST_DELTA, _MAX_TIME, _CHECKED = 21, 23, 35, 21
_CHECKSUM = 17


class Sent(NamedTuple):
    """A record before it is in a batch; `offset` counts from the batch's."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


def make_batch(
    records: Sequence[Sent],
    *,
    base: int = 0,
    codec: str = "none",
    appended: int | None = None,
    producer: int = -1,
    transactional: bool = False,
    control: bool = False,
    last: int | None = None,
) -> bytes:
    """A batch of format 2.

    Args:
        records: offsets ascend.
        base: its first offset.
        codec: one of `CODECS`.
        appended: time at which the log took it, when that is the time of its records.
        producer: id of a producer with transactions.
        transactional: part of one.
        control: holds a marker, no records.
        last: offset of its last record, from `base`, when compaction has removed that.
    """
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], int(transactional), producer, 0, 0, 1 << 30)
    for record in records:
        builder.append(record.offset, record.timestamp, record.key, record.value, list(record.headers))
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, base)
    (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES)
    struct.pack_into(">h", batch, _ATTRIBUTES, attributes | (appended is not None) << 3 | control << 5)
    if appended is not None:
        struct.pack_into(">q", batch, _MAX_TIME, appended)
    if last is not None:
        struct.pack_into(">i", batch, _LAST_DELTA, last)
    return seal(batch)


def make_marker(base: int, producer: int, *, abort: bool) -> bytes:
    """The batch that ends a transaction."""
    marker = Sent(0, 0, struct.pack(">hh", 0, 0 if abort else 1), struct.pack(">hi", 0, 0))
    return make_batch([marker], base=base, producer=producer, transactional=True, control=True)


def make_legacy(records: Sequence[Sent], *, base: int = 0, magic: int = 1, codec: str = "none") -> bytes:
    """Messages of a format before 2; without a codec each stands alone."""
    builder = LegacyRecordBatchBuilder(magic, CODECS[codec], 1 << 30)
    for record in records:
        builder.append(record.offset, record.timestamp, record.key, record.value)
    data = bytearray(builder.build())
    if codec == "none":
        at = 0
        while at < len(data):
            offset, length = struct.unpack_from(">qi", data, at)
            struct.pack_into(">q", data, at, base + offset)
            at += 12 + length
    else:
        # The wrapper has the offset of its last message.
        struct.pack_into(">q", data, 0, base + records[-1].offset)
    return bytes(data)


def seal(batch: bytearray) -> bytes:
    """The batch with the checksum of what it holds now."""
    struct.pack_into(">I", batch, _CHECKSUM, calc_crc32c(bytes(batch[_CHECKED:])))
    return bytes(batch)


def fields(record: Any) -> tuple[object, ...]:  # noqa: ANN401 - aiokafka's or ours
    """What is to be the same of two records."""
    return (
        record.offset, record.timestamp, record.key, record.value,
        [(name, None if value is None else bytes(value)) for name, value in record.headers],
    )  # fmt: skip
