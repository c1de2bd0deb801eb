"""A struct with large columns as MessagePack in pieces: the columns themselves, never a copy of the whole."""

from collections.abc import Iterator
from typing import Any

import msgspec

Piece = bytes | memoryview
_ENCODER = msgspec.msgpack.Encoder()
#: First bytes of MessagePack's `bin 32`, `array 32` and `map 32`; a length of 32 bits follows.
_BIN, _ARRAY, _MAP = b"\xc6", b"\xdd", b"\xdf"


def encode_pieces(value: Any) -> Iterator[Piece]:  # noqa: ANN401 - whatever msgspec encodes
    """What `msgspec.msgpack.encode` gives of a struct, in pieces that follow each other.

    Memory views, wherever structs and lists of structs lead to them, are pieces of their own as they stand:
    they must not change before they are used.
    """
    if isinstance(value, memoryview):
        yield _BIN + value.nbytes.to_bytes(4)
        yield value
    elif isinstance(value, msgspec.Struct):
        yield _MAP + len(value.__struct_fields__).to_bytes(4)
        for name in value.__struct_fields__:
            yield _ENCODER.encode(name)
            yield from encode_pieces(getattr(value, name))
    elif isinstance(value, list) and value and isinstance(value[0], msgspec.Struct):
        yield _ARRAY + len(value).to_bytes(4)
        for each in value:
            yield from encode_pieces(each)
    else:
        yield _ENCODER.encode(value)
