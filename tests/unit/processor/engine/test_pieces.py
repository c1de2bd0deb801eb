"""A struct in pieces: the bytes say the same, and columns are not copied."""

import msgspec
import numpy as np

from processor.engine.pieces import ALIGNMENT, encode_pieces


class Part(msgspec.Struct):
    """One of many."""

    name: str
    column: memoryview


class Whole(msgspec.Struct):
    """Columns at every depth, and none."""

    parts: list[Part]
    column: memoryview
    none: list[Part]
    names: dict[str, int]


COLUMN = np.arange(40_000, dtype=np.int64).view(np.uint8).data
WHOLE = Whole([Part("a", COLUMN[:9]), Part("b", COLUMN[:0])], COLUMN, [], {"x": 1})


def test_the_pieces_together_decode_to_the_struct() -> None:
    assert msgspec.msgpack.decode(b"".join(encode_pieces(WHOLE)), type=Whole) == WHOLE


def test_a_column_is_a_piece_as_it_stands() -> None:
    assert any(piece is COLUMN for piece in encode_pieces(WHOLE))


def test_each_column_begins_a_multiple_of_the_alignment_from_the_end() -> None:
    for size in range(40):
        own = np.arange(size + 1, dtype=np.uint8).data[:size]
        whole = Whole([Part("a" * size, own), Part("b", own)], own, [], {})
        pieces = encode_pieces(whole)
        total = len(b"".join(pieces))
        begins = [total - sum(map(len, pieces[:at])) for at, piece in enumerate(pieces) if piece is own]
        assert len(begins) == 3
        assert not any(begin % ALIGNMENT for begin in begins)
        assert msgspec.msgpack.decode(b"".join(pieces), type=Whole) == whole
