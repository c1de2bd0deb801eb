import pytest

from authplugin.topics.grammar import check_filter, check_topic, is_reserved, unshare

GOOD_TOPICS = ("a", "/", "//", "a/b", "a//b", "/a", "a/", "$SYS/x", "ä/é", "a b", "a" * 65_535, "€" * 21_845)
BAD_TEXTS = {
    "": "is empty",
    "a" * 65_536: "65535 bytes",
    "€" * 21_846: "65535 bytes",
    "a\x00b": "control character",
    "a\nb": "control character",
    "\x7f": "control character",
    "\x9f": "control character",
    "\ud800": "control character",
    "\ufdd0": "control character",
    "\ufffe": "control character",
    "\U0010ffff": "control character",
}


@pytest.mark.parametrize("topic", GOOD_TOPICS, ids=lambda topic: topic[:8])
def test_a_topic_name_is_any_text_without_wildcards(topic: str) -> None:
    check_topic(topic)
    check_filter(topic)


@pytest.mark.parametrize(("text", "why"), BAD_TEXTS.items(), ids=lambda text: ascii(text)[:12])
def test_text_that_mqtt_forbids_is_neither_topic_nor_filter(text: str, why: str) -> None:
    for check in (check_topic, check_filter):
        with pytest.raises(ValueError, match=why):
            check(text)


@pytest.mark.parametrize("text", ["\u2028", "\U000e0001", "\u00a0", "\ufdcf", "\ufdf0", "\ue000"])
def test_odd_but_legal_characters_are_let_through(text: str) -> None:
    check_topic(text)


@pytest.mark.parametrize("topic", ["a/+", "#", "a#", "+"])
def test_a_topic_name_has_no_wildcard(topic: str) -> None:
    with pytest.raises(ValueError, match="wildcard"):
        check_topic(topic)


@pytest.mark.parametrize("topic_filter", ["#", "+", "a/#", "+/a/#", "a/+/b", "/#", "/+", "$SYS/#"])
def test_wildcards_alone_in_their_level_make_a_filter(topic_filter: str) -> None:
    check_filter(topic_filter)


@pytest.mark.parametrize("topic_filter", ["a#", "#/a", "a/#/b", "a/b#", "##", "a+", "+a/b", "a/b+/c", "++"])
def test_a_wildcard_beside_other_characters_is_no_filter(topic_filter: str) -> None:
    with pytest.raises(ValueError, match="not alone"):
        check_filter(topic_filter)


@pytest.mark.parametrize(
    ("asked", "inner"),
    [
        ("a/b", "a/b"),
        ("$share/g/a/#", "a/#"),
        ("$share/g//a", "/a"),
        ("$share/g/$share/h/a", "$share/h/a"),
        ("$shared/g/a", "$shared/g/a"),
        ("$SYS/#", "$SYS/#"),
    ],
)
def test_a_shared_subscription_is_judged_by_the_filter_inside(asked: str, inner: str) -> None:
    assert unshare(asked) == inner


@pytest.mark.parametrize("asked", ["$share", "$share/", "$share//a", "$share/+/a", "$share/g#/a"])
def test_a_share_needs_a_plain_group(asked: str) -> None:
    with pytest.raises(ValueError, match="group name"):
        unshare(asked)


@pytest.mark.parametrize("asked", ["$share/g", "$share/g/"])
def test_a_share_needs_a_filter(asked: str) -> None:
    with pytest.raises(ValueError, match="without a filter"):
        unshare(asked)


def test_topics_of_the_broker_begin_with_a_dollar() -> None:
    assert is_reserved("$SYS/x")
    assert not is_reserved("a/$SYS")
