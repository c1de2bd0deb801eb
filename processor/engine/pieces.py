"""A struct with large columns as MessagePack in pieces: the columns themselves, never a copy of the whole."""

from collections.abc import Iterator
from typing import Any

import msgspec

Piece = bytes | memoryview
#: Columns begin at a multiple of this many bytes from the end of it all: who reads the pieces as one, with
#: their end at such a place of memory, has every number of a column where the processor wants it.
ALIGNMENT = 16
_ENCODER = msgspec.msgpack.Encoder()
#: First bytes of MessagePack's `bin 32`, `array 32` and `map 32`; a length of 32 bits follows.
_BIN, _ARRAY, _MAP = b"\xc6", b"\xdd", b"\xdf"
#: A member without a name, which no struct has and every reader passes over: `fixstr` of nothing, and
#: `bin 8`, whose length of 8 bits follows.
_FILL = b"\xa0\xc4"


def encode_pieces(value: Any) -> list[Piece]:  # noqa: ANN401 - whatever msgspec encodes
    """What msgspec decodes to the same struct, in pieces that follow each other.

    Memory views, wherever structs and lists of structs lead to them, are pieces of their own as they stand:
    they must not change before they are used.
    """
    pieces: list[Piece] = []
    behind = 0
    # From the end: how far from it a column begins is known once all that follows it is.
    for piece in reversed(list(_encode(value))):
        if isinstance(piece, int):
            fill = -(piece + behind + len(_FILL) + 1) % ALIGNMENT
            piece = _FILL + fill.to_bytes(1) + bytes(fill)  # noqa: PLW2901 - what stands for it
        pieces.append(piece)
        behind += len(piece)
    return pieces[::-1]


def _encode(value: Any) -> Iterator[Piece | int]:  # noqa: ANN401 - as above
    """The pieces, and behind each column its length where what fills it up is to be."""
    if isinstance(value, memoryview):
        yield _BIN + value.nbytes.to_bytes(4)
        yield value
    elif isinstance(value, msgspec.Struct):
        members = [(name, getattr(value, name)) for name in value.__struct_fields__]
        columns = sum(isinstance(member, memoryview) for _, member in members)
        yield _MAP + (len(members) + columns).to_bytes(4)
        for name, member in members:
            yield _ENCODER.encode(name)
            yield from _encode(member)
            if isinstance(member, memoryview):
                yield member.nbytes
    elif isinstance(value, list) and value and isinstance(value[0], msgspec.Struct):
        yield _ARRAY + len(value).to_bytes(4)
        for each in value:
            yield from _encode(each)
    else:
        yield _ENCODER.encode(value)
