"""A partition's memory as a record of the state topic: lz4 of a versioned whole."""

from collections.abc import Iterable, Sequence

import cramjam
import msgspec

from processor.engine.pieces import Piece
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
#: lz4's quick level costs a quarter of the better one and gives a third more.
_QUICK = 1
_BETTER = 4
_CHUNK = 262_144
#: First bytes of MessagePack's array of four and of `bin 32`, whose length of 32 bits follows.
_ARRAY, _BIN = b"\x94", b"\xc6"
_DECODER = msgspec.msgpack.Decoder(Snapshot)
_HEAD = msgspec.msgpack.Decoder(_Head)


def encode(offset: int, rules: str, memory: Sequence[Piece], *, version: int = VERSION) -> bytes:
    """The record's value: compressed as quickly as lz4 can, unless it must be small to be one record.

    Args:
        offset: of the first input record that the memory does not cover.
        rules: hash of the rule set that made it.
        memory: `Engine.pieces`; a second copy of a memory never exists, only its compressed form.
        version: of this format.
    """
    size = sum(len(piece) for piece in memory)
    head = b"".join((_ARRAY, *map(msgspec.msgpack.encode, (version, offset, rules)), _BIN, size.to_bytes(4)))
    value = _compress((head, *memory), _QUICK)
    return value if len(value) <= LARGEST_SNAPSHOT else _compress((head, *memory), _BETTER)


def _compress(pieces: Iterable[Piece], level: int) -> bytes:
    lz4 = cramjam.lz4.Compressor(level=level)
    for piece in pieces:
        for at in range(0, len(piece), _CHUNK):
            # cramjam takes bytes alone: what is copied for it is little at a time.
            lz4.compress(bytes(piece[at : at + _CHUNK]))
    return bytes(lz4.finish())


def decode(value: bytes, where: str) -> Snapshot:
    """A snapshot from a record's value; `where` names the record.

    Raises:
        StreamError: it is damaged, or of a newer version than this program understands.
    """
    try:
        plain = memoryview(cramjam.lz4.decompress(value))
        version = _HEAD.decode(plain).version
        # The version is read first: to an older program, the shape of a newer one looks like damage.
        if version <= VERSION:
            return _DECODER.decode(plain)
    except (cramjam.DecompressionError, msgspec.MsgspecError) as error:
        raise StreamError(
            f"{where}: the snapshot is damaged ({error}): write a tombstone for its key to start that "
            "partition from its committed offset with an empty memory"
        ) from None
    raise StreamError(
        f"{where}: the snapshot has version {version}, this program reads up to {VERSION}: "
        "run the newer program"
    )
