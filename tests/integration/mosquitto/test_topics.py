"""What a device may touch: its own topics and nothing of anyone else's, however it asks."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from authplugin.jose.identity import suffix
from tests.support.mqtt import PUBLISH, Closed, Will, packet, text

from .conftest import ASSET, OTHER, OTHER_SHORT, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")


@pytest.mark.parametrize("tail", ["telemetry", "telemetry/temperature", "events/supply_low", "status"])
def test_a_device_publishes_on_its_own_topics(gated: Gated, tail: str) -> None:
    with gated.service() as bridge, gated.device() as client:
        bridge.subscribe("assets/#")
        assert client.publish(f"assets/{ASSET}/{tail}", b"1") == 0
        (message,) = bridge.messages(1)
        assert (message.topic, message.payload) == (f"assets/{ASSET}/{tail}", b"1")


@pytest.mark.parametrize(
    "topic",
    [
        f"assets/{OTHER}/telemetry",
        f"assets/{OTHER}/status",
        f"assets/{ASSET}/commands/reboot",
        f"assets/{ASSET}",
        f"assets/{ASSET}x/telemetry",
        f"assets/{ASSET}/telemetryx",
        f"assets/{ASSET}/status/x",
        f"/assets/{ASSET}/telemetry",
        f"assets//{ASSET}/telemetry",
        f"ASSETS/{ASSET}/telemetry",
        "assetgate/heartbeat",
        "assets/bridge/telemetry",
        "x",
    ],
)
def test_publishing_anywhere_else_is_refused_counted_and_delivered_to_nobody(
    gated: Gated, topic: str
) -> None:
    before = gated.decisions(reason="topic_denied")
    with gated.service() as bridge, gated.device() as client:
        bridge.subscribe("assets/#", "assetgate/heartbeat")
        assert client.publish(topic) == 0x87
        assert client.publish(f"assets/{ASSET}/status", b"last") == 0
        assert bridge.messages(1)[0].payload == b"last"
    assert gated.decisions(reason="topic_denied") == before + 1


def test_below_version_5_a_refused_publish_is_acknowledged_and_dropped(gated: Gated) -> None:
    before = gated.decisions(reason="topic_denied")
    with gated.service() as bridge, gated.device(version=4) as client:
        bridge.subscribe("assets/#")
        assert client.publish(f"assets/{OTHER}/telemetry") == 0
        assert client.publish(f"assets/{ASSET}/status", b"last") == 0
        assert bridge.messages(1)[0].payload == b"last"
    assert gated.decisions(reason="topic_denied") == before + 1


@pytest.mark.parametrize("topic", ["$SYS/broker/version", "$CONTROL/dynamic-security/v1", "$share/g/assets"])
def test_the_brokers_own_topics_take_nothing_from_a_device(gated: Gated, topic: str) -> None:
    with gated.device() as client:
        try:
            code = client.publish(topic)
        except Closed:  # the broker may end the connection instead
            return
        assert code == 0x87


def test_the_15_character_form_in_a_topic_is_refused_with_a_reason_of_its_own(gated: Gated) -> None:
    before = gated.decisions(reason="topic_id_form")
    with gated.device() as client:
        assert client.publish(f"assets/{SHORT}/telemetry") == 0x87
    assert gated.decisions(reason="topic_id_form") == before + 1
    gated.broker.wait_for(
        rf"refused asset '{ASSET}' to publish 'assets/{SHORT}/telemetry': topic_id_form .*{ASSET}"
    )


@pytest.mark.parametrize("tail", ["commands/#", "commands/reboot", "commands/+", "commands"])
def test_a_device_subscribes_to_its_commands(gated: Gated, tail: str) -> None:
    with gated.device() as client:
        assert client.subscribe(f"assets/{ASSET}/{tail}") == [1]
        assert client.subscribe(f"$share/group/assets/{ASSET}/{tail}") == [1]


FOREIGN = [
    "#",
    "+",
    "+/+/x",
    "assets/#",
    "assets/+/commands/#",
    "+/" + ASSET + "/commands/#",
    f"assets/{ASSET}/#",
    f"assets/{ASSET}/+/x",
    f"assets/{ASSET}/telemetry",
    f"assets/{OTHER}/commands/#",
    f"assets/{SHORT}/commands/#",
    f"$share/g/assets/{OTHER}/commands/#",
    "$share/g/#",
    f"$share/{ASSET}/assets/{OTHER}/commands/#",
    "$SYS/#",
    "$SYS/broker/clients/connected",
    "$CONTROL/#",
    "assetgate/#",
]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("topic_filter", FOREIGN)
def test_a_filter_that_reaches_beyond_its_commands_is_refused(
    gated: Gated, topic_filter: str, version: int
) -> None:
    before = gated.decisions(outcome="refused")
    with gated.device(version=version) as client:
        assert client.subscribe(topic_filter) == [0x87 if version == 5 else 0x80]
    assert gated.decisions(outcome="refused") == before + 1


def test_each_filter_of_one_subscribe_is_judged(gated: Gated) -> None:
    own, foreign = f"assets/{ASSET}/commands/#", f"assets/{OTHER}/commands/#"
    with gated.device() as client:
        assert client.subscribe(own, foreign, "#", own) == [1, 0x87, 0x87, 1]


def test_commands_reach_their_asset_alone(gated: Gated) -> None:
    with gated.device() as client, gated.device(OTHER_SHORT) as other:
        client.subscribe(f"assets/{ASSET}/commands/#")
        other.subscribe(f"assets/{OTHER}/commands/#")
        with gated.device() as again:
            again.ping()
        assert other.publish(f"assets/{ASSET}/commands/x") == 0x87


def test_a_will_on_a_topic_of_its_own_is_sent(gated: Gated) -> None:
    will = Will(f"assets/{ASSET}/status", b"gone", retain=True)
    with gated.service() as bridge:
        bridge.subscribe(f"assets/{ASSET}/status")
        with gated.client() as client:
            assert client.connect(SHORT + ":will", "", gated.token(), will=will) == 0
        while (message := bridge.messages(1)[0]).payload != b"gone":
            pass
        assert message.topic == f"assets/{ASSET}/status"


def test_a_will_on_another_assets_topic_is_never_sent(gated: Gated) -> None:
    with gated.service() as bridge, gated.refuses_topic():
        bridge.subscribe(f"assets/{OTHER}/#", f"assets/{ASSET}/events/#")
        will = Will(f"assets/{OTHER}/status", b"forged")
        with gated.client() as client:
            client.connect(SHORT + ":will", "", gated.token(), will=will)
        with gated.device() as client:
            client.publish(f"assets/{ASSET}/events/x", b"after")
        assert bridge.messages(1)[0].payload == b"after"


def test_a_retained_message_is_for_the_status_alone(gated: Gated) -> None:
    with gated.device() as client:
        assert client.publish(f"assets/{ASSET}/status", b"up", retain=True) == 0
        assert client.publish(f"assets/{ASSET}/telemetry", b"1", retain=True) == 0x87
        assert client.publish(f"assets/{ASSET}/events/x", b"1", retain=True) == 0x87
    with gated.service() as bridge:
        assert bridge.subscribe(f"assets/{ASSET}/#") == [1]
        assert [(m.topic, m.payload, m.retain) for m in bridge.messages(1)] == [
            (f"assets/{ASSET}/status", b"up", True)
        ]
        bridge.ping()
        with pytest.raises(TimeoutError):
            bridge.messages(1, deadline=0.2)


def test_a_service_account_cannot_pose_as_an_asset_of_its_own_name(gated: Gated) -> None:
    with gated.service() as bridge, gated.service("bridge-2") as other:
        bridge.subscribe("assets/#", "assetgate/heartbeat")
        assert other.publish("assets/bridge/telemetry") == 0x87
        assert other.publish("assets/bridge-2/telemetry") == 0x87
        assert other.publish(f"assets/{ASSET}/telemetry") == 0x87
        assert other.publish("assetgate/heartbeat", b"beat") == 0
        fresh = next(message for message in iter(lambda: bridge.messages(1)[0], None) if not message.retain)
        assert (fresh.topic, fresh.payload) == ("assetgate/heartbeat", b"beat")


def test_a_device_that_does_nothing_but_subscribe_is_refused_after_a_thousand_filters(gated: Gated) -> None:
    short = "02iAB00000SuBsC"
    asset = short + suffix(short)
    before = gated.decisions(action="subscribe", reason="throttled")
    began = time.monotonic()
    with gated.device(short) as client, gated.device(OTHER_SHORT) as other:
        codes: list[int] = []
        for _ in range(12):
            codes += client.subscribe(*[f"assets/{asset}/commands/#"] * 100)
            time.sleep(0.6)  # between two ticks fewer are asked about
        granted = codes.count(1)
        assert 1000 <= granted <= 1000 + time.monotonic() - began + 1
        assert codes.count(0x87) == 1200 - granted
        assert gated.decisions(action="subscribe", reason="throttled") == before + 1200 - granted
        # It has what it subscribed to, may publish, and nobody else is held up.
        with gated.service() as service:
            service.publish(f"assets/{asset}/commands/on", b"1", qos=1)
        assert client.messages(1)[0].payload == b"1"
        assert client.publish(f"assets/{asset}/telemetry") == 0
        assert other.subscribe(f"assets/{OTHER}/commands/#") == [1]
    # Coming back does not pay the debt.
    with gated.device(short) as client:
        assert client.subscribe(*[f"assets/{asset}/commands/#"] * 100).count(0x87) > 50
    assert "throttled (too many subscriptions" in gated.broker.log


def test_python_is_asked_about_some_of_the_filters_of_one_packet_and_all_refusals_are_counted(
    gated: Gated,
) -> None:
    counted = {"action": "subscribe", "outcome": "refused"}
    before = gated.decisions(**counted), gated.decisions(reason="topic_denied", **counted)
    with gated.device() as client:
        assert set(client.subscribe(*["a"] * 5000)) == {0x87}
        time.sleep(0.6)  # the tick that counts them, and after which it may ask again
        assert client.subscribe(f"assets/{ASSET}/commands/#") == [1]
    assert gated.decisions(**counted) == before[0] + 5000
    assert 200 <= gated.decisions(reason="topic_denied", **counted) - before[1] <= 400
    gated.broker.wait_for("refused .* subscriptions: throttled")


@pytest.mark.parametrize("version", [4, 5])
def test_what_a_device_has_saved_up_is_let_through_also_where_python_judges_each_message(
    gate_of: Callable[..., AbstractContextManager[Gated]], tmp_path: Path, version: int
) -> None:
    topics = '\n[topics]\npublish = ["assets/{aid}/telemetry/+/raw", "assets/{aid}/status"]\n'
    with gate_of(tmp_path, extra=topics) as gated, gated.service() as bridge:
        bridge.subscribe("assets/#", qos=0)
        with gated.device(version=version) as client:
            for number in range(1, 1001):
                body = text(f"assets/{ASSET}/telemetry/s/raw") + number.to_bytes(2)
                client.send(packet(PUBLISH, 2, body + (b"\0" if version == 5 else b"") + b"1"))
            assert len(bridge.messages(1000)) == 1000
