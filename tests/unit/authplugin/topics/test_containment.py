"""Matching and containment against brute force: every topic of a small world, one by one."""

import itertools
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.topics.containment import contains, matches, overlaps

# Two words, the empty level, a level of the broker's, and one word that no filter here names: it
# stands for all the words there are.
WORDS = ("a", "b", "", "$s", "z")
DEPTH = 5


@cache
def topics() -> tuple[str, ...]:
    names = {
        "/".join(levels) for depth in range(1, DEPTH + 1) for levels in itertools.product(WORDS, repeat=depth)
    }
    return tuple(sorted(names - {""}))


def matched(topic_filter: list[str], topic: list[str]) -> bool:
    """MQTT 5 §4.7, as slowly and plainly as it can be said."""
    if not topic_filter:
        return not topic
    if topic_filter == ["#"]:
        return True
    if not topic:
        return False
    return topic_filter[0] in ("+", topic[0]) and matched(topic_filter[1:], topic[1:])


@cache
def language(topic_filter: str) -> frozenset[str]:
    levels = topic_filter.split("/")
    return frozenset(
        topic
        for topic in topics()
        if matched(levels, topic.split("/")) and not (topic.startswith("$") and levels[0] in ("+", "#"))
    )


LEVELS = st.lists(st.sampled_from(["a", "b", "", "$s", "+"]), min_size=0, max_size=3)
FILTERS = st.builds(
    lambda levels, rest: "/".join([*levels, *(["#"] if rest else [])]), LEVELS, st.booleans()
).filter(bool)


@given(FILTERS, st.lists(st.sampled_from(WORDS), min_size=1, max_size=DEPTH).map("/".join).filter(bool))
def test_a_filter_matches_exactly_the_topics_of_the_standard(topic_filter: str, topic: str) -> None:
    assert matches(topic_filter, topic) == (topic in language(topic_filter))


@given(FILTERS, FILTERS)
def test_containment_agrees_with_brute_force(outer: str, inner: str) -> None:
    assert contains(outer, inner) == (language(inner) <= language(outer))


@given(FILTERS, FILTERS)
def test_overlap_agrees_with_brute_force(one: str, other: str) -> None:
    assert overlaps(one, other) == bool(language(one) & language(other))


@pytest.mark.parametrize(
    ("topic_filter", "topic"),
    [("a/#", "a"), ("a/#", "a/"), ("#", "/"), ("+/b", "/b"), ("+", "a"), ("/+", "/")],
)
def test_the_standards_own_examples_match(topic_filter: str, topic: str) -> None:
    assert matches(topic_filter, topic)


@pytest.mark.parametrize(
    ("topic_filter", "topic"), [("#", "$SYS/a"), ("+/a", "$SYS/a"), ("a/+", "a"), ("+", "/a"), ("a", "A")]
)
def test_the_standards_own_counter_examples_do_not_match(topic_filter: str, topic: str) -> None:
    assert not matches(topic_filter, topic)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [("+/#", "#"), ("/+/#", "/#"), ("a/#", "a/+"), ("a/#", "a"), ("+", "+"), ("$s/#", "$s/+")],
)
def test_a_filter_within_another_is_contained(outer: str, inner: str) -> None:
    assert contains(outer, inner)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [("a/+", "a/#"), ("a/+/#", "a/#"), ("#", "$s/#"), ("+/a", "$s/a"), ("a/b", "a/+"), ("a", "a/#")],
)
def test_a_filter_that_reaches_further_is_not_contained(outer: str, inner: str) -> None:
    assert not contains(outer, inner)
