"""One number as text: ``text/plain`` on a topic that names its metric."""

from processor.codec.reading import Reading
from processor.codec.shape import Shapes
from processor.errors import DeadLetter, DeadReason

_LONGEST = 64
_SPACE = b" \t\r\n"
_LETTERS = frozenset(b"0123456789+-.eE")
_NON_FINITE = frozenset({b"nan", b"inf", b"infinity"})


class TextCodec:
    """Decodes a decimal number, with or without a sign and an exponent; see `processor.codec.formats.Format`.

    Args:
        shapes: the names, shared by all formats.
    """

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes

    def telemetry(self, _value: bytes, _received: int, _asset: str) -> tuple[Reading, ...]:
        """A number alone says of no metric whose it is."""
        raise DeadLetter(DeadReason.WRONG_TYPE, "one number as text needs a topic that names its metric")

    def metric(self, value: bytes, received: int, _asset: str, name: str) -> tuple[Reading, ...]:
        """The one value, measured when it was received."""
        names = self._shapes.known.get((name,)) or self._shapes.admit((name,))
        return (Reading(received, -1, names, (_parse(value.strip(_SPACE)),), stamped=False),)


def _parse(text: bytes) -> float:
    if text.lstrip(b"+-").lower() in _NON_FINITE:
        raise DeadLetter(DeadReason.NON_FINITE, "NaN or infinite")
    if len(text) > _LONGEST or not _LETTERS.issuperset(text):
        raise DeadLetter(DeadReason.MALFORMED, "not one decimal number")
    try:
        number = float(text)
    except ValueError:
        raise DeadLetter(DeadReason.MALFORMED, "not one decimal number") from None
    if number - number != 0:
        raise DeadLetter(DeadReason.NON_FINITE, "a number is beyond a double")
    return number
