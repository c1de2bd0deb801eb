"""Metric names: checked when they are new, and one object for equal shapes."""

from processor.errors import DeadLetter, DeadReason

#: Letters of a metric's name and of an event's type.
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
#: Longest name.
LONGEST = 64
#: Names kept in interned shapes; shapes beyond that are checked each time.
_INTERNED = 100_000


class Shapes:
    """The shapes of messages met so far: the names of their metrics, in their order.

    Args:
        metrics: most metrics in a message.
    """

    def __init__(self, metrics: int) -> None:
        self._metrics = metrics
        self._room = _INTERNED
        #: Shape → the one object that stands for it.
        self.known: dict[tuple[str, ...], tuple[str, ...]] = {}

    def admit(self, shape: tuple[str, ...]) -> tuple[str, ...]:
        """Check names that were not met before, and remember them while there is room.

        Raises:
            DeadLetter: no name, too many, or one that is none.
        """
        if not shape:
            raise DeadLetter(DeadReason.WRONG_TYPE, "metrics holds nothing")
        if len(shape) > self._metrics:
            raise DeadLetter(DeadReason.OVERSIZE, f"{len(shape)} metrics, at most {self._metrics}")
        for name in shape:
            if not is_name(name):
                raise DeadLetter(DeadReason.METRIC_NAME, "a name is 1 to 64 of A-Z a-z 0-9 . _ -")
        if len(shape) <= self._room:
            self._room -= len(shape)
            self.known[shape] = shape
        return shape


def is_name(text: str) -> bool:
    """Whether a text can name a metric or an event's type."""
    return 0 < len(text) <= LONGEST and LETTERS.issuperset(text)
