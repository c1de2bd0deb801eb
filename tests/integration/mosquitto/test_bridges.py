"""Other brokers as clients: a Mosquitto bridge by token, by service account, and one that lies."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mosquitto import Mosquitto, running
from tests.support.mqtt import Client

from .conftest import ASSET, OTHER, OTHER_SHORT, SERVICE, SERVICE_PASSWORD, SHORT, Gated
from .test_delivery import fresh

pytestmark = pytest.mark.needs("mosquitto", "cc")


@contextlib.contextmanager
def bridging(gated: Gated, folder: Path, *lines: str) -> Iterator[Mosquitto]:
    """Another broker, without a gate, that is connected to the one with it."""
    head = f"allow_anonymous true\nconnection upstream\naddress 127.0.0.1:{gated.broker.port}\n"
    broker = Mosquitto(folder)
    broker.file.write_text(broker.file.read_text() + head + "restart_timeout 1\n" + "\n".join(lines) + "\n")
    with running(broker):
        yield broker


def local(broker: Mosquitto, client_id: str) -> Client:
    client = broker.client(4)
    assert client.connect(client_id) == 0
    return client


def test_a_bridge_with_a_token_carries_its_assets_topics_and_no_others(gated: Gated, tmp_path: Path) -> None:
    token = gated.token().decode()
    lines = (
        f"remote_clientid {SHORT}:bridge",
        f"remote_username {ASSET}",
        f"remote_password {token}",
        "topic assets/# out 1",
        f"topic assets/{ASSET}/commands/# in 1",
        "notifications false",
    )
    before = gated.decisions(reason="topic_denied")
    with gated.service() as service, bridging(gated, tmp_path, *lines) as site:
        gated.broker.wait_for(f"New bridge connected .* as {SHORT}:bridge")
        service.subscribe("assets/#")
        with local(site, "machine") as machine, local(site, "panel") as panel:
            panel.subscribe("assets/+/commands/#")
            machine.publish(f"assets/{OTHER}/events/x", b"forged")
            machine.publish(f"assets/{ASSET}/events/x", b"mine")
            assert fresh(service).payload == b"mine"
            assert service.publish(f"assets/{ASSET}/commands/go", b"go") == 0
            assert panel.messages(1)[0].payload == b"go"
    assert gated.decisions(reason="topic_denied") == before + 1


def test_a_bridge_as_a_service_account_has_that_accounts_rights(gated: Gated, tmp_path: Path) -> None:
    lines = (
        "remote_clientid bridge-site",
        f"remote_username {SERVICE}",
        f"remote_password {SERVICE_PASSWORD}",
        "topic assets/# both 1",
        "notifications false",
    )
    with gated.service() as service, bridging(gated, tmp_path, *lines) as site:
        gated.broker.wait_for("New bridge connected .* as bridge-site")
        service.subscribe("assets/#")
        with local(site, "machine") as machine, local(site, "panel") as panel, gated.device() as device:
            panel.subscribe("assets/+/events/#")
            # It reads what devices publish, and may not speak as one of them.
            assert device.publish(f"assets/{ASSET}/events/x", b"of the device") == 0
            assert panel.messages(1)[0].payload == b"of the device"
            assert fresh(service).payload == b"of the device"
            machine.publish(f"assets/{ASSET}/events/x", b"forged")
            machine.publish(f"assets/{ASSET}/commands/x", b"a command")
            assert fresh(service).payload == b"a command"


def test_a_bridge_with_a_bad_token_is_refused(gated: Gated, tmp_path: Path) -> None:
    before = gated.decisions(reason="expired")
    lines = (
        f"remote_clientid {SHORT}:bridge",
        f"remote_username {ASSET}",
        f"remote_password {gated.mint.expired().decode()}",
        "topic assets/# out 1",
    )
    with bridging(gated, tmp_path, *lines) as site:
        site.wait_for("not authori[sz]ed|Connection Refused")
    assert gated.decisions(reason="expired") > before


@pytest.mark.parametrize("version", [3, 4])
def test_who_says_it_is_a_bridge_has_no_more_rights(gated: Gated, version: int) -> None:
    with gated.service() as service, gated.client(version) as client:
        service.subscribe("assets/#")
        assert client.connect(SHORT + ":liar", "", gated.token(), bridge=True) == 0
        # 3.1 knows no refusal of a subscription: the broker grants it in words, and delivers nothing.
        assert client.subscribe("#", f"assets/{OTHER}/#") == ([0x80, 0x80] if version == 4 else [1, 1])
        with gated.device(OTHER_SHORT) as other:
            assert other.publish(f"assets/{OTHER}/events/x", b"of another") == 0
        assert fresh(service).payload == b"of another"
        client.publish(f"assets/{OTHER}/events/x", b"forged")
        client.publish(f"assets/{ASSET}/events/x", b"mine")
        assert fresh(service).payload == b"mine"
        with pytest.raises(TimeoutError):
            client.messages(1, deadline=0.2)
