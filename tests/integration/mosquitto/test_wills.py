"""Wills: judged like any publish, sent for ends that the gate did not cause, held back for those it did."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.mqtt import Closed, Will

from .conftest import ASSET, AUDIENCE, OTHER, SHORT, Gated
from .test_delivery import fresh

pytestmark = pytest.mark.needs("mosquitto", "cc")

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])
ALMOST_OVER = 28


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will_of_any_quality_is_sent_when_the_connection_breaks(
    gated: Gated, version: int, qos: int
) -> None:
    with gated.service() as bridge:
        bridge.subscribe(f"assets/{ASSET}/events/#", qos=2)
        with gated.client(version) as client:
            will = Will(f"assets/{ASSET}/events/gone", b"will", qos)
            assert client.connect(f"{SHORT}:will", "", gated.token(), will=will) == 0
        assert fresh(bridge).payload == b"will"


@pytest.mark.parametrize(
    "topic",
    [
        f"assets/{OTHER}/status",
        f"assets/{ASSET}/commands/reboot",
        f"assets/{SHORT}/status",
        "assetgate/heartbeat",
        "$SYS/broker/version",
        "$CONTROL/dynamic-security/v1",
        f"$share/g/assets/{ASSET}/status",
    ],
)
@pytest.mark.parametrize("version", [4, 5])
def test_a_will_anywhere_else_is_never_sent(gated: Gated, topic: str, version: int) -> None:
    with gated.service() as bridge:
        bridge.subscribe("assets/#", "assetgate/heartbeat")
        with gated.client(version) as client:
            try:
                client.connect(SHORT + ":will", "", gated.token(), will=Will(topic, b"forged"))
            except Closed:  # the broker may refuse such a will by itself
                return
        with gated.device() as client:
            client.publish(f"assets/{ASSET}/events/x", b"after")
        assert fresh(bridge).payload == b"after"


def test_a_will_is_retained_on_the_status_alone(gated: Gated) -> None:
    with gated.refuses_topic():
        for tail in ("status", "telemetry"):
            with gated.client() as client:
                will = Will(f"assets/{ASSET}/{tail}", b"retained will", retain=True)
                assert client.connect(SHORT + ":will", "", gated.token(), will=will) == 0
    with gated.service() as bridge:
        bridge.subscribe(f"assets/{ASSET}/status", f"assets/{ASSET}/telemetry")
        assert [(m.topic, m.payload) for m in bridge.messages(1)] == [
            (f"assets/{ASSET}/status", b"retained will")
        ]
        bridge.ping()
        with pytest.raises(TimeoutError):
            bridge.messages(1, deadline=0.2)
    with gated.device() as client:
        client.publish(f"assets/{ASSET}/status", b"", retain=True)


def test_a_will_is_sent_when_the_same_device_takes_its_session_over(gated: Gated) -> None:
    will = Will(f"assets/{ASSET}/events/over", b"taken over")
    with gated.service() as bridge, gated.client() as first:
        bridge.subscribe(f"assets/{ASSET}/events/#")
        assert first.connect(SHORT + ":over", "", gated.token(), will=will) == 0
        with gated.device(suffix=":over") as second:
            first.wait_closed()
            second.ping()
            assert fresh(bridge).payload == b"taken over"


def test_a_will_that_python_judges_is_sent_when_its_session_is_taken_over(
    gate_of: Callable[..., AbstractContextManager[Gated]], tmp_path: Path
) -> None:
    topics = '\n[topics]\npublish = ["assets/{aid}/events/+/last"]\n'
    will = Will(f"assets/{ASSET}/events/pump/last", b"taken over")
    with gate_of(tmp_path, extra=topics) as gated, gated.service() as bridge, gated.client() as first:
        bridge.subscribe("assets/#")
        assert first.connect(SHORT, "", gated.token(), will=will) == 0
        with gated.device() as second:
            first.wait_closed()
            second.ping()
            assert fresh(bridge).payload == b"taken over"


def test_a_refused_client_leaves_no_will(gated: Gated) -> None:
    token = gated.mint.expired()
    will = Will(f"assets/{ASSET}/events/refused", b"forged")
    with gated.service() as bridge:
        bridge.subscribe(f"assets/{ASSET}/events/#")
        assert gated.refusal(lambda client: client.connect(SHORT, "", token, will=will)) == "expired"
        with gated.device() as client:
            client.publish(f"assets/{ASSET}/events/x", b"after")
        assert fresh(bridge).payload == b"after"


@VERSIONS
def test_a_will_is_not_sent_once_the_token_has_ended(gated: Gated, version: int) -> None:
    ended = int(time.time()) - ALMOST_OVER
    will = Will(f"assets/{ASSET}/events/will", b"expired")
    with gated.service() as bridge, gated.client(version) as client:
        bridge.subscribe(f"assets/{ASSET}/events/#")
        assert client.connect(SHORT + ":ends", "", gated.token(exp=ended), will=will) == 0
        client.wait_closed()
        with gated.device() as good:
            good.publish(f"assets/{ASSET}/events/x", b"after")
        assert fresh(bridge).payload == b"after"


def test_a_delayed_will_is_sent_while_its_token_holds(gated: Gated) -> None:
    will = Will(f"assets/{ASSET}/status", b"gone", retain=True, delay=1)
    with gated.service() as bridge:
        bridge.subscribe(f"assets/{ASSET}/status")
        with gated.client() as client:
            assert client.connect(SHORT + ":later", "", gated.token(), will=will, expiry=60) == 0
        assert fresh(bridge).payload == b"gone"
    with gated.device() as client:
        client.publish(f"assets/{ASSET}/status", b"", retain=True)


def test_a_delayed_will_is_not_sent_once_its_token_has_ended(gated: Gated) -> None:
    before = gated.decisions(action="publish", reason="expired")
    will = Will(f"assets/{ASSET}/events/later", b"expired", delay=4)
    with gated.service() as bridge:
        bridge.subscribe(f"assets/{ASSET}/events/#")
        with gated.client() as client:
            ended = int(time.time()) - ALMOST_OVER
            assert client.connect(SHORT + ":ends", "", gated.token(exp=ended), will=will, expiry=60) == 0
        gated.broker.wait_for("refused asset .* to publish .*: expired")
        with gated.device() as good:
            good.publish(f"assets/{ASSET}/events/x", b"after")
        assert fresh(bridge).payload == b"after"
    assert gated.decisions(action="publish", reason="expired") == before + 1


def test_a_delayed_will_is_not_sent_once_its_asset_is_revoked(
    gate_of: Callable[..., AbstractContextManager[Gated]], tmp_path: Path
) -> None:
    (tmp_path / "revoked.jsonl").write_text("# none\n")
    with gate_of(tmp_path, extra='\n[revocation]\nfile = "revoked.jsonl"\n') as gated:
        will = Will(f"assets/{ASSET}/status", b"revoked", retain=True, delay=4)
        with gated.service() as bridge:
            bridge.subscribe("assets/#")
            with gated.client() as client:
                assert client.connect(SHORT, "", gated.token(), will=will, expiry=60) == 0
            (tmp_path / "revoked.jsonl").write_text(json.dumps({"asset": ASSET}) + "\n")
            gated.broker.wait_for("refused asset .* to publish .*: revoked")
            with pytest.raises(TimeoutError):
                bridge.messages(1, deadline=0.3)


@pytest.mark.parametrize(("changes", "sent"), [("the audience", False), ("nothing", True)])
def test_a_delayed_will_is_judged_by_the_policy_in_force(
    gate_of: Callable[..., AbstractContextManager[Gated]], tmp_path: Path, changes: str, *, sent: bool
) -> None:
    with gate_of(tmp_path) as gated, gated.service() as bridge:
        bridge.subscribe("assets/#")
        will = Will(f"assets/{ASSET}/status", b"later", retain=True, delay=3)
        with gated.client() as client:
            assert client.connect(SHORT, "", gated.token(), will=will, expiry=60) == 0
        config = tmp_path / "gate.toml"
        if changes == "the audience":
            config.write_text(config.read_text().replace(AUDIENCE, "https://other.example.com"))
        gated.broker.reload()
        if sent:
            assert fresh(bridge).payload == b"later"
        else:
            gated.broker.wait_for("refused asset .* to publish .*: topic_denied")
            with pytest.raises(TimeoutError):
                bridge.messages(1, deadline=0.3)
