"""Which asset a key is, and which metrics an asset's usual message has: as columns, for compiled passes."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, overload

import numpy as np
from numba.extending import register_jitable

from processor.codec.usual import SHAPES, Shape
from processor.engine.bank import Array, grown, zeros

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


class Directory(Sequence[bytes]):
    """The keys of assets, in the order in which they were met, and the shape of each, all in columns.

    A dictionary of Python's own objects would take a hundred bytes an asset more, and be made anew at each
    restart.

    Attributes:
        slots: open addressing by key: an asset, -1 where there is none.
        ends: of asset n's key in `letters`: from ``ends[n]`` to ``ends[n + 1]``.
        letters: the keys.
        number: of each asset the number of its shape, -1 for none.
        shapes: by their numbers.
        first: of shape n the names from ``first[n]`` to ``first[n + 1]``; of the first `SHAPES` alone.
        name_ends: of those names in `name_letters`, as `ends`.
        name_letters: the names.

    Args:
        enter: `enter`, compiled or plain.
    """

    def __init__(self, enter: Any) -> None:  # noqa: ANN401 - as numba makes it
        self._enter = enter
        self._count = 0
        #: Assets that have no slots yet.
        self._new: dict[bytes, int] = {}
        self.slots = np.full(_FEWEST, -1, np.int32)
        self.ends = np.zeros(1, np.int32)
        self.letters = np.zeros(0, np.uint8)
        self.number = np.zeros(0, np.int32)
        self.shapes: list[Shape] = []
        self._numbers: dict[tuple[str, ...], int] = {}
        self.first = np.zeros(1, np.int32)
        self.name_ends = np.zeros(1, np.int32)
        self.name_letters = np.zeros(0, np.uint8)

    @property
    def columns(self) -> tuple[Array, ...]:
        """All that `find` and the reader of messages take; those added since have no place in it."""
        self._settle()
        return (
            self.slots, self.ends, self.letters, self.number, self.first, self.name_ends, self.name_letters
        )  # fmt: skip

    @property
    def arrays(self) -> tuple[Array, ...]:
        """What grows with assets."""
        return self.slots, self.ends, self.letters, self.number

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        if isinstance(at, slice):
            first, end, _ = at.indices(self._count)
            ends = self.ends[first : max(first, end) + 1]
            return split(self.letters[ends[0] : ends[-1]], np.diff(ends).tolist())
        if at >= self._count:
            raise IndexError(at)
        return self.letters[self.ends[at] : self.ends[at + 1]].tobytes()

    def recall(self, key: bytes) -> int:
        """An asset that was added since `columns` were asked for; -1 when this is none."""
        return self._new.get(key, -1)

    def add(self, key: bytes) -> int:
        """The number of an asset not met before."""
        at, begin = self._count, int(self.ends[self._count])
        end = begin + len(key)
        self.letters, self.ends = grown(self.letters, end), grown(self.ends, at + 2)
        self.number = grown(self.number, at + 1)
        self.letters[begin:end] = np.frombuffer(key, np.uint8)
        self.ends[at + 1], self.number[at] = end, -1
        self._new[key] = at
        self._count += 1
        return at

    def adopt(self, letters: Array, lengths: Array, number: Array, shapes: Sequence[tuple[str, ...]]) -> None:
        """Take over the columns of an earlier life, to be written to: only in an empty directory.

        Args:
            letters: the keys.
            lengths: of each.
            number: of each asset's shape.
            shapes: the names of each.

        Raises:
            ValueError: they do not fit together.
        """
        self.ends = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=self.ends[1:])
        if self.ends[-1] != len(letters) or len(number) != len(lengths):
            raise ValueError("not as many keys as assets")
        if (number < -1).any() or (number >= len(shapes)).any():
            raise ValueError("a shape that there is not")
        for names in shapes:
            self.intern(names)
        self.letters, self.number = letters, number
        self._count = len(number)
        self._place(0)

    def shape(self, at: int) -> Shape | None:
        """An asset's shape; None while it has none."""
        number = int(self.number[at])
        return None if number < 0 else self.shapes[number]

    def set_shape(self, at: int, names: tuple[str, ...]) -> None:
        """Give an asset its shape."""
        self.number[at] = self.intern(names)

    def intern(self, names: tuple[str, ...]) -> int:
        """The number of the one shape of these names."""
        known = self._numbers.get(names)
        if known is None:
            known = self._numbers[names] = len(self.shapes)
            self.shapes.append(Shape(names))
            if known < SHAPES:
                letters = "".join(names).encode()
                ends = self.name_ends[-1] + np.cumsum([len(name.encode()) for name in names])
                self.name_letters = np.append(self.name_letters, np.frombuffer(letters, np.uint8))
                self.name_ends = np.append(self.name_ends, ends.astype(np.int32))
                self.first = np.append(self.first, np.int32(len(self.name_ends) - 1))
        return known

    def _settle(self) -> None:
        """Give those added their slots."""
        if self._new:
            first = self._count - len(self._new)
            self._new.clear()
            self._place(first)

    def _place(self, first: int) -> None:
        if self._count > len(self.slots) * _FULL:
            size = 1 << round(self._count / _FULL).bit_length()
            self.slots = zeros((size,), self.slots.dtype, filled=size)
            self.slots[:] = -1
            first = 0
        self._enter(first, self._count, self.slots, self.ends, self.letters)


def split(letters: Array | memoryview, lengths: Sequence[int] | memoryview) -> list[bytes]:
    """Keys that follow each other, one by one."""
    text = bytes(letters)
    return [text[end - length : end] for length, end in zip(lengths, accumulate(lengths), strict=True)]
