"""Values with a name and a time each, as readings: those of one time together, in order of time."""

from collections.abc import Sequence
from typing import NamedTuple

from processor.codec.reading import Reading
from processor.codec.shape import Shapes
from processor.errors import DeadLetter, DeadReason


class Value(NamedTuple):
    """One value: event time in milliseconds since the epoch, metric, number, unit ("" for none).

    `stamped`: whether the time is the device's own, see `Reading`.
    """

    t: int
    name: str
    v: float
    unit: str
    stamped: bool = True


class Packs:
    """Makes readings of packs.

    Args:
        shapes: the names, shared by all formats.
    """

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes
        #: Values that no rule could judge (texts, bytes, sums, nulls) beside others that were read.
        self.passed_over = 0

    def build(
        self, values: Sequence[Value], *, passed_over: int, seq: int = -1, cyclic: bool = False
    ) -> tuple[Reading, ...]:
        """Readings in order of time.

        A name that comes twice at one time makes a reading of its own, so that the engine tells a duplicate
        from a conflict. The message's sequence number goes with the newest; `cyclic` as in `Reading`.

        Raises:
            DeadLetter: no value is a number, or a name is none.
        """
        if not values:
            raise DeadLetter(DeadReason.WRONG_TYPE, "no value is a number or a boolean")
        turns: dict[tuple[int, bool, str], int] = {}
        groups: dict[tuple[int, bool, int], dict[str, Value]] = {}
        for value in values:
            # What the device has stamped first: at its time, the other can move.
            at = (value.t, not value.stamped)
            turn = turns.get((*at, value.name), 0)
            turns[*at, value.name] = turn + 1
            groups.setdefault((*at, turn), {})[value.name] = value
        places = sorted(groups)
        readings = tuple(
            self._reading(place[:2], groups[place], seq if place is places[-1] else -1, cyclic)
            for place in places
        )
        self.passed_over += passed_over
        return readings

    def _reading(self, at: tuple[int, bool], group: dict[str, Value], seq: int, cyclic: bool) -> Reading:  # noqa: FBT001 - as it goes into the reading
        shape = tuple(group)
        names = self._shapes.known.get(shape) or self._shapes.admit(shape)
        units = tuple(value.unit for value in group.values())
        values = tuple(value.v for value in group.values())
        return Reading(
            at[0],
            seq,
            names,
            values,
            units if any(units) else None,
            stamped=not at[1],
            cyclic=cyclic and seq >= 0,
        )
