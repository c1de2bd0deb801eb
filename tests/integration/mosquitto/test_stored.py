"""Sessions the broker keeps while nobody is connected: judged before they get anything, and not lost."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.acl import write_acl
from authplugin.settings import load
from tests.support.mosquitto import Mosquitto, scrape
from tests.support.mqtt import Client

from .conftest import ASSET, OTHER, SERVICE, SERVICE_PASSWORD, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
ALMOST_OVER = 28
NOT_AUTHORIZED = 0x87
COMMANDS = f"assets/{ASSET}/commands/#"
REVOCATION = '\n[revocation]\nfile = "revoked.json"\n'


def keep(gated: Gated, name: str, **changes: object) -> None:
    """A device's session with a subscription, stored."""
    with gated.client() as client:
        token = gated.mint.mint(aid=SHORT, **changes)
        assert client.connect(SHORT + name, "", token, clean=False, expiry=3600) == 0
        assert client.subscribe(COMMANDS) == [1]
        client.disconnect()


def resume(gated: Gated, name: str, token: bytes) -> tuple[Client, int]:
    client = gated.client()
    return client, client.connect(SHORT + name, "", token, clean=False, expiry=3600)


def resume_until(gated: Gated, name: str, token: bytes, code: int) -> Client:
    """As `resume`, until the gate has its keys and says what it should."""
    end = time.monotonic() + 15
    while True:
        client, got = resume(gated, name, token)
        if got == code:
            return client
        client.close()
        assert time.monotonic() < end, gated.broker.log[-2000:]
        time.sleep(0.02)


def command(gated: Gated, payload: bytes) -> None:
    with gated.service("commander") as service:
        assert service.publish(f"assets/{ASSET}/commands/x", payload) == 0


def silent(client: Client) -> bool:
    """Whether nothing comes before the answer to a ping."""
    client.ping()
    with pytest.raises(TimeoutError):
        client.messages(1, deadline=0.3)
    return True


def restart(broker: Mosquitto) -> None:
    """Stop and start; a broker that does not run yet would end at SIGHUP."""
    broker.stop()
    before = len(broker.log)
    broker.start()
    broker.wait_for("mosquitto version .* running", after=before)


def reload(broker: Mosquitto) -> None:
    before = len(broker.log)
    broker.reload()
    broker.wait_for("Reloading config", after=before)


def test_a_session_that_is_stored_is_live_no_longer(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated:
        keep(gated, ":kept")
        end = time.monotonic() + 10
        while scrape(gated.metrics_port)["authplugin_sessions"] != 0:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_restored_session_gets_what_waited_once_its_token_was_judged(
    gate_of: Gates, tmp_path: Path
) -> None:
    with gate_of(tmp_path) as gated:
        keep(gated, ":kept")
        command(gated, b"waited")
        restart(gated.broker)
        with resume_until(gated, ":kept", gated.mint.expired(), NOT_AUTHORIZED) as refused:
            refused.wait_closed()
        with resume_until(gated, ":kept", gated.token(), 0) as client:
            assert client.messages(1)[0].payload == b"waited"


def test_a_revoked_asset_gets_nothing_of_its_restored_session(gate_of: Gates, tmp_path: Path) -> None:
    (tmp_path / "revoked.json").write_text("# none\n")
    with gate_of(tmp_path, extra=REVOCATION) as gated:
        keep(gated, ":kept")
        command(gated, b"secret")
        gated.broker.stop()
        (tmp_path / "revoked.json").write_text(json.dumps({"asset": ASSET}) + "\n")
        gated.broker.start()
        token = gated.token()
        end = time.monotonic() + 15
        while gated.decisions(reason="revoked") == 0:
            client, code = resume(gated, ":kept", token)
            with client:
                assert code == NOT_AUTHORIZED
                client.wait_closed()
            assert time.monotonic() < end
        reload(gated.broker)
        client, code = resume(gated, ":kept", token)
        with client:
            assert code == NOT_AUTHORIZED
            client.wait_closed()


def test_what_waits_is_judged_by_the_topics_in_force_when_its_client_returns(
    gate_of: Gates, tmp_path: Path
) -> None:
    before = '\n[topics]\nsubscribe = ["assets/{aid}/commands/#", "assets/{aid}/old/#"]\n'
    with gate_of(tmp_path, extra=before) as gated:
        with gated.client() as client:
            assert client.connect(SHORT + ":kept", "", gated.token(), clean=False, expiry=3600) == 0
            assert client.subscribe(f"assets/{ASSET}/old/#") == [1]
            client.disconnect()
        config = tmp_path / "gate.toml"
        config.write_text(config.read_text().replace(', "assets/{aid}/old/#"]', "]"))
        policy = load(config, {}).policy
        (tmp_path / "acl").write_text(write_acl(policy.topics, policy.service_accounts))
        gated.broker.wait_for("gate.toml is in force as it is now")
        with gated.device(suffix=":writer") as writer:
            assert writer.publish(f"assets/{ASSET}/old/x") == NOT_AUTHORIZED
        with resume_until(gated, ":kept", gated.token(), 0) as client:
            assert silent(client)


def test_sighup_while_a_device_is_away_leaves_its_session_alone_even_with_an_ended_token(
    gate_of: Gates, tmp_path: Path
) -> None:
    """2.0 would list the end of such a session twice, free it once, and read freed memory."""
    with gate_of(tmp_path) as gated:
        ended = int(time.time()) - ALMOST_OVER + 1
        keep(gated, ":away", exp=ended)
        command(gated, b"waited")
        with gated.device(suffix=":witness", exp=ended) as witness:
            witness.wait_closed()
        refused = gated.decisions(outcome="refused")
        for _ in range(3):
            reload(gated.broker)
            # Lets in at once, and comes after the broker has asked about everybody.
            with gated.device(suffix=":barrier") as barrier:
                barrier.ping()
        assert gated.decisions(outcome="refused") == refused
        with resume_until(gated, ":away", gated.token(), 0) as client:
            assert client.messages(1)[0].payload == b"waited"
            client.ping()
        assert gated.broker.alive


@pytest.mark.parametrize("restarted", [False, True])
def test_sighup_before_the_bridge_is_back_costs_it_nothing(
    gate_of: Gates, tmp_path: Path, *, restarted: bool
) -> None:
    """2.0 takes a restored session its rights at SIGHUP unless the plugin speaks for it."""
    with gate_of(tmp_path) as gated:
        with gated.client() as bridge:
            assert bridge.connect("bridge-1", SERVICE, SERVICE_PASSWORD, clean=False, expiry=3600) == 0
            assert bridge.subscribe("assets/#") == [1]
            bridge.disconnect()
        if restarted:
            restart(gated.broker)
        reload(gated.broker)
        with resume_until(gated, ":device", gated.token(), 0) as device:
            assert device.publish(f"assets/{ASSET}/telemetry", b"while it was away") == 0
            assert device.publish(f"assets/{OTHER}/telemetry", b"forged") == NOT_AUTHORIZED
        with gated.client() as bridge:
            assert bridge.connect("bridge-1", SERVICE, SERVICE_PASSWORD, clean=False, expiry=3600) == 0
            payloads = [message.payload for message in bridge.messages(1)]
            assert payloads == [b"while it was away"]
            assert bridge.publish("assetgate/heartbeat") == 0


def test_nobody_connects_as_a_stored_session_without_its_password(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated:
        with gated.client() as bridge:
            assert bridge.connect("bridge-1", SERVICE, SERVICE_PASSWORD, clean=False, expiry=3600) == 0
            bridge.disconnect()
        restart(gated.broker)
        for _ in range(5):
            gated.broker.reload()
            for username, password in ((SERVICE, None), (SERVICE, b""), (ASSET, None)):
                with gated.client() as client:
                    name = "bridge-1" if username == SERVICE else SHORT
                    assert client.connect(name, username, password, clean=False) == NOT_AUTHORIZED


def test_a_session_that_the_gate_ends_keeps_what_it_was_subscribed_to(
    gate_of: Callable[..., AbstractContextManager[Gated]], tmp_path: Path
) -> None:
    filters = [f"assets/{ASSET}/commands/c{number}" for number in range(250)]
    with gate_of(tmp_path) as gated:
        with gated.client() as client:
            token = gated.token(exp=int(time.time()) - 30 + 5)
            assert client.connect(SHORT, "", token, clean=False, expiry=3600) == 0
            for first in (0, 125):
                assert set(client.subscribe(*filters[first : first + 125])) == {1}
                time.sleep(0.6)  # between two ticks fewer are asked about
            client.wait_closed()
        with gated.service() as service:
            for topic in filters:
                assert service.publish(topic) == 0
        with gated.client() as client:
            assert client.connect(SHORT, "", gated.token(), clean=False, expiry=3600) == 0
            assert {message.topic for message in client.messages(250)} == set(filters)
