"""Asset and device ids: which strings may stand in topics, keys and events.

An asset id becomes a topic level, a Kafka key and an MQTT user name, so only letters that mean
nothing there are let in. Salesforce record ids come in two forms: 15 case-sensitive characters, and
18 where the last three say which of the 15 are upper case, for readers that lose case.
"""

from enum import StrEnum

MAX_ASSET_ID = 64
MAX_DEVICE_ID = 128

_UPPER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SAFE = _UPPER | frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_UPPER_BITS = bytes(b"01"[chr(byte) in _UPPER] for byte in range(256))
_SUFFIX_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SUFFIX_PAIRS = [_SUFFIX_LETTERS[n & 31] + _SUFFIX_LETTERS[n >> 5] for n in range(1024)]
_SHORT = 15
_LENGTHS = frozenset({_SHORT, 18})


class IdForm(StrEnum):
    """How an issuer writes its asset ids."""

    SALESFORCE = "salesforce"
    OPAQUE = "opaque"


# Reading a member of an enumeration costs more than the whole check of an opaque id.
_OPAQUE = IdForm.OPAQUE


def is_asset_id(value: str) -> bool:
    """Whether ``value`` is safe as one topic level: 1 to 64 letters, digits, ``-`` and ``_``."""
    return 0 < len(value) <= MAX_ASSET_ID and _SAFE.issuperset(value)


def is_device_id(value: str) -> bool:
    """Whether ``value`` is 1 to 128 printable characters: devices choose their own id."""
    return 0 < len(value) <= MAX_DEVICE_ID and value.isprintable()


def canonical_asset_id(value: str, form: IdForm) -> str:
    """The one form of an asset id that topics, keys and events use.

    Args:
        value: the id as the token or a user name has it.
        form: Salesforce ids of 15 characters grow to 18, and 18 are checked; opaque ids stay.

    Raises:
        ValueError: not an id of that form, or its last three characters do not fit the rest.
    """
    if form is _OPAQUE:
        if not is_asset_id(value):
            raise ValueError("is not 1 to 64 letters, digits, - and _")
        return value
    if len(value) not in _LENGTHS or not (value.isascii() and value.isalnum()):
        raise ValueError("is not a record id of 15 or 18 letters and digits")
    ending = suffix(value[:_SHORT])
    if len(value) == _SHORT:
        return value + ending
    if value[_SHORT:] != ending:
        raise ValueError("ends in three characters that do not fit the first fifteen")
    return value


def suffix(record_id: str) -> str:
    """The three characters that turn a 15-character record id into the 18-character form.

    One for each group of five: bit i is set when the group's i-th character is upper case.
    """
    # Read backwards the fifteen bits are one number, with the first group in its lowest five.
    number = int(record_id.encode().translate(_UPPER_BITS)[::-1], 2)
    return _SUFFIX_PAIRS[number & 1023] + _SUFFIX_LETTERS[number >> 10]
