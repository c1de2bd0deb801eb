import pytest

from processor.bridge.route import Router
from processor.settings import TopicSettings

TOPICS = TopicSettings()


@pytest.mark.parametrize(
    ("topic", "key", "tail"),
    [
        ("assets/A1/telemetry", b"A1", b"telemetry"),
        ("assets/A1/telemetry/a/b", b"A1", b"telemetry/a/b"),
        ("assets/A1/events/supply_low", b"A1", b"events/supply_low"),
        ("assets/A1/status", b"A1", b"status"),
    ],
)
def test_the_key_is_the_topics_asset_and_the_tail_is_the_rest(topic: str, key: bytes, tail: bytes) -> None:
    route = Router(TOPICS, 10).route(topic)
    assert route is not None
    assert (route.topic, route.key, route.headers) == (TOPICS.telemetry, key, [("t", tail)])


def test_what_the_gate_saw_goes_to_its_own_topic() -> None:
    router = Router(TOPICS, 10)
    named, nameless = router.route("assetgate/auth/A1"), router.route("assetgate/auth/-")
    assert named is not None
    assert nameless is not None
    assert (named.topic, named.key, nameless.key) == (TOPICS.auth, b"A1", None)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "assets",
        "assets//telemetry",
        "assets/A 1/telemetry",
        "assets/A1/commands/x",
        "assets/A1",
        "asset/A1/telemetry",
        "assets/" + "a" * 65 + "/telemetry",
        "assets/A1/telemetryx",
        "assetgate/auth/a/b",
        "assets/A1/telemetry/" + "x" * 237,
    ],
)
def test_other_topics_have_no_route(topic: str) -> None:
    assert Router(TOPICS, 10).route(topic) is None


def test_a_topic_of_the_longest_names_of_the_contract_has_a_route() -> None:
    topic = f"assets/{'a' * 64}/telemetry/{'m' * 64}"
    assert Router(TOPICS, 10).route(topic) is not None


def test_long_topics_are_not_remembered() -> None:
    router = Router(TOPICS, 100)
    for number in range(50):
        assert router.route(f"assets/A1/telemetry/{number}".ljust(60_000, "x")) is None
    assert len(router) == 0


def test_memory_is_bounded_whatever_is_published() -> None:
    router = Router(TOPICS, 100)
    for number in range(1000):
        router.route(f"assets/A{number}/telemetry")
    assert len(router) <= 100
