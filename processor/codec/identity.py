"""The two forms of a Salesforce record id: 15 characters, or 18 with a checksum of the capitals."""

from processor.errors import DeadLetter, DeadReason

_SHORT = 15
_LONG = 18
#: The first letters of a record id say of what kind the record is.
_KIND = 3
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def extend(short: str) -> str:
    """The 18-character form of a 15-character id; anything else comes back as it is."""
    if len(short) != _SHORT or not short.isascii() or not short.isalnum():
        return short
    capitals = [letter.isupper() for letter in short]
    sums = (sum(up << place for place, up in enumerate(capitals[start : start + 5])) for start in (0, 5, 10))
    return short + "".join(_LETTERS[each] for each in sums)


def check_asset(claimed: str, asset: str) -> None:
    """Refuse a payload that says it is of another asset than its topic.

    Raises:
        DeadLetter: it does.
    """
    if claimed != asset and extend(claimed) != asset:
        raise DeadLetter(DeadReason.IDENTITY_MISMATCH, "asset differs from the topic's")


def names_asset(text: str, asset: str) -> bool:
    """Whether a text names an asset: this one, or any in the same form of record id.

    An id of another form cannot be told from any other word.
    """
    long = extend(text)
    return long == asset or (
        len(long) == _LONG
        and long.isascii()
        and long.isalnum()
        and long[:_KIND] == asset[:_KIND]
        and extend(long[:_SHORT]) == long
        and extend(asset[:_SHORT]) == asset
    )
