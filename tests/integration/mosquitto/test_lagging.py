"""How long the broker waits for the gate: measured, exported, and said when it was too long."""

import json
import time
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.acl import write_acl
from authplugin.brokers.mosquitto.build import find_interpreter
from authplugin.settings import load
from authplugin.testing import TokenMint
from tests.support.mosquitto import Mosquitto, running, scrape
from tests.support.ports import free_port

from .conftest import ASSET, OTHER, SHORT, Files, Gated, connect_until_ready, write_gate
from .test_faults import sabotaged_site

pytestmark = pytest.mark.needs("mosquitto", "cc")


def most(metrics_port: int, callback: str) -> float:
    return scrape(metrics_port)[f'authplugin_callback_max_seconds{{callback="{callback}"}}']


def over(metrics_port: int, callback: str) -> float:
    return scrape(metrics_port)[f'authplugin_callbacks_over_budget_total{{callback="{callback}"}}']


def test_what_callbacks_took_is_exported(gated: Gated) -> None:
    with gated.device() as device:
        device.publish(f"assets/{OTHER}/telemetry")
        device.subscribe(f"assets/{ASSET}/commands/#")
    for callback in ("authenticate", "authorize", "tick"):
        assert 0 < most(gated.metrics_port, callback) < 5
    assert most(gated.metrics_port, "prove") == 0


def test_a_callback_over_budget_is_counted_and_said(files: Files, mint: TokenMint, tmp_path: Path) -> None:
    code = """
    import time
    from authplugin.gate import Gate
    good = Gate.authorize
    def slow(self, *args):
        time.sleep(0.2)
        return good(self, *args)
    Gate.authorize = slow
    """
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(mint.jwks()))
    metrics_port = free_port()
    write_gate(files, mint, f'jwks_file = "{keys}"', metrics_port, mosquitto="budget_ms = 100")
    tampered = Files(tmp_path, files.plugin, find_interpreter(site=sabotaged_site(tmp_path, code)))
    with (
        running(Mosquitto(tmp_path, tampered.stanza())) as broker,
        connect_until_ready(broker, SHORT, mint.mint()) as client,
    ):
        assert client.subscribe(f"assets/{ASSET}/commands/#") == [1]
        assert over(metrics_port, "authorize") == 1
        assert most(metrics_port, "authorize") >= 0.2
        broker.wait_for(r"authplugin: authorize took 2\d\d\.\d ms, and everybody waited")


def test_refused_deliveries_are_counted_and_explained(gated: Gated) -> None:
    """A stored subscription outlives the right to it; here the right goes with the topics."""
    config = gated.broker.folder / "gate.toml"
    good = config.read_text()
    wide = good.replace(
        "[metrics]", '[topics]\nsubscribe = ["assets/{aid}/commands/#", "shared/{aid}/#"]\n\n[metrics]'
    )

    def adopt(text: str) -> None:
        before = len(gated.broker.log)
        config.write_text(text)
        policy = load(config, {}).policy
        (gated.broker.folder / "acl").write_text(write_acl(policy.topics, policy.service_accounts))
        gated.broker.wait_for("is in force as it is now", after=before)

    adopt(wide)
    with gated.device(suffix=":wide") as device:
        assert device.subscribe(f"shared/{ASSET}/#") == [1]
        adopt(
            good.replace(
                'publish = ["assetgate/heartbeat"', f'publish = ["shared/{ASSET}/x", "assetgate/heartbeat"'
            )
        )
        before = gated.decisions(action="receive", outcome="refused", reason="topic_denied")
        with gated.service() as service:
            assert service.publish(f"shared/{ASSET}/x", b"no longer yours") == 0
        device.ping()
        with pytest.raises(TimeoutError):
            device.messages(1, deadline=0.2)
        assert gated.decisions(action="receive", outcome="refused", reason="topic_denied") == before + 1
    gated.broker.wait_for(f"refused asset '{ASSET}' to receive 'shared/{ASSET}/x': topic_denied")


def test_good_deliveries_and_service_accounts_are_never_asked_about(gated: Gated) -> None:
    with gated.service() as service, gated.device() as device:
        service.subscribe("assets/#")
        device.subscribe(f"assets/{ASSET}/commands/#")
        before = gated.decisions(action="receive")
        for n in range(100):
            device.publish(f"assets/{ASSET}/telemetry", b"%d" % n, qos=0)
            service.publish(f"assets/{ASSET}/commands/x", b"%d" % n, qos=0)
        deadline = time.monotonic() + 10
        assert len(device.messages(100)) == 100
        assert time.monotonic() < deadline
        assert gated.decisions(action="receive") == before
