"""The two forms of a Salesforce record id: 15 characters, or 18 with a checksum of the capitals."""

_SHORT = 15
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def extend(short: str) -> str:
    """The 18-character form of a 15-character id; anything else comes back as it is."""
    if len(short) != _SHORT or not short.isascii() or not short.isalnum():
        return short
    capitals = [letter.isupper() for letter in short]
    sums = (sum(up << place for place, up in enumerate(capitals[start : start + 5])) for start in (0, 5, 10))
    return short + "".join(_LETTERS[each] for each in sums)
