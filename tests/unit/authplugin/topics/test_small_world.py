"""Every filter and every topic of a small world against each other: nothing left to chance."""

import itertools
from functools import cache

import pytest

from authplugin.topics.containment import contains, matches, overlaps
from authplugin.topics.grammar import check_filter, check_topic, is_reserved, unshare
from authplugin.topics.template import Templates, check_apart, compile_template

# "z" is named by no filter: it stands for every other word there is.
WORDS = ("a", "", "$s", "z")
FILTER_LEVELS = ("a", "", "$s", "+")


def names(words: tuple[str, ...], depth: int) -> list[str]:
    levels = itertools.chain.from_iterable(itertools.product(words, repeat=n) for n in range(1, depth + 1))
    return sorted({"/".join(level) for level in levels} - {""})


TOPICS = tuple(names(WORDS, 4))
FILTERS = (*names(FILTER_LEVELS, 3), "#", *(f"{name}/#" for name in ["", *names(FILTER_LEVELS, 2)]))


def matched(topic_filter: tuple[str, ...], topic: tuple[str, ...]) -> bool:
    """MQTT 5 §4.7, as slowly and plainly as it can be said."""
    if topic_filter[:1] == ("#",):
        return True
    if not topic_filter or not topic:
        return topic_filter == topic
    return topic_filter[0] in {"+", topic[0]} and matched(topic_filter[1:], topic[1:])


@cache
def language(topic_filter: str) -> frozenset[str]:
    levels = tuple(topic_filter.split("/"))
    return frozenset(
        topic
        for topic in TOPICS
        if matched(levels, tuple(topic.split("/")))
        and not (topic.startswith("$") and topic_filter[0] in {"+", "#"})
    )


@pytest.mark.parametrize("topic_filter", FILTERS)
def test_every_filter_matches_holds_and_meets_what_it_should(topic_filter: str) -> None:
    mine = language(topic_filter)
    assert {topic for topic in TOPICS if matches(topic_filter, topic)} == mine
    for other in FILTERS:
        theirs = language(other)
        assert contains(topic_filter, other) == (theirs <= mine), other
        assert overlaps(topic_filter, other) == (not mine.isdisjoint(theirs)), other


def holds(check: object, text: str) -> bool:
    assert callable(check)
    try:
        check(text)
    except ValueError:
        return False
    return True


def test_every_short_text_is_a_filter_or_topic_as_the_standard_says() -> None:
    for length in range(1, 6):
        for letters in itertools.product("a/+#$", repeat=length):
            text = "".join(letters)
            levels = text.split("/")
            whole = all(level in {"+", "#"} or not {"+", "#"} & set(level) for level in levels)
            assert holds(check_filter, text) == (whole and "#" not in levels[:-1]), text
            assert holds(check_topic, text) == (not {"+", "#"} & set(text)), text
            assert is_reserved(text) == (text[0] == "$")


def test_every_short_share_is_unwrapped_or_refused() -> None:
    for length in range(6):
        for letters in itertools.product("g/+#$", repeat=length):
            rest = "".join(letters)
            group, slash, inner = rest.partition("/")
            text = f"$share/{rest}"
            if group and not {"+", "#"} & set(group) and slash and inner:
                assert unshare(text) == inner
            else:
                assert not holds(unshare, text), text
            assert unshare(f"x{text}") == f"x{text}"
            assert unshare(f"$shared/{rest}") == f"$shared/{rest}"


BORDERS = {0x20, 0x7F, 0xA0, 0xD800, 0xE000, 0xFDD0, 0xFDF0, 0xFFFE, 0x10000, 0x1FFFE, 0x20000, 0x10FFFE}


def test_every_character_near_a_border_is_judged_as_unicode_classes_it() -> None:
    for border in BORDERS:
        for point in range(border - 2, min(border + 3, 0x110000)):
            forbidden = (
                point in range(0x20)
                or point in range(0x7F, 0xA0)
                or point in range(0xD800, 0xE000)
                or point in range(0xFDD0, 0xFDF0)
                or point % 0x10000 in {0xFFFE, 0xFFFF}
            )
            # The second text is not printable as a whole, so its characters are looked at one by one.
            assert holds(check_topic, chr(point)) == (not forbidden), hex(point)
            assert holds(check_topic, f"a\u2028{chr(point)}") == (not forbidden), hex(point)


@pytest.mark.parametrize(("letter", "most"), [("a", 65_535), ("\xe9", 32_767), ("€", 21_845), ("😀", 16_383)])
def test_the_longest_text_is_65535_bytes_whatever_its_letters(letter: str, most: int) -> None:
    assert holds(check_topic, letter * most)
    assert not holds(check_topic, letter * (most + 1))


def test_a_text_too_long_and_of_no_characters_is_refused_for_its_length() -> None:
    with pytest.raises(ValueError, match="65535 bytes"):
        check_topic("\ud800" * 21_846)


ONE_ID = ("{aid}/a", "a/{aid}", "{aid}/+", "a/b/{aid}", "b/{aid}/#", "c/a/{aid}")


def test_templates_stand_apart_exactly_when_no_two_ids_can_meet() -> None:
    """Two templates collide when filling both with any ids makes filters that share a topic."""
    ids = ("a", "b", "c", "x")
    for count in (1, 2, 3, 4):
        for texts in itertools.permutations(ONE_ID, count):
            compiled = [compile_template(text) for text in texts]
            meet = any(
                overlaps(one.fill(mine), other.fill(theirs))
                for one, other in itertools.combinations(compiled, 2)
                for mine in ids
                for theirs in ids
                if one.head != other.head
            )
            for cut in range(count + 1):
                templates = Templates(tuple(compiled[:cut]), tuple(compiled[cut:]))
                assert holds(check_apart, templates) == (not meet), texts  # type: ignore[arg-type] # a check of its own
