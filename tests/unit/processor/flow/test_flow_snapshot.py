import random

import cramjam
import msgspec
import pytest

from processor.errors import StreamError
from processor.flow.snapshot import LARGEST_SNAPSHOT, VERSION, Snapshot, decode, encode


def test_a_snapshot_comes_back_as_it_was() -> None:
    value = encode(42, "hash", [b"\x00mem", memoryview(b"ory")])
    assert decode(value, "state[0]") == Snapshot(VERSION, 42, "hash", memoryview(b"\x00memory"))


def test_one_that_would_not_fit_a_record_is_made_smaller_and_comes_back_as_it_was() -> None:
    words = [b"%06d," % n for n in range(0, 1_000_000, 7)]
    random.Random(5).shuffle(words)
    snapshot = Snapshot(VERSION, 42, "hash", memoryview(b"".join(words) * 24))
    value = encode(42, "hash", [snapshot.memory])
    assert (
        len(value) < LARGEST_SNAPSHOT < len(cramjam.lz4.compress(msgspec.msgpack.encode(snapshot), level=1))
    )
    assert decode(value, "state[0]") == snapshot


def test_a_newer_one_is_refused_with_what_to_do() -> None:
    newer = encode(42, "hash", [], version=VERSION + 1)
    with pytest.raises(StreamError, match=r"state\[3\].*run the newer program"):
        decode(newer, "state[3]")


def test_a_newer_one_of_another_shape_is_not_called_damaged() -> None:
    newer = bytes(cramjam.lz4.compress(msgspec.msgpack.encode([VERSION + 1, {"offset": 42}])))
    with pytest.raises(StreamError, match="run the newer program"):
        decode(newer, "state[3]")


@pytest.mark.parametrize(
    "value", [b"", b"not lz4", bytes(cramjam.lz4.compress(b"\xc1")), bytes(cramjam.lz4.compress(b""))]
)
def test_a_damaged_one_is_refused_with_what_to_do(value: bytes) -> None:
    with pytest.raises(StreamError, match="write a tombstone"):
        decode(value, "state[0]")


def test_the_format_is_an_array_whose_first_member_is_the_version() -> None:
    raw = msgspec.msgpack.decode(cramjam.lz4.decompress(encode(1, "h", [])))
    assert raw[:2] == [VERSION, 1]
