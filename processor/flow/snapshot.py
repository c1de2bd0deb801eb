"""A partition's memory as a record of the state topic: lz4 of a versioned whole."""

import struct
from collections.abc import Iterable, Sequence
from io import BytesIO

import cramjam
import msgspec

from processor.engine.pages import map_pages
from processor.engine.pieces import ALIGNMENT, Piece
from processor.errors import StreamError
from processor.kafka.client import LARGE_RECORD

VERSION = 1


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """What a partition knew.

    Attributes:
        version: of this format.
        offset: of the first input record that it does not cover.
        rules: name of the schedule of rule sets that made it.
        memory: `Engine.dump`, with a version of its own.
    """

    version: int
    offset: int
    rules: str
    memory: memoryview


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What every version begins with."""

    version: int


#: A value larger than this is not sent; librdkafka needs some room around it.
LARGEST_SNAPSHOT = LARGE_RECORD - 4096
#: lz4's levels in the order in which they are tried: half as quick again each, and smaller by a sixth.
_LEVELS = (1, 2, 4)
_CHUNK = 262_144
#: Before the frame stands one that every reader of lz4 passes over (frame format, "Skippable Frames"): magic
#: number, length of what follows, and how many bytes the frame after it is of. With that known they are
#: decompressed into the very place where they stay.
_SIZE = struct.Struct("<IIQ")
_SKIPPED, _SIZED = 0x184D2A50, 8
#: No byte of lz4 stands for more than this many.
_DENSEST = 255
#: First bytes of MessagePack's array of four and of `bin 32`, whose length of 32 bits follows.
_ARRAY, _BIN = b"\x94", b"\xc6"
_DECODER = msgspec.msgpack.Decoder(Snapshot)
_HEAD = msgspec.msgpack.Decoder(_Head)


class Encoder:
    """Snapshots of one partition, as quickly as lz4 can unless they must be smaller to be one record.

    What the last one needed, the next one needs as well: nothing is compressed twice again and again.
    """

    def __init__(self) -> None:
        self._level = 0

    def encode(self, offset: int, rules: str, memory: Sequence[Piece], *, version: int = VERSION) -> bytes:
        """The record's value; larger than `LARGEST_SNAPSHOT` when it cannot be made smaller.

        Args:
            offset: of the first input record that the memory does not cover.
            rules: hash of the rule set that made it.
            memory: `Engine.pieces`; a second copy of a memory never exists, only its compressed form.
            version: of this format.
        """
        size = sum(len(piece) for piece in memory)
        head = b"".join(
            (_ARRAY, *map(msgspec.msgpack.encode, (version, offset, rules)), _BIN, size.to_bytes(4))
        )
        value = _compress((head, *memory), len(head) + size, _LEVELS[self._level])
        if len(value) * 2 < LARGEST_SNAPSHOT:
            self._level = 0
        while len(value) > LARGEST_SNAPSHOT and self._level + 1 < len(_LEVELS):
            self._level += 1
            del value
            value = _compress((head, *memory), len(head) + size, _LEVELS[self._level])
        return value


def _compress(pieces: Iterable[Piece], size: int, level: int) -> bytes:
    lz4 = cramjam.lz4.Compressor(level=level)
    # Gives its own bytes away as they are, where a copy of all would be the dearest moment of a worker.
    value = BytesIO()
    value.write(_SIZE.pack(_SKIPPED, _SIZED, size))
    for piece in pieces:
        for at in range(0, len(piece), _CHUNK):
            # cramjam takes bytes alone: what is copied for it is little at a time.
            lz4.compress(bytes(piece[at : at + _CHUNK]))
            value.write(lz4.flush())
    value.write(lz4.finish())
    return value.getvalue()


def decode(value: bytes, where: str) -> Snapshot:
    """A snapshot from a record's value, its memory to be written to; `where` names the record.

    Raises:
        StreamError: it is damaged, or of a newer version than this program understands.
    """
    try:
        plain = _decompress(value)
        version = _HEAD.decode(plain).version
        # The version is read first: to an older program, the shape of a newer one looks like damage.
        if version <= VERSION:
            return _DECODER.decode(plain)
    except (cramjam.DecompressionError, msgspec.MsgspecError, ValueError) as error:
        raise StreamError(
            f"{where}: the snapshot is damaged ({error}): write a tombstone for its key to start that "
            "partition from its committed offset with an empty memory"
        ) from None
    raise StreamError(
        f"{where}: the snapshot has version {version}, this program reads up to {VERSION}: "
        "run the newer program"
    )


def _decompress(value: bytes) -> memoryview:
    """All of it, with its end where its columns are aligned, see `processor.engine.pieces.ALIGNMENT`."""
    if len(value) < _SIZE.size or _SIZE.unpack_from(value)[:2] != (_SKIPPED, _SIZED):
        # Of another version, which its head will tell, or of none.
        return memoryview(cramjam.lz4.decompress(value))
    size = _SIZE.unpack_from(value)[2]
    if not 0 < size <= len(value) * _DENSEST:
        raise ValueError(f"{len(value)} bytes cannot be {size}")
    room = -(-size // ALIGNMENT) * ALIGNMENT
    plain = memoryview(map_pages(room, filled=room))[-size:]
    if cramjam.lz4.decompress_into(memoryview(value)[_SIZE.size :], plain) != size:
        raise ValueError("it ends early")
    return plain
