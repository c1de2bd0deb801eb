"""The two forms of a Salesforce record id: 15 characters, or 18 with a checksum of the capitals."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def extend(short: str) -> str:
    """The 18-character form of a 15-character id; anything else comes back as it is."""
    if len(short) != 15 or not short.isascii() or not short.isalnum():
        return short
    groups = (short[start : start + 5] for start in (0, 5, 10))
    return short + "".join(
        _LETTERS[sum(1 << place for place, letter in enumerate(group) if letter.isupper())] for group in groups
    )
