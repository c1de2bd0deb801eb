"""The broker has one thread: what the gate does on it stays small, whatever clients and signals do."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.build import find_interpreter
from authplugin.testing import Behaviour, TokenMint
from tests.support.mosquitto import Mosquitto, running
from tests.support.mqtt import PUBLISH, packet, text
from tests.support.ports import free_port

from .conftest import ASSET, SHORT, Files, Gated, connect_until_ready, write_gate
from .test_faults import sabotaged_site

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]


def test_sighup_judges_a_thousand_sessions_for_less_than_they_cost_to_connect(
    gate_of: Gates, tmp_path: Path
) -> None:
    with gate_of(tmp_path, extra="\n[cache]\ncapacity = 0\n") as gated, ExitStack() as stack:
        assets = [f"02iAB000000{n:04d}" for n in range(1000)]
        tokens = [gated.token(asset) for asset in assets]
        began = gated.broker.cpu()
        clients = []
        for asset, token in zip(assets, tokens, strict=True):
            client = stack.enter_context(gated.client(5))
            assert client.connect(asset, "", token) == 0
            clients.append(client)
        connecting = gated.broker.cpu() - began
        # With no cache and no issuer only the table of sessions can answer.
        gated.keys.behaviour = Behaviour.HANG
        before = len(gated.broker.log)
        began = gated.broker.cpu()
        gated.broker.reload()
        gated.broker.wait_for("Reloading config", after=before)
        clients[0].ping()
        judging = gated.broker.cpu() - began
        for client in clients:
            client.ping()
        assert judging < connecting / 2, f"{judging:.3f} s of CPU against {connecting:.3f}"


def test_python_is_asked_four_times_a_second_however_fast_the_loop_turns(
    files: Files, mint: TokenMint
) -> None:
    ticks = files.folder / "ticks"
    keys = files.folder / "keys.json"
    keys.write_text(json.dumps(mint.jwks()))
    write_gate(files, mint, f'jwks_file = "{keys}"', free_port())
    code = f"""
    good = plugin.Plugin.tick
    def tick(self, *refused):
        with open({str(ticks)!r}, "a") as file:
            file.write("t")
        return good(self, *refused)
    plugin.Plugin.tick = tick
    """
    site = sabotaged_site(files.folder, code)
    lines = Files(files.folder, files.plugin, find_interpreter(site=site)).stanza()
    messages = packet(PUBLISH, 0, text(f"assets/{ASSET}/telemetry") + b"\0" + b"{}") * 500
    ticks.touch()
    with (
        running(Mosquitto(files.folder, lines, log_types=["error"])) as broker,
        connect_until_ready(broker, SHORT, mint.mint()) as client,
    ):
        before, began = len(ticks.read_bytes()), time.monotonic()
        while time.monotonic() - began < 2.5:
            client.send(messages)
            client.ping()
        asked, seconds = len(ticks.read_bytes()) - before, time.monotonic() - began
    assert 1 <= asked <= 4 * seconds + 1


def test_a_flood_of_the_largest_passwords_leaves_another_client_its_answers(gated: Gated) -> None:
    with gated.device(suffix=":steady") as steady, ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(gated.client())
            assert client.connect(SHORT, "", b"e." * 32767) == 0x87
            steady.ping()
