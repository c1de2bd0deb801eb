"""Which topics a filter matches, and which filters lie within which (MQTT 5 §4.7).

SUBSCRIBE asks with a filter, so the question is not whether a topic matches but whether *every*
topic the asked filter matches is also matched by the granted one: ``a/#`` lies within ``#``, not
within ``a/+``.
"""

from authplugin.topics.grammar import MULTI, SINGLE, is_reserved


def matches(topic_filter: str, topic: str) -> bool:
    """Whether ``topic_filter`` matches ``topic``.

    Both must have passed the grammar. ``a/#`` matches ``a`` as well (§4.7.1.2); a leading
    wildcard matches no topic that begins with ``$`` (§4.7.2).
    """
    # A topic is a filter that matches itself alone.
    return contains(topic_filter, topic)


def contains(outer: str, inner: str) -> bool:
    """Whether every topic that ``inner`` matches is matched by ``outer``.

    Both must have passed the grammar, and be out of their ``$share``.
    """
    if is_reserved(inner) and outer[0] in {SINGLE, MULTI}:
        return False
    outer_levels = outer.split("/")
    inner_levels = inner.split("/")
    for position, wanted in enumerate(inner_levels):
        granted = outer_levels[position] if position < len(outer_levels) else None
        if granted == MULTI:
            return True
        if wanted == MULTI:
            return _holds_rest(outer_levels[position:], inner_levels[:position])
        if granted not in {SINGLE, wanted}:
            return False
    return outer_levels[len(inner_levels) :] in ([], [MULTI])


def overlaps(one: str, other: str) -> bool:
    """Whether some topic is matched by both filters."""
    if is_reserved(one) != is_reserved(other):
        return False
    one_levels = one.split("/")
    other_levels = other.split("/")
    for left, right in zip(one_levels, other_levels, strict=False):
        if MULTI in {left, right}:
            return True
        if left != right and SINGLE not in {left, right}:
            return False
    shared = min(len(one_levels), len(other_levels))
    rest = one_levels[shared:] or other_levels[shared:]
    # What is left may only be a # that matches its parent too, and the parent must be a topic.
    empty = shared == 1 and "" in {one_levels[0], other_levels[0]}
    return not rest or (rest == [MULTI] and not empty)


def _holds_rest(granted: list[str], parent: list[str]) -> bool:
    """Whether the levels left of a granted filter hold the parent level and everything below it.

    Only ``#`` does, with one exception: where the parent is the empty topic, which nobody can
    publish to, everything *below* it is enough, and ``+/#`` says that.
    """
    return granted == [MULTI] or (granted == [SINGLE, MULTI] and parent in ([], [""]))
