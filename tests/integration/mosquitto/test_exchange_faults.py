"""Enhanced authentication when Python breaks: whatever it raises or answers, nobody comes in by it."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from authplugin.ace import write_proof, write_token
from authplugin.brokers.mosquitto.build import find_interpreter
from authplugin.client.key import make_key, public_jwk, sign
from authplugin.testing import TokenMint
from tests.support.mosquitto import Mosquitto, running
from tests.support.mqtt import (
    AUTH,
    CONNACK,
    CONTINUE_AUTHENTICATION,
    RE_AUTHENTICATE,
    Client,
    Closed,
    Packet,
    authentication_data,
)
from tests.support.ports import free_port

from .conftest import SHORT, Files, connect_until_ready, write_gate
from .test_faults import sabotaged_site

pytestmark = pytest.mark.needs("mosquitto", "cc")

#: What a broken challenge or prove could do, none of it a yes.
FAULTS = (
    "raise RuntimeError('secret')",
    "raise SystemExit",
    "raise MemoryError",
    "return None",
    "return True",
    "return (0x600D,)",
    "return (0x600D, None, ())",
    "return (0x600D, b'a/b', ())",
    "return (0x600D, b'bridge', ())",
    "return (0x600E, b'bridge', ())",
    "return (0x600F, 'text', ())",
    "return (0x600F, b'a' * 1000, ((0x44, b'x' * 70000),))",
    "return (0x6010, b'', ())",
)


@pytest.fixture(scope="module")
def broken(plugin: Path, mint: TokenMint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker whose challenge or prove does what the file ``fault`` in its folder says."""
    files = Files(tmp_path_factory.mktemp("broken"), plugin, find_interpreter())
    fault = files.folder / "fault"
    fault.write_text("")
    keys = files.folder / "keys.json"
    keys.write_text(json.dumps(mint.jwks()))
    write_gate(files, mint, f'jwks_file = "{keys}"', free_port())
    code = f"""
    def breaking(name):
        good = getattr(plugin.Plugin, name)
        def callback(self, *args):
            broken, _, body = open({str(fault)!r}).read().partition(":")
            if broken != name:
                return good(self, *args)
            space = {{}}
            exec("def fault():\\n    " + body, space)
            return space["fault"]()
        setattr(plugin.Plugin, name, callback)
    breaking("challenge")
    breaking("prove")
    """
    site = sabotaged_site(files.folder, code)
    lines = Files(files.folder, plugin, find_interpreter(site=site)).stanza()
    with running(Mosquitto(files.folder, lines)) as broker:
        connect_until_ready(broker, SHORT, mint.mint()).disconnect()
        yield broker


@pytest.mark.parametrize("callback", ["challenge", "prove"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_an_exchange_lets_anybody_in_or_ends_the_broker(
    broken: Mosquitto, mint: TokenMint, callback: str, fault: str
) -> None:
    key = make_key()
    token = write_token(mint.mint(cnf={"jwk": public_jwk(key)}))

    def prove(client: Client, asked: Packet) -> Packet:
        if asked.kind != AUTH:
            return asked
        nonce = os.urandom(8)
        signature = sign(key, authentication_data(asked.body) + nonce)
        return client.authenticate(CONTINUE_AUTHENTICATION, "ace", write_proof(nonce, signature))

    state = broken.folder / "fault"
    with broken.client(5) as renewing, broken.client(5) as coming:
        state.write_text("")
        good = prove(renewing, renewing.begin(SHORT + ":renewing", "ace", token))
        assert (good.kind, good.body[1]) == (CONNACK, 0)
        state.write_text(f"{callback}:{fault}")
        with contextlib.suppress(Closed, TimeoutError):
            got = prove(coming, coming.begin(SHORT + ":coming", "ace", token))
            assert (got.kind, got.body[1]) != (CONNACK, 0)
        with contextlib.suppress(Closed, TimeoutError):
            again = prove(renewing, renewing.authenticate(RE_AUTHENTICATE, "ace", token))
            assert (again.kind, again.body[:1]) != (AUTH, b"\0")
    state.write_text("")
    connect_until_ready(broken, SHORT, mint.mint()).disconnect()
    assert "secret" not in broken.log
