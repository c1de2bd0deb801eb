"""When something breaks: the answer is no, the broker lives, and somebody is told."""

import json
import sysconfig
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import authplugin
from authplugin.brokers.mosquitto.build import find_interpreter
from authplugin.testing import Behaviour, KeyServer, TokenMint
from tests.support.mosquitto import Mosquitto, running, scrape, write_passwords
from tests.support.mqtt import Client
from tests.support.ports import free_port

from .conftest import (
    ASSET,
    OTHER,
    SERVICE,
    SERVICE_PASSWORD,
    SHORT,
    Files,
    Gated,
    connect_until_ready,
    write_gate,
)

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]


def sabotaged_site(folder: Path, code: str) -> Path:
    """A site-packages folder that leads to the real ones and runs ``code`` in the broker's Python.

    The code sees the module under test as ``plugin``. A fault comes in through the interpreter's own
    start-up files, so that neither shim nor gate has a door for it.
    """
    site = folder / "site"
    site.mkdir()
    (site / "sabotage.py").write_text(
        "from authplugin.brokers.mosquitto import plugin\n" + textwrap.dedent(code)
    )
    places = [sysconfig.get_path("purelib"), str(Path(authplugin.__file__).parents[1])]
    (site / "sabotage.pth").write_text("\n".join([*places, "import sabotage"]) + "\n")
    return site


class Sabotaged:
    """A broker whose gate was tampered with; the key set comes from a file, so it is ready at once."""

    def __init__(self, files: Files, mint: TokenMint, code: str) -> None:
        self.metrics_port = free_port()
        self.mint = mint
        keys = files.folder / "keys.json"
        keys.write_text(json.dumps(mint.jwks()))
        write_gate(files, mint, f'jwks_file = "{keys}"', self.metrics_port)
        site = sabotaged_site(files.folder, code)
        tampered = Files(files.folder, files.plugin, find_interpreter(site=site))
        self.broker = Mosquitto(files.folder, tampered.stanza())

    def connect(self, client: Client) -> int:
        return client.connect(SHORT, "", self.mint.mint())


#: What a broken authenticate could answer, each of them a no.
ANSWERS = (
    "None",
    "True",
    "0",
    "1",
    "0x600D",
    "()",
    "(0x600D,)",
    "(0x600D, b'asset')",
    "(0x600D, b'asset', (), ())",
    "(1, b'asset', ())",
    "(True, b'asset', ())",
    "(None, b'asset', ())",
    "('0x600D', b'asset', ())",
    "(float(0x600D), b'asset', ())",
    "(-0x600D, b'asset', ())",
    "(0x600D + 2**32, b'asset', ())",
    "(0x600D + 2**64, b'asset', ())",
    "(0x600D, 'asset', ())",
    "(0x600D, None, ())",
    "(0x600D, b'', ())",
    "(0x600D, b'a/b', ())",
    "(0x600D, b'+', ())",
    "(0x600D, b'%u', ())",
    "(0x600D, b'a\\x00b', ())",
    "(0x600D, b'a' * 65, ())",
    "(0x600D, b'bridge', ())",
    "(0x600E, b'asset', ())",
    "(0x600E, b'bridge', ())",
    "[0x600D, b'asset', ()]",
    "1 / 0",
    "exit()",
    "(_ for _ in ()).throw(KeyboardInterrupt)",
    "(_ for _ in ()).throw(MemoryError)",
)


#: Defers to the password file, which knows this very user name.
DEFER = "(0x600E, b'', ())"


@pytest.fixture(scope="module")
def answering(plugin: Path, mint: TokenMint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker whose gate answers whatever the client's user name says, as Python."""
    files = Files(tmp_path_factory.mktemp("answering"), plugin, find_interpreter())
    code = "plugin.Plugin.authenticate = lambda self, client, client_id, name, *rest: eval(name)"
    answering = Sabotaged(files, mint, code)
    write_passwords(files.passwords, [(SERVICE, SERVICE_PASSWORD), (DEFER, "anything")])
    with running(answering.broker) as broker:
        yield broker


@pytest.mark.parametrize("answer", ANSWERS)
def test_any_answer_but_the_exact_yes_is_a_no(answering: Mosquitto, answer: str) -> None:
    for version in (4, 5):
        with answering.client(version) as client:
            assert client.connect("x", answer, "anything") == (0x87 if version == 5 else 5)
    assert answering.alive


def test_a_deferral_is_for_service_accounts_alone_even_if_the_password_file_knows_the_name(
    answering: Mosquitto,
) -> None:
    with answering.client(5) as client:
        assert client.connect("x", DEFER, "anything") == 0x87


def test_the_exact_yes_is_a_yes(answering: Mosquitto) -> None:
    with answering.client(5) as client:
        assert client.connect("x", "(0x600D, b'asset-1', ())", "anything") == 0
        assert client.publish("assets/asset-1/telemetry") == 0


@pytest.mark.parametrize(
    "code",
    [
        "def broken(self, *args): raise RuntimeError('secret')\nplugin.Plugin.authenticate = broken",
        "plugin.Plugin.authenticate = None",
        "from authplugin import gate\ndef broken(*args): raise MemoryError\ngate.Gate.authenticate = broken",
        "from authplugin.gate import Gate\nGate.authenticate = lambda self, c: True",
    ],
    ids=["raises", "not-callable", "gate-raises", "gate-says-true"],
)
def test_whatever_python_does_wrong_denies_and_the_broker_lives(
    files: Files, mint: TokenMint, code: str
) -> None:
    bad = Sabotaged(files, mint, code)
    with running(bad.broker) as broker:
        for version in (4, 5):
            with broker.client(version) as client:
                assert bad.connect(client) == (0x87 if version == 5 else 5)
        assert broker.alive
        assert "secret" not in broker.log


def test_effects_that_make_no_sense_are_left_out(files: Files, mint: TokenMint) -> None:
    effects = (
        "(None, (), (1,), (75, 5), (75, b'no such client'), (99, b'x'), ('a', b'b'), "
        "(2, b'cut off\\x00b'), (2, b'%s%n'))"
    )
    code = f"""
    good = plugin.Plugin.authenticate
    def authenticate(self, *args):
        return good(self, *args)._replace(effects={effects})
    plugin.Plugin.authenticate = authenticate
    """
    odd = Sabotaged(files, mint, code)
    with running(odd.broker) as broker:
        connect_until_ready(odd.broker, SHORT, mint.mint()).close()
        broker.wait_for("authplugin: %s%n")
        assert "cut off" not in broker.log


@pytest.mark.parametrize("callback", ["authorize", "tick", "disconnect", "reload", "stop"])
def test_an_exception_in_any_other_callback_is_a_no_as_well(
    files: Files, mint: TokenMint, callback: str
) -> None:
    code = f"""
    def broken(self, *args):
        raise RuntimeError("secret")
    plugin.Plugin.{callback} = broken
    """
    bad = Sabotaged(files, mint, code)
    with running(bad.broker) as broker:
        client = connect_until_ready(bad.broker, SHORT, mint.mint())
        # What every device may publish never asks Python.
        assert client.publish(f"assets/{ASSET}/telemetry") == 0
        assert client.publish(f"assets/{OTHER}/telemetry") == 0x87
        code_of = client.subscribe(f"assets/{ASSET}/commands/#")
        assert code_of == ([0x87] if callback == "authorize" else [1])
        if callback == "tick":
            broker.wait_for("authplugin: the gate failed at its tick: RuntimeError")
        broker.reload()
        if callback == "reload":
            # Whether the broker still stands as the gate believes, nobody knows: so nobody comes in.
            client.wait_closed()
            with broker.client(5) as again:
                assert bad.connect(again) == 0x87
            broker.wait_for("authplugin: the gate failed to reload, nobody comes in: RuntimeError")
        else:
            client.ping()
        client.disconnect()
        assert broker.alive
        assert broker.stop() == 0
        assert "secret" not in broker.log


def test_a_check_at_sighup_that_fails_itself_shuts_the_gate(files: Files, mint: TokenMint) -> None:
    fault = files.folder / "fault"
    code = f"""
    import os
    from authplugin.brokers.mosquitto import preflight
    good = preflight.read_configuration
    def read(*args):
        if os.path.exists({str(fault)!r}):
            raise RecursionError("secret")
        return good(*args)
    preflight.read_configuration = read
    """
    bad = Sabotaged(files, mint, code)
    with running(bad.broker) as broker:
        with connect_until_ready(bad.broker, SHORT, mint.mint()) as client:
            fault.touch()
            broker.reload()
            client.wait_closed()
        with broker.client(5) as again:
            assert bad.connect(again) == 0x87
        broker.wait_for(r"authplugin: reload failed: RecursionError at sabotage\.py:\d+")
        broker.wait_for("refused client .*internal .the broker's configuration could not be checked")
        assert "secret" not in broker.log


def test_after_a_reload_that_was_not_found_to_be_right_the_acl_file_has_the_last_word(
    files: Files, mint: TokenMint
) -> None:
    code = """
    plugin.Plugin.reload = lambda self: (0, None, ())
    """
    unsure = Sabotaged(files, mint, code)
    acl = files.folder / "acl"
    with running(unsure.broker) as broker, connect_until_ready(unsure.broker, SHORT, mint.mint()) as client:
        assert client.publish(f"assets/{ASSET}/telemetry") == 0
        acl.write_text(acl.read_text().replace("pattern write assets/%u/telemetry/#\n", ""))
        before = len(broker.log)
        broker.reload()
        broker.wait_for("Reloading config", after=before)
        assert client.publish(f"assets/{ASSET}/telemetry") == 0x87
        assert client.publish(f"assets/{ASSET}/status") == 0


def test_a_fault_of_the_gate_is_counted_and_says_where_without_saying_what(
    files: Files, mint: TokenMint
) -> None:
    code = """
    from authplugin.sessions import Sessions
    def broken(self, *args, **kwargs):
        raise RuntimeError("secret")
    Sessions.open = broken
    """
    bad = Sabotaged(files, mint, code)
    with running(bad.broker) as broker:
        end = time.monotonic() + 10
        while scrape(bad.metrics_port)["authplugin_faults_total"] == 0:
            with broker.client(5) as client:
                assert bad.connect(client) == 0x87
            assert time.monotonic() < end, broker.log
        broker.wait_for(r"authplugin: authenticate failed: RuntimeError at sabotage\.py:\d+")
        assert "secret" not in broker.log


def test_a_key_endpoint_that_hangs_never_makes_a_client_wait(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated, gated.device(suffix=":steady") as steady:
        gated.keys.behaviour = Behaviour.HANG
        asked = len(gated.keys.requests)
        # Tokens of a key nobody knows wake the refresher, which then hangs.
        for _ in range(50):
            token = gated.mint.unknown_key()
            reason = gated.refusal(lambda client, token=token: client.connect(SHORT, "", token))  # type: ignore[misc]
            assert reason == "key_unknown"
            steady.ping()
        # The endpoint holds each request for good: had any connect waited for one, none would be here.
        with gated.device() as good:
            good.ping()
        assert len(gated.keys.requests) <= asked + 1


def test_without_any_keys_every_token_is_refused_until_they_come(files: Files, mint: TokenMint) -> None:
    metrics_port = free_port()
    with KeyServer(mint.jwks(), behaviour=Behaviour.ERROR) as keys:
        write_gate(files, mint, f'jwks_uri = "{keys.url}"', metrics_port)
        with running(Mosquitto(files.folder, files.stanza())) as broker:
            gated = Gated(broker, mint, keys, metrics_port)
            token = gated.token()
            assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "keys_stale"
            broker.wait_for(f"authplugin: key set of {mint.issuer} was not refreshed")
            keys.behaviour = Behaviour.SERVE
            end = time.monotonic() + 20
            while True:
                with broker.client(5) as client:
                    if client.connect(SHORT, "", token) == 0:
                        break
                assert time.monotonic() < end, broker.log
                time.sleep(0.05)


def test_a_flood_of_refusals_does_not_flood_the_log(gated: Gated) -> None:
    before = len(gated.broker.log)
    token = gated.mint.expired()
    for _ in range(200):
        with gated.client() as client:
            client.connect(SHORT, "", token)
    found = gated.broker.wait_for(r"authplugin: (\d+) more lines of expired in the last second", after=before)
    assert int(found.group(1)) > 0
    assert gated.broker.log[before:].count("authplugin: refused client") < 100


def test_a_client_id_cannot_forge_a_line_in_the_log(gated: Gated) -> None:
    # Its own reason: lines are limited by reason, and other tests of this broker flood others.
    token = gated.mint.wrong_audience()
    with gated.client() as client:
        client.connect(
            "x'\N{LINE SEPARATOR}1795: authplugin: all is well\N{RIGHT-TO-LEFT OVERRIDE}", "", token
        )
    gated.broker.wait_for(r"refused client .x'\\u20281795: authplugin: all is well\\u202e")


def test_sessions_end_with_their_tokens_whatever_else_fails_at_every_tick(
    files: Files, mint: TokenMint
) -> None:
    code = """
    from authplugin.brokers.mosquitto.lines import LineBudget, WaitingLines
    from authplugin.brokers.mosquitto.live import LiveConfiguration
    def broken(self, *args, **kwargs):
        raise RuntimeError("secret")
    LineBudget.turn = WaitingLines.take = LiveConfiguration.take_change = broken
    """
    bad = Sabotaged(files, mint, code)
    with running(bad.broker) as broker, broker.client(5) as client:
        token = mint.mint(aid=SHORT, exp=int(time.time()) - 28 + 3)
        assert client.connect(SHORT, "", token) == 0
        assert client.wait_closed() == 0x98
        assert scrape(bad.metrics_port)["authplugin_faults_total"] > 0
        assert "secret" not in broker.log
