"""The binary itself: one for every 2.x, clean under the sanitizers; tests/variants.py has the long form."""

import json
import subprocess
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.build import find_interpreter
from authplugin.testing import TokenMint
from tests.support.mosquitto import Mosquitto, running
from tests.support.ports import free_port
from tests.variants import build_sanitized, sanitizers

from .conftest import ASSET, OTHER, SHORT, Files, connect_until_ready, write_gate

pytestmark = pytest.mark.needs("mosquitto", "cc")

#: What mosquitto_broker.h of 2.0.11 declares for plugins; later names are looked up at run time.
API_OF_2_0 = {
    "mosquitto_broker_publish",
    "mosquitto_broker_publish_copy",
    "mosquitto_callback_register",
    "mosquitto_callback_unregister",
    "mosquitto_calloc",
    "mosquitto_client_address",
    "mosquitto_client_certificate",
    "mosquitto_client_clean_session",
    "mosquitto_client_id",
    "mosquitto_client_keepalive",
    "mosquitto_client_protocol",
    "mosquitto_client_protocol_version",
    "mosquitto_client_sub_count",
    "mosquitto_client_username",
    "mosquitto_free",
    "mosquitto_kick_client_by_clientid",
    "mosquitto_kick_client_by_username",
    "mosquitto_log_printf",
    "mosquitto_malloc",
    "mosquitto_realloc",
    "mosquitto_set_username",
    "mosquitto_strdup",
}


def undefined(library: Path) -> set[str]:
    """What a library wants from whoever loads it, weak symbols aside."""
    done = subprocess.run(
        ["nm", "--dynamic", "--undefined-only", str(library)], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    return {row[-1].partition("@")[0] for row in rows if row[-2] == "U"}


def test_the_plugin_wants_nothing_that_the_oldest_broker_lacks(plugin: Path) -> None:
    wanted = undefined(plugin)
    of_the_broker = {name for name in wanted if name.startswith("mosquitto")}
    assert "mosquitto_callback_register" in of_the_broker
    assert of_the_broker <= API_OF_2_0
    assert not {name for name in wanted if name.startswith(("Py", "_Py", "SSL", "EVP", "X509", "i2d"))}


def test_under_the_sanitizers_it_starts_judges_and_ends_without_a_report(
    files: Files, mint: TokenMint, tmp_path: Path
) -> None:
    sanitized = tmp_path / "sanitized.so"
    reports = tmp_path / "reports"
    reports.mkdir()
    build_sanitized(sanitized)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(mint.jwks()))
    write_gate(files, mint, f'jwks_file = "{keys}"', free_port())
    lines = Files(tmp_path, sanitized, find_interpreter()).stanza()
    with running(Mosquitto(tmp_path, lines, environment=sanitizers(reports))) as broker:
        client = connect_until_ready(broker, SHORT, mint.mint())
        assert client.publish(f"assets/{ASSET}/telemetry") == 0
        assert client.publish(f"assets/{OTHER}/telemetry") == 0x87
        assert client.subscribe(f"assets/{ASSET}/commands/#", "#") == [1, 0x87]
        with broker.client(4) as refused:
            assert refused.connect(SHORT, "", mint.expired()) == 5
        broker.reload()
        client.ping()
        client.disconnect()
        assert broker.stop() == 0
    assert [report.read_text() for report in reports.iterdir()] == []
