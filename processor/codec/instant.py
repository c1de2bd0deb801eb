"""Event time: milliseconds since the epoch, within the years that RFC 3339 can say."""

from typing import NoReturn

from processor.errors import DeadLetter, DeadReason

#: 9999-12-31T23:59:59.999Z.
LATEST = 253_402_300_799_999


def check_time(t: int, received: int, ahead: int) -> int:
    """`t` itself, when it is a time and no more than `ahead` milliseconds after the receipt.

    Raises:
        DeadLetter: it is not.
    """
    if not 0 <= t <= received + ahead:
        refuse_time(t, received)
    return t


def refuse_time(t: int, received: int) -> NoReturn:
    """Say what is wrong with a time that is out of bounds."""
    if 0 <= t <= LATEST:
        raise DeadLetter(DeadReason.CLOCK_AHEAD, f"{(t - received) / 1000:.0f} s ahead of receipt")
    raise DeadLetter(DeadReason.TIME_INVALID, "the time is outside the years 1970 to 9999")
