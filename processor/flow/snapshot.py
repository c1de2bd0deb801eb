"""A partition's memory as a record of the state topic: ``partition.shard`` → lz4 of a versioned whole."""

import cramjam
import msgspec

from processor.errors import StreamError

VERSION = 1
#: A partition's assets are in one shard; the key has the place for more.
SHARD = 0


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """What a partition knew.

    Attributes:
        version: of this format.
        offset: of the first input record that it does not cover.
        rules: hash of the rule set that made it.
        memory: `Engine.dump`, with a version of its own.
    """

    version: int
    offset: int
    rules: str
    memory: bytes


_DECODER = msgspec.msgpack.Decoder(Snapshot)


def encode_key(partition: int) -> bytes:
    """The key of a partition's record."""
    return f"{partition}.{SHARD}".encode()


def encode(snapshot: Snapshot) -> bytes:
    """The record's value."""
    return bytes(cramjam.lz4.compress(msgspec.msgpack.encode(snapshot)))


def decode(value: bytes, where: str) -> Snapshot:
    """A snapshot from a record's value; `where` names the record.

    Raises:
        StreamError: it is damaged, or of a newer version than this program understands.
    """
    try:
        snapshot = _DECODER.decode(cramjam.lz4.decompress(value))
    except (cramjam.DecompressionError, msgspec.MsgspecError) as error:
        raise StreamError(
            f"{where}: the snapshot is damaged ({error}): write a tombstone for its key to start that "
            "partition from its committed offset with an empty memory"
        ) from None
    if snapshot.version > VERSION:
        raise StreamError(
            f"{where}: the snapshot has version {snapshot.version}, this program reads up to {VERSION}: "
            "run the newer program"
        )
    return snapshot
