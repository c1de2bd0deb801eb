"""What the compiled reader of messages knows of assets: which one a key is, and its messages' metrics.

A copy of what `processor.engine.index` holds in Python's own objects, brought up to date before each run.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba.extending import register_jitable

from processor.codec.usual import SHAPES, Shape
from processor.engine.bank import Array, grown

_FEWEST = 64
#: Of the slots at most this part is in use.
_FULL = 0.5


@register_jitable
def _slot(buffer: Any, begin: Any, end: Any, slots: Any, ends: Any, letters: Any) -> Any:  # noqa: ANN401 - arrays, places
    """The slot of a key, or the free one where it would be."""
    # FNV-1a, 32 bits; the ids of assets are dealt out by those who run the fleet.
    mixed = np.int64(2_166_136_261)
    for i in range(begin, end):
        mixed = ((mixed ^ np.int64(buffer[i])) * np.int64(16_777_619)) & np.int64(0xFFFF_FFFF)
    mixed ^= mixed >> 15
    last = slots.shape[0] - 1
    place = mixed & last
    while slots[place] >= 0:
        at = slots[place]
        first = np.int64(ends[at])
        if ends[at + 1] - first == end - begin:
            same = True
            for i in range(end - begin):
                if letters[first + i] != buffer[begin + i]:
                    same = False
                    break
            if same:
                return place
        place = (place + 1) & last
    return place


@register_jitable
def find(buffer: Any, begin: Any, end: Any, slots: Any, ends: Any, letters: Any) -> Any:  # noqa: ANN401 - arrays, places
    """The asset whose key lies there, -1 for none."""
    return np.int64(slots[_slot(buffer, begin, end, slots, ends, letters)])


def enter(first, count, slots, ends, letters):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - compiled: one argument a column
    """Give assets from `first` to `count`, whose keys are in `letters` already, their slots."""
    for at in range(first, count):
        slots[_slot(letters, np.int64(ends[at]), np.int64(ends[at + 1]), slots, ends, letters)] = at


class Directory:
    """Keys and shapes of assets in columns.

    Attributes:
        count: assets that it knows.
        slots: open addressing by key: an asset, -1 where there is none.
        ends: of asset n's key in `letters`: from ``ends[n]`` to ``ends[n + 1]``.
        letters: the keys.
        shape: of each asset the number of its shape, -1 for none.
        first: of shape n the names from ``first[n]`` to ``first[n + 1]``.
        name_ends: of those names in `name_letters`, as `ends`.
        name_letters: the names.

    Args:
        enter: `enter`, compiled or plain.
    """

    def __init__(self, enter: Any) -> None:  # noqa: ANN401 - as numba makes it
        self._enter = enter
        self._numbers: dict[tuple[str, ...], int] = {}
        self.count = 0
        self.slots = np.full(_FEWEST, -1, np.int32)
        self.ends = np.zeros(1, np.int32)
        self.letters = np.zeros(0, np.uint8)
        self.shape = np.zeros(0, np.int32)
        self.first = np.zeros(1, np.int32)
        self.name_ends = np.zeros(1, np.int32)
        self.name_letters = np.zeros(0, np.uint8)

    @property
    def columns(self) -> tuple[Array, ...]:
        """All of it, as the reader takes it."""
        return (
            self.slots, self.ends, self.letters, self.shape, self.first, self.name_ends, self.name_letters
        )  # fmt: skip

    def follow(self, keys: Sequence[bytes], shapes: Sequence[Shape | None]) -> None:
        """Take in the assets that were added; of those before, only `shaped` tells anything new."""
        first, count = self.count, len(keys)
        if first == count:
            return
        begin = int(self.ends[first])
        added = b"".join(keys[first:])
        self.letters = grown(self.letters, begin + len(added))
        self.letters[begin : begin + len(added)] = np.frombuffer(added, np.uint8)
        self.ends = grown(self.ends, count + 1)
        self.ends[first + 1 : count + 1] = begin + np.cumsum([len(key) for key in keys[first:]])
        self.shape = grown(self.shape, count)
        self.shape[first:count] = [self._number(shape) for shape in shapes[first:]]
        self.count = count
        if count > len(self.slots) * _FULL:
            self.slots = np.full(1 << (round(count / _FULL)).bit_length(), -1, np.int32)
            first = 0
        self._enter(first, count, self.slots, self.ends, self.letters)

    def shaped(self, at: int, shape: Shape) -> None:
        """An asset has its shape now."""
        if at < self.count:
            self.shape[at] = self._number(shape)

    def _number(self, shape: Shape | None) -> int:
        if shape is None:
            return -1
        known = self._numbers.get(shape.names)
        if known is None:
            if len(self._numbers) >= SHAPES:
                return -1
            known = self._numbers[shape.names] = len(self._numbers)
            letters = "".join(shape.names).encode()
            ends = self.name_ends[-1] + np.cumsum([len(name) for name in shape.names])
            self.name_letters = np.append(self.name_letters, np.frombuffer(letters, np.uint8))
            self.name_ends = np.append(self.name_ends, ends.astype(np.int32))
            self.first = np.append(self.first, np.int32(len(self.name_ends) - 1))
        return known
