"""Messages on their way: every QoS and version, shared and durable subscriptions, aliases, retained ones."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.mqtt import Client, Closed, Message

from .conftest import ASSET, OTHER, OTHER_SHORT, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])
QUALITIES = pytest.mark.parametrize("qos", [0, 1, 2])


def fresh(client: Client) -> Message:
    """The next message that was not retained."""
    return next(message for message in iter(lambda: client.messages(1)[0], None) if not message.retain)


@VERSIONS
@QUALITIES
def test_a_message_of_any_quality_arrives_as_it_was_sent_and_a_foreign_one_does_not(
    gated: Gated, version: int, qos: int
) -> None:
    payload = bytes(range(256))
    with gated.service() as bridge, gated.device(version=version) as client:
        bridge.subscribe("assets/#", qos=2)
        refused = client.publish(f"assets/{OTHER}/events/x", b"forged", qos=qos)
        assert refused == (None if qos == 0 else 0x87 if version == 5 else 0)
        client.publish(f"assets/{ASSET}/events/x", payload, qos=qos)
        assert fresh(bridge) == Message(f"assets/{ASSET}/events/x", payload, retain=False)


@VERSIONS
@QUALITIES
def test_a_command_of_any_quality_reaches_its_asset_alone(gated: Gated, version: int, qos: int) -> None:
    with (
        gated.service() as bridge,
        gated.device(version=version) as mine,
        gated.device(OTHER_SHORT, version=version) as other,
    ):
        mine.subscribe(f"assets/{ASSET}/commands/#", qos=qos)
        other.subscribe(f"assets/{OTHER}/commands/#", qos=qos)
        bridge.publish(f"assets/{ASSET}/commands/a", b"for one", qos=qos)
        bridge.publish(f"assets/{OTHER}/commands/b", b"for the other", qos=qos)
        assert [message.payload for message in mine.messages(1)] == [b"for one"]
        assert [message.payload for message in other.messages(1)] == [b"for the other"]


def test_a_shared_subscription_gets_its_own_commands_and_no_others(gated: Gated) -> None:
    with gated.service() as bridge, gated.device() as one, gated.device(OTHER_SHORT) as other:
        # The same group name: groups are shared by all clients, rights are not.
        assert one.subscribe(f"$share/group/assets/{ASSET}/commands/#") == [1]
        assert other.subscribe(f"$share/group/assets/{OTHER}/commands/#") == [1]
        assert other.subscribe(f"$share/group/assets/{ASSET}/commands/#") == [0x87]
        for number in range(8):
            bridge.publish(f"assets/{ASSET}/commands/x", str(number).encode())
        bridge.publish(f"assets/{OTHER}/commands/x", b"last")
        assert [message.payload for message in one.messages(8)] == [str(n).encode() for n in range(8)]
        assert [message.payload for message in other.messages(1)] == [b"last"]


@pytest.mark.parametrize(
    "topic_filter", ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a"]
)
def test_a_shared_filter_without_group_or_filter_is_refused(gated: Gated, topic_filter: str) -> None:
    with gated.device() as client:
        try:
            codes = client.subscribe(topic_filter)
        except Closed:  # the broker may take it for malformed, and end the connection
            return
        assert codes[0] >= 0x80


def test_in_3_1_a_refused_subscription_gets_nothing_although_the_broker_cannot_say_so(gated: Gated) -> None:
    with gated.service() as bridge, gated.device(version=3) as client:
        assert client.subscribe(f"assets/{OTHER}/commands/#", "#", f"assets/{ASSET}/commands/#") == [1, 1, 1]
        bridge.publish(f"assets/{OTHER}/commands/x", b"for another")
        bridge.publish("assetgate/heartbeat", b"of the bridge")
        bridge.publish(f"assets/{ASSET}/commands/x", b"mine")
        assert [message.payload for message in client.messages(1)] == [b"mine"]


def test_a_topic_alias_stands_for_the_topic_it_was_judged_as(gated: Gated) -> None:
    with gated.service() as bridge, gated.device() as client:
        bridge.subscribe("assets/#")
        assert client.publish(f"assets/{ASSET}/events/x", b"named", alias=1) == 0
        assert client.publish("", b"by alias", alias=1) == 0
        # An alias for a foreign topic names it still: the one before is forgotten, the new one refused.
        assert client.publish(f"assets/{OTHER}/events/x", b"forged", alias=1) == 0x87
        assert client.publish("", b"forged", alias=1) == 0x87
        assert client.publish(f"assets/{ASSET}/events/x", b"last") == 0
        got = [fresh(bridge) for _ in range(3)]
    assert [message.payload for message in got] == [b"named", b"by alias", b"last"]
    assert {message.topic for message in got} == {f"assets/{ASSET}/events/x"}


def test_a_retained_status_is_read_by_services_and_by_no_other_asset(gated: Gated) -> None:
    with gated.device() as client:
        assert client.publish(f"assets/{ASSET}/status", b"up", retain=True) == 0
    with gated.device(OTHER_SHORT) as other:
        assert other.subscribe(f"assets/{ASSET}/status", "assets/+/status", "#") == [0x87, 0x87, 0x87]
        other.ping()
        with pytest.raises(TimeoutError):
            other.messages(1, deadline=0.2)
    with gated.service() as bridge:
        bridge.subscribe(f"assets/{ASSET}/status")
        assert bridge.messages(1)[0].payload == b"up"


def test_a_retained_status_is_emptied_by_its_own_asset_alone(gated: Gated) -> None:
    with gated.device() as client, gated.device(OTHER_SHORT) as other:
        assert client.publish(f"assets/{ASSET}/status", b"kept", retain=True) == 0
        assert other.publish(f"assets/{ASSET}/status", b"", retain=True) == 0x87
        with gated.service() as bridge:
            bridge.subscribe(f"assets/{ASSET}/status")
            assert bridge.messages(1)[0].payload == b"kept"
        assert client.publish(f"assets/{ASSET}/status", b"", retain=True) == 0


@pytest.mark.parametrize("version", [4, 5])
def test_what_waited_for_a_device_is_delivered_to_a_good_token_only(
    gate_of: Gates, tmp_path: Path, version: int
) -> None:
    def connect(client: Client, token: bytes) -> int:
        return client.connect(SHORT + ":kept", "", token, clean=False, expiry=3600)

    with gate_of(tmp_path) as gated:
        good, expired = gated.token(), gated.mint.expired()
        with gated.client(version) as client:
            assert connect(client, good) == 0
            assert client.subscribe(f"assets/{ASSET}/commands/#") == [1]
            client.disconnect()
        with gated.service() as bridge:
            assert bridge.publish(f"assets/{ASSET}/commands/reboot", b"waited") == 0
        gated.broker.stop()
        gated.broker.start()
        end = time.monotonic() + 10
        while gated.decisions(reason="expired") == 0:
            with gated.client(version) as client:
                assert connect(client, expired) == (0x87 if version == 5 else 5)
                # Refused, and nothing more: no queued message slips out before the connection ends.
                with pytest.raises(Closed):
                    client.receive()
            assert time.monotonic() < end
        with gated.client(version) as client:
            assert connect(client, good) == 0
            assert [message.payload for message in client.messages(1)] == [b"waited"]


def test_subscriptions_of_one_asset_are_not_inherited_by_another_with_its_client_id(gated: Gated) -> None:
    with gated.client() as client:
        assert client.connect(SHORT + ":lasting", "", gated.token(), clean=False, expiry=3600) == 0
        assert client.subscribe(f"assets/{ASSET}/commands/#") == [1]
    token = gated.token(OTHER_SHORT)
    reason = gated.refusal(
        lambda client: client.connect(SHORT + ":lasting", "", token, clean=False, expiry=3600)
    )
    assert reason == "client_id_mismatch"
