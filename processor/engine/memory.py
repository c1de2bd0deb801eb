"""What a dump of a partition's memory is made of, and its bytes: versioned before anything else is read."""

from typing import Any

import msgspec

from processor.cases.episode import Episode
from processor.detect.detector import Target
from processor.engine.pieces import Piece, encode_pieces
from processor.errors import StreamError
from processor.rules.record import EraRecord

#: Version of the format; raised with every change that older code cannot read.
VERSION = 8


class LayoutMemory(msgspec.Struct, frozen=True):
    """For banks whose rules select alike: how many rows each series has, and each row's place in `rules`."""

    counts: memoryview
    rule: memoryview


class BankMemory(msgspec.Struct, frozen=True):
    """Rows of a detector: state and flag each; `rules` are ids, `layout` a place in `Memory.layouts`."""

    detector: str
    state: list[tuple[str, str]]
    rules: list[str]
    layout: int
    rows: memoryview
    flags: memoryview


class Memory(msgspec.Struct, frozen=True):
    """Columns are the bytes of arrays, see `processor.engine.index` and `processor.engine.order`."""

    version: int
    partition: int
    #: Names the rule sets, and where there are several also from when each is in force.
    rules: str
    eras: list[EraRecord]
    evidence: int
    clock: dict[str, Any]
    counts: tuple[int, ...]
    #: The assets' keys one after the other, and how many bytes each has.
    letters: memoryview
    lengths: memoryview
    shapes: list[tuple[str, ...]]
    #: Each asset's shape, -1 for none.
    shape: memoryview
    names: list[tuple[Target, str]]
    blocks: memoryview
    assets: memoryview
    samples: memoryview
    recent: memoryview
    places: memoryview
    pool: memoryview
    units: dict[int, str]
    layouts: list[LayoutMemory]
    banks: list[BankMemory]
    episodes: list[tuple[int, int, Episode]]

    @property
    def asset_count(self) -> int:
        """Assets in it."""
        return len(self.lengths)


class _Head(msgspec.Struct, frozen=True):
    version: int


_DECODER = msgspec.msgpack.Decoder(Memory)


def encode(memory: Memory) -> list[Piece]:
    """The bytes of a dump in pieces that follow each other: its columns are pieces as they stand."""
    return encode_pieces(memory)


def decode(data: bytes | memoryview, partition: int) -> Memory:
    """The dump of a partition; its columns are read in place.

    Raises:
        StreamError: the bytes are no dump, one of another partition, or of a format this version cannot read.
    """
    try:
        version = msgspec.msgpack.decode(data, type=_Head).version
    except msgspec.MsgspecError:
        raise StreamError(describe_damage(partition, ValueError("not a dump of this program"))) from None
    if version != VERSION:
        raise StreamError(
            f"the state of partition {partition} has format {version}, this version reads {VERSION}: "
            "run the version that wrote it"
        )
    try:
        memory = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise StreamError(describe_damage(partition, error)) from None
    if memory.partition != partition:
        raise StreamError(f"the state is of partition {memory.partition}, not of {partition}")
    return memory


def describe_damage(partition: int, error: Exception) -> str:
    """What is wrong with a dump, and what to do."""
    return (
        f"the state of partition {partition} is damaged ({error}): write a tombstone for its key in "
        "the state topic to start it from its committed offset with an empty memory"
    )
