"""Fields of a protobuf message as they lie in its bytes: no schema, no code made from one.

Source: the encoding of protocol buffers. Groups, which proto3 and Sparkplug do not have, are refused.
"""

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
#: Seven bits a byte: ten hold 64.
_LONGEST_VARINT = 10
_LARGEST = 2**64
#: The bit that says that more bytes follow.
_MORE = 0x80


class ProtobufError(ValueError):
    """Raised for bytes that are no message."""


class Field(NamedTuple):
    """One field: number, wire type, and an int (VARINT) or the bytes."""

    number: int
    wire: int
    integer: int
    data: bytes


def read_fields(message: bytes) -> Iterator[Field]:
    """The fields, in their order; a message inside is bytes, for another call.

    Raises:
        ProtobufError: the bytes are no message.
    """
    at, end = 0, len(message)
    while at < end:
        # One byte is the usual varint.
        tag, at = (message[at], at + 1) if message[at] < _MORE else _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise ProtobufError("a field without a number")
        if wire == VARINT:
            integer, at = _varint(message, at)
            yield Field(number, wire, integer, b"")
            continue
        if wire == BYTES:
            small = at < end and message[at] < _MORE
            size, at = (message[at], at + 1) if small else _varint(message, at)
        elif wire in _SIZES:
            size = _SIZES[wire]
        else:
            raise ProtobufError("a group, or a wire type that nobody has assigned")
        start, at = at, at + size
        if at > end:
            raise ProtobufError("the bytes end too early")
        yield Field(number, wire, 0, message[start:at])


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A varint and where it ends."""
    found = shift = 0
    for byte in message[at : at + _LONGEST_VARINT]:
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < _MORE:
            if found >= _LARGEST:
                break
            return found, at
        shift += 7
    raise ProtobufError("an integer that does not end, or is beyond 64 bits")
