"""Columns of a batch hold what aiokafka's own parser reads of it; what is not whole is refused by name."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.detect.kernel import plain
from processor.flow import batch
from processor.flow.batch import HEAD, Batch, parse
from processor.run import Run
from tests.support.batches import CODECS, Sent, fields, make_batch

_COUNT = 57
PLAIN = plain(batch.read)
READERS = pytest.mark.parametrize("read", [batch.reader(), PLAIN], ids=["compiled", "plain"])
TIMES = st.integers(0, 2**41)
PARTS = st.none() | st.binary(max_size=200)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def sent(draw: st.DrawFn) -> list[Sent]:
    """Records with the gaps that compaction leaves."""
    offsets = draw(st.lists(st.integers(0, 3000), min_size=1, max_size=20, unique=True).map(sorted))
    headers = st.lists(st.tuples(NAMES, PARTS), max_size=4)
    return [Sent(each, draw(TIMES), draw(PARTS), draw(PARTS), draw(headers)) for each in offsets]


def ours(data: bytes, read: Callable[..., int]) -> Run:
    theirs: Any = DefaultRecordBatch(data)
    appended = bool(theirs.timestamp_type)
    stamp = theirs.max_timestamp if appended else theirs.first_timestamp
    one = Batch(data, theirs.base_offset, stamp, appended, theirs.compression_type)
    run, whole, sound = parse([one], read=read)
    assert (whole, sound) == (1, True)
    return run


def theirs(data: bytes) -> list[tuple[object, ...]]:
    return [fields(record) for record in DefaultRecordBatch(data)]


@READERS
@settings(max_examples=150, deadline=None)
@given(
    records=sent(),
    base=st.integers(0, 2**60),
    codec=st.sampled_from(list(CODECS)),
    appended=st.none() | TIMES,
)
def test_a_batch_is_read_as_aiokafka_reads_it(
    records: list[Sent], base: int, codec: str, appended: int | None, read: Callable[..., int]
) -> None:
    data = make_batch(records, base=base, codec=codec, appended=appended)
    run = ours(data, read)
    assert [fields(record) for record in run] == theirs(data)
    assert [record.offset for record in run] == [base + record.offset for record in records]


@READERS
@settings(max_examples=300, deadline=None)
@given(
    records=sent(),
    wounds=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.integers(0, 10),
)
def test_a_damaged_batch_is_refused_or_read_within_its_bounds(
    records: list[Sent], wounds: list[tuple[int, int]], cut: int, read: Callable[..., int]
) -> None:
    data = bytearray(make_batch(records))
    for place, byte in wounds:
        data[HEAD + place % (len(data) - HEAD)] = byte
    data = data[: max(HEAD, len(data) - cut)]
    try:
        run = ours(bytes(data), read)
    except CorruptRecordException:
        return
    for name in ("key", "key_end", "value", "value_end", "headers", "headers_end"):
        assert ((run.columns[name] >= -1) & (run.columns[name] <= len(data) - HEAD)).all()
    if strange(bytes(data), run):
        return
    try:
        expected = theirs(bytes(data))
    except UnicodeDecodeError:
        return  # a header's name, which nobody asks for: no reason to stop the partition
    assert [fields(record) for record in run] == expected


def strange(data: bytes, run: Run) -> bool:
    """Whether a record has attributes of more than seven bits, which aiokafka takes for a varint."""
    for begin in [0, *run.columns["headers_end"][:-1].tolist()]:
        at = HEAD + begin
        while data[at] > 0x7F:
            at += 1
        if data[at + 1] > 0x7F:
            return True
    return False


def varint(number: int) -> bytes:
    """As protobuf writes it."""
    rest = (number << 1) ^ (number >> 63)
    written = bytearray()
    while rest > 0x7F:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes(written) + bytes([rest])


def one(body: bytes, length: int | None = None) -> bytes:
    """A batch whose one record has this body."""
    whole = bytearray(make_batch([Sent(0, 0, b"k", b"v")])[:HEAD])
    return bytes(whole) + varint(len(body) if length is None else length) + body


NULL = varint(-1)


EMPTY = b"\0\0\0" + NULL + NULL
LIES = {
    "a record beyond the buffer": one(EMPTY + varint(0), length=8),
    "a record of all memory": one(EMPTY + varint(0), length=2**62),
    "a record of a negative length": one(EMPTY + varint(0), length=-1),
    "a record shorter than its parts": one(EMPTY + varint(0), length=5),
    "a record longer than its parts": one(EMPTY + varint(0) + b"\0"),
    "a key beyond its record": one(b"\0\0\0" + varint(100) + NULL + varint(0)),
    "a key of all memory": one(b"\0\0\0" + varint(2**40) + NULL + varint(0)),
    "a key of a negative length": one(b"\0\0\0" + varint(-2) + NULL + varint(0)),
    "a value of a negative length": one(b"\0\0\0" + NULL + varint(-7) + varint(0)),
    "a value beyond its record": one(b"\0\0\0" + NULL + varint(3) + b"ab"),
    "less than no headers": one(EMPTY + varint(-1)),
    "a header that is not there": one(EMPTY + varint(1)),
    "headers without end": one(EMPTY + varint(2**50) + varint(0) + NULL),
    "a header without a name": one(EMPTY + varint(1) + varint(-1) + NULL),
    "a name beyond its record": one(EMPTY + varint(1) + varint(9) + b"t" + NULL),
    "a header's value beyond its record": one(EMPTY + varint(1) + varint(1) + b"t" + varint(9)),
    "a header's value of a negative length": one(EMPTY + varint(1) + varint(1) + b"t" + varint(-2)),
    "an offset before the batch's": one(b"\0\0" + varint(-1) + NULL + NULL + varint(0)),
    "a varint that the record cuts off": one(b"\0" + b"\xff" * 9),
    "a varint of more than 64 bits": one(b"\0" + b"\xff" * 12 + b"\0\0\0\0\0"),
    "an offset that the record cuts off": one(b"\0\0" + b"\x80" * 6),
    "bytes behind the last record": one(EMPTY + varint(0)) + b"more",
}


@READERS
@pytest.mark.parametrize("lie", LIES)
def test_lengths_that_lie_are_refused(lie: str, read: Callable[..., int]) -> None:
    with pytest.raises(CorruptRecordException, match=r"the batch at 0"):
        ours(LIES[lie], read)


@READERS
@pytest.mark.parametrize("count", [2, 2**31 - 1, 0, -1])
def test_a_count_that_lies_is_refused(count: int, read: Callable[..., int]) -> None:
    data = bytearray(make_batch([Sent(0, 0, b"k", b"v" * 20)]))
    struct.pack_into(">i", data, _COUNT, count)
    with pytest.raises(CorruptRecordException):
        ours(bytes(data), read)


@READERS
def test_offsets_that_do_not_ascend_are_refused(read: Callable[..., int]) -> None:
    with pytest.raises(CorruptRecordException, match="in no order"):
        ours(make_batch([Sent(1, 0, b"k", b"v"), Sent(1, 0, b"k", b"v")]), read)


@READERS
def test_an_offset_beyond_the_last_of_its_batch_is_refused_for_the_position_would_skip_what_follows(
    read: Callable[..., int],
) -> None:
    beyond = [Sent(0, 0, b"k", b"v"), Sent(1000, 0, b"k", b"v")]
    with pytest.raises(CorruptRecordException, match="record 1 is not whole, or in no order"):
        ours(make_batch(beyond, last=1), read)
    assert len(ours(make_batch(beyond, last=1000), read)) == 2


def test_a_batch_that_compaction_has_emptied_has_no_records() -> None:
    data = bytearray(make_batch([Sent(0, 0, b"k", b"v")])[:HEAD])
    struct.pack_into(">i", data, _COUNT, 0)
    assert len(ours(bytes(data), batch.reader())) == 0


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_what_does_not_decompress_is_refused(codec: str) -> None:
    data = make_batch([Sent(n, 0, b"k" * 50, b"v" * 50) for n in range(50)], codec=codec)
    with pytest.raises(CorruptRecordException, match="cannot be decompressed"):
        ours(data[: HEAD + 10], batch.reader())


def test_a_codec_that_nobody_knows_is_refused_with_its_number() -> None:
    data = make_batch([Sent(0, 0, b"k", b"v")])
    with pytest.raises(UnsupportedCodecError, match="codec 6") as caught:
        parse([Batch(data, 0, 0, appended=False, compression=6)])
    assert isinstance(caught.value, KafkaError)


def test_a_header_with_a_name_that_is_no_text_does_not_stop_the_partition() -> None:
    body = b"\0\0\0" + NULL + varint(1) + b"v" + varint(1) + varint(1) + b"\xff" + varint(1) + b"x"
    (record,) = ours(one(body), batch.reader())
    assert (record.value, record.headers) == (b"v", [("�", b"x")])
