import random
import struct

import cramjam
import msgspec
import numpy as np
import pytest

from processor.engine import Engine
from processor.engine.pieces import ALIGNMENT, Piece
from processor.errors import StreamError
from processor.flow.snapshot import LARGEST_SNAPSHOT, VERSION, Encoder, Snapshot, decode
from processor.rules import parse_rules
from tests.support.telemetry import START, rules_text, sent


def encode(offset: int, rules: str, memory: list[Piece], *, version: int = VERSION) -> bytes:
    return Encoder().encode(offset, rules, memory, version=version)


def words(count: int) -> bytes:
    """Bytes that lz4's quick level makes three times smaller, and its better one four times."""
    found = [b"%06d," % n for n in range(0, 1_000_000, 7)]
    random.Random(5).shuffle(found)
    return b"".join(found) * count


def test_a_snapshot_comes_back_as_it_was() -> None:
    value = encode(42, "hash", [b"\x00mem", memoryview(b"ory")])
    assert decode(value, "state[0]") == Snapshot(VERSION, 42, "hash", memoryview(b"\x00memory"))


def test_its_memory_can_be_written_to_and_ends_where_columns_are_aligned() -> None:
    for size in range(1, 40):
        memory = decode(encode(42, "h" * size, [bytes(size)]), "state[0]").memory
        column = np.frombuffer(memory, np.uint8)
        assert column.flags.writeable
        assert (column.ctypes.data + size) % ALIGNMENT == 0


def test_an_engine_takes_its_memory_over_where_it_lies() -> None:
    engine = Engine(parse_rules(rules_text("{threshold: {above: 80}}")), partition=0, jit=False)
    engine.advance([sent(f"asset-{n}", START, temperature=n) for n in range(3)])
    memory = decode(Encoder().encode(3, "h", engine.pieces()), "state[0]").memory
    loaded = Engine.load(memory, engine.rules, partition=0, jit=False)
    assert np.shares_memory(loaded.index.series, np.frombuffer(memory, np.uint8))
    assert loaded.dump() == engine.dump()


def test_one_that_would_not_fit_a_record_is_made_smaller_and_comes_back_as_it_was() -> None:
    snapshot = Snapshot(VERSION, 42, "hash", memoryview(words(24)))
    value = encode(42, "hash", [snapshot.memory])
    assert (
        len(value) < LARGEST_SNAPSHOT < len(cramjam.lz4.compress(msgspec.msgpack.encode(snapshot), level=1))
    )
    assert decode(value, "state[0]") == snapshot


def test_what_a_large_one_needed_those_after_it_have_until_they_are_small_again() -> None:
    large, middle, small = words(24), words(16), words(4)
    encoder = Encoder()
    quickly = {each: encode(1, "h", [each]) for each in (middle, small)}
    assert encoder.encode(1, "h", [middle]) == quickly[middle]
    assert len(encoder.encode(1, "h", [large])) < LARGEST_SNAPSHOT
    assert len(encoder.encode(1, "h", [middle])) < len(quickly[middle])
    encoder.encode(1, "h", [small])
    assert encoder.encode(1, "h", [small]) == quickly[small]


def test_one_that_cannot_be_made_small_enough_is_given_as_it_is() -> None:
    noise = random.Random(5).randbytes(LARGEST_SNAPSHOT)
    assert len(encode(1, "h", [noise])) > LARGEST_SNAPSHOT


def test_a_newer_one_is_refused_with_what_to_do() -> None:
    newer = encode(42, "hash", [], version=VERSION + 1)
    with pytest.raises(StreamError, match=r"state\[3\].*run the newer program"):
        decode(newer, "state[3]")


def test_a_newer_one_of_another_shape_is_not_called_damaged() -> None:
    newer = bytes(cramjam.lz4.compress(msgspec.msgpack.encode([VERSION + 1, {"offset": 42}])))
    with pytest.raises(StreamError, match="run the newer program"):
        decode(newer, "state[3]")


WHOLE = encode(1, "h", [bytes(1000)])


def sized(size: int) -> bytes:
    """A snapshot whose first frame says that it is so large."""
    return struct.pack("<IIQ", 0x184D2A50, 8, size) + WHOLE[16:]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"not lz4",
        bytes(cramjam.lz4.compress(b"\xc1")),
        bytes(cramjam.lz4.compress(b"")),
        WHOLE[:16],
        WHOLE[:-20],
        sized(0),
        sized(900),
        sized(1100),
        sized(2**63),
    ],
)
def test_a_damaged_one_is_refused_with_what_to_do(value: bytes) -> None:
    with pytest.raises(StreamError, match="write a tombstone"):
        decode(value, "state[0]")


def test_the_format_is_an_array_whose_first_member_is_the_version() -> None:
    raw = msgspec.msgpack.decode(cramjam.lz4.decompress(encode(1, "h", [])))
    assert raw[:2] == [VERSION, 1]
