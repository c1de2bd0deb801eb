"""Topic names and topic filters: which strings MQTT 5 §4.7 allows, and which of those a device may use.

Stricter than the standard in two places that it leaves to the receiver: control characters and
non-characters (§1.5.4) are refused, and a topic that begins with ``$`` is the broker's own (§4.7.2).
"""

MAX_BYTES = 65_535
"""Longest topic: MQTT gives its UTF-8 text a two-byte length (§1.5.4)."""

SINGLE = "+"
MULTI = "#"
SHARE = "$share"


def check_topic(topic: str) -> None:
    """Check a topic name, as in PUBLISH.

    Raises:
        ValueError: no topic name; says what is wrong with it.
    """
    _check_text(topic)
    if SINGLE in topic or MULTI in topic:
        raise ValueError("has a wildcard: a topic name has none")


def check_filter(topic_filter: str) -> None:
    """Check a topic filter, as in SUBSCRIBE, after `unshare`.

    Raises:
        ValueError: no topic filter; says what is wrong with it.
    """
    _check_text(topic_filter)
    levels = topic_filter.split("/")
    for position, level in enumerate(levels, start=1):
        if MULTI in level and (level != MULTI or position != len(levels)):
            raise ValueError("has a # that is not alone in the last level")
        if SINGLE in level and level != SINGLE:
            raise ValueError("has a + that is not alone in its level")


def unshare(topic_filter: str) -> str:
    """The filter inside ``$share/<group>/<filter>``, any other as it is (MQTT 5 §4.8.2).

    Raises:
        ValueError: a shared subscription without a group, with a wildcard in it, or without a filter.
    """
    if not topic_filter.startswith(SHARE + "/") and topic_filter != SHARE:
        return topic_filter
    _, _, rest = topic_filter.partition("/")
    group, _, inner = rest.partition("/")
    if not group or SINGLE in group or MULTI in group:
        raise ValueError("is a shared subscription without a plain group name")
    if not inner:
        raise ValueError("is a shared subscription without a filter")
    return inner


def is_reserved(topic: str) -> bool:
    """Whether a topic or filter begins with ``$``: such topics belong to the broker (§4.7.2)."""
    return topic.startswith("$")


def _check_text(text: str) -> None:
    if not text:
        raise ValueError("is empty")
    # One character is at most four bytes, so short texts need no encoding to be measured.
    if len(text) * 4 > MAX_BYTES and len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES} bytes")
    if not text.isprintable() and any(map(_is_forbidden, text)):
        raise ValueError("has a control character or no character at all in it")


def _is_forbidden(character: str) -> bool:
    """Control characters, surrogates and non-characters (MQTT 5 §1.5.4)."""
    point = ord(character)
    return (
        point < 0x20  # noqa: PLR2004 - the borders of Unicode's classes are their own names
        or 0x7F <= point < 0xA0  # noqa: PLR2004
        or 0xD800 <= point < 0xE000  # noqa: PLR2004
        or 0xFDD0 <= point < 0xFDF0  # noqa: PLR2004
        or point & 0xFFFE == 0xFFFE  # noqa: PLR2004
    )
