"""What our grammar and matcher say is what Mosquitto's own say, on every short text and pair of texts."""

import ctypes
import ctypes.util
import itertools
import random
from functools import cache

import pytest

from authplugin.topics.containment import matches
from authplugin.topics.grammar import check_filter, check_topic

pytestmark = pytest.mark.needs("libmosquitto")
SUCCESS = 0


@cache
def mosquitto() -> ctypes.CDLL:
    library = ctypes.CDLL(ctypes.util.find_library("mosquitto"))
    library.mosquitto_topic_matches_sub.argtypes = (
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_bool),
    )
    for check in (library.mosquitto_sub_topic_check, library.mosquitto_pub_topic_check):
        check.argtypes = (ctypes.c_char_p,)
    return library


def broker_matches(topic_filter: str, topic: str) -> bool:
    result = ctypes.c_bool()
    code = mosquitto().mosquitto_topic_matches_sub(
        topic_filter.encode(), topic.encode(), ctypes.byref(result)
    )
    assert code == SUCCESS
    return result.value


def holds(check: object, text: str) -> bool:
    assert callable(check)
    try:
        check(text)
    except ValueError:
        return False
    return True


def texts(letters: str, length: int) -> list[str]:
    return ["".join(text) for n in range(1, length + 1) for text in itertools.product(letters, repeat=n)]


def test_the_same_texts_are_filters_and_topics() -> None:
    for text in texts("a/+#$", 6):
        asked = text.encode()
        assert holds(check_filter, text) == (mosquitto().mosquitto_sub_topic_check(asked) == SUCCESS), text
        assert holds(check_topic, text) == (mosquitto().mosquitto_pub_topic_check(asked) == SUCCESS), text


def test_the_same_topics_match_for_every_pair_of_short_texts() -> None:
    filters = [text for text in texts("a/+#$", 4) if holds(check_filter, text)]
    topics = [text for text in texts("ab/$", 4) if holds(check_topic, text)]
    differing = [
        (one, other)
        for one in filters
        for other in topics
        if matches(one, other) != broker_matches(one, other)
    ]
    assert not differing
    assert len(filters) * len(topics) > 20_000


def test_the_same_topics_match_for_long_texts_too() -> None:
    source = random.Random(11)
    words = ["assets", "02iAB00000CdEfGYAV", "telemetry", "", "é", "$SYS", "temperature"]
    matched = 0
    for _ in range(20_000):
        topic = [source.choice(words) for _ in range(source.randrange(1, 9))]
        levels = [source.choice([level, level, level, "+"]) for level in topic]
        if source.random() < 0.5:
            levels[source.randrange(len(levels)) :] = source.choice([["#"], [], [source.choice(words)]])
        text, name = "/".join(levels), "/".join(topic)
        if not text or not name:
            continue
        assert matches(text, name) == broker_matches(text, name), (text, name)
        matched += matches(text, name)
    assert matched > 3_000
