"""A new configuration takes its place while the broker runs: whole, or not at all."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.acl import write_acl
from authplugin.settings import load
from authplugin.testing import KeyServer, TokenMint
from tests.support.mosquitto import scrape, write_passwords
from tests.support.ports import free_port

from .conftest import (
    ASSET,
    AUDIENCE,
    OTHER,
    OTHER_SHORT,
    SERVICE,
    SERVICE_PASSWORD,
    SHORT,
    Gated,
    connect_until_ready,
)
from .test_faults import sabotaged_site

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
NOT_AUTHORIZED = 0x87
IN_FORCE = "gate.toml is in force as it is now"


class Operator:
    """Who changes the gate's configuration while it runs.

    Args:
        gated: the broker.
        signal: whether to send SIGHUP, or to leave it to the watch.
    """

    def __init__(self, gated: Gated, *, signal: bool) -> None:
        self.gated = gated
        self.folder = gated.broker.folder
        self.config = self.folder / "gate.toml"
        self._signal = signal

    def change(self, old: str, new: str, *, says: str = IN_FORCE) -> None:
        """Replace a text, and wait for what the broker's log says of it."""
        text = self.config.read_text()
        assert old in text
        self.write(text.replace(old, new, 1), says=says)

    def write(self, text: str, *, says: str = IN_FORCE) -> None:
        before = len(self.gated.broker.log)
        beside = self.folder / "gate.new"
        beside.write_text(text)
        beside.replace(self.config)
        if self._signal:
            self.gated.broker.reload()
        self.gated.broker.wait_for(says, after=before)

    def write_acl(self) -> None:
        policy = load(self.config, {}).policy
        beside = self.folder / "acl.new"
        beside.write_text(write_acl(policy.topics, policy.service_accounts))
        beside.replace(self.folder / "acl")


@pytest.fixture(params=["SIGHUP", "watch"])
def signal(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "SIGHUP")


def good(gated: Gated) -> bool:
    return scrape(gated.metrics_port)["authplugin_config_last_reload_successful"] == 1


def wait_good(gated: Gated, *, expected: bool) -> None:
    end = time.monotonic() + 10
    while good(gated) is not expected:
        assert time.monotonic() < end, gated.broker.log[-3000:]
        time.sleep(0.02)


def test_who_is_still_good_stays_and_who_is_not_goes(gate_of: Gates, tmp_path: Path, *, signal: bool) -> None:
    with gate_of(tmp_path) as gated:
        operator = Operator(gated, signal=signal)
        with gated.device() as mine, gated.device(OTHER_SHORT, version=4) as other:
            operator.change("[[service_accounts]]", f'assets = {{exact = ["{ASSET}"]}}\n[[service_accounts]]')
            other.wait_closed()
            mine.ping()
            assert mine.publish(f"assets/{ASSET}/telemetry") == 0
            token = gated.token(OTHER_SHORT)
            assert gated.refusal(lambda client: client.connect(OTHER_SHORT, "", token)) == "foreign_asset"
        assert good(gated)
        gated.broker.wait_for(f"refused client '{OTHER_SHORT}' from '127.0.0.1': foreign_asset")


def test_another_audience_is_asked_of_live_sessions_too(
    gate_of: Gates, tmp_path: Path, *, signal: bool
) -> None:
    with gate_of(tmp_path) as gated:
        operator = Operator(gated, signal=signal)
        token = gated.token(aud=["https://new.example.com", AUDIENCE])
        with gated.client() as both, gated.device(suffix=":old") as old:
            assert both.connect(SHORT, "", token) == 0
            operator.change(AUDIENCE, "https://new.example.com")
            old.wait_closed()
            both.ping()
        bare = gated.token()
        assert gated.refusal(lambda client: client.connect(SHORT, "", bare)) == "audience_mismatch"


def test_an_issuer_comes_with_its_keys_and_goes_with_its_sessions(
    gate_of: Gates, tmp_path: Path, *, signal: bool
) -> None:
    second = TokenMint("https://second.example.com", AUDIENCE)
    with gate_of(tmp_path) as gated, KeyServer(second.jwks()) as keys:
        operator = Operator(gated, signal=signal)
        original = operator.config.read_text()
        asked = len(gated.keys.requests)
        token = second.mint(aid=OTHER_SHORT)
        scopes = original.replace(
            "[[service_accounts]]",
            f"""assets = {{exact = ["{ASSET}"]}}

[[issuers]]
issuer = "{second.issuer}"
audiences = ["{AUDIENCE}"]
jwks_uri = "{keys.url}"
assets = {{exact = ["{OTHER}"]}}

[[service_accounts]]""",
            1,
        )
        assert gated.refusal(lambda client: client.connect(OTHER_SHORT, "", token)) == "issuer_unknown"
        with gated.device() as first:
            operator.write(scopes)
            end = time.monotonic() + 10
            while True:
                client = gated.client()
                if client.connect(OTHER_SHORT, "", token) == 0:
                    break
                client.close()
                assert time.monotonic() < end, gated.broker.log[-2000:]
                time.sleep(0.02)
            with client:
                assert client.publish(f"assets/{OTHER}/telemetry") == 0
                operator.write(original)
                client.wait_closed()
            first.ping()
            # The issuer that stayed was not asked anew: its refresher went on undisturbed.
            assert len(gated.keys.requests) == asked
        assert gated.refusal(lambda client: client.connect(OTHER_SHORT, "", token)) == "issuer_unknown"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("audiences", "audience", r"gate.toml:\d+: issuers\[0\].audience"),
        ("[[issuers]]", "[[issuers", "gate.toml"),
        ("expiry_jitter_s = 0.0", "expiry_jitter_s = -1", r"gate.toml:\d+: sessions.expiry_jitter_s"),
        ("[metrics]", '[metrics]\naddress = "::1"', "metrics.address: found ::1, expected 127.0.0.1: it"),
        (
            "[sessions]",
            "[cache]\ncapacity = 7\n[sessions]",
            r"cache.capacity: found 7, expected \d+: it changes",
        ),
        ("subscribe = [", 'publish = ["other/#"]\nsubscribe = [', "gate.toml"),
        ('name = "bridge"', 'name = "bridge2"', "a line for service account bridge2"),
        ("[mosquitto]", '[topics]\npublish = ["a/{aid}"]\n[mosquitto]', "acl:.*acl_file"),
    ],
)
def test_a_bad_configuration_is_refused_whole_and_the_old_one_stays(
    gate_of: Gates, tmp_path: Path, old: str, new: str, says: str, *, signal: bool
) -> None:
    with gate_of(tmp_path) as gated, gated.device() as device, gated.service() as service:
        operator = Operator(gated, signal=signal)
        original = operator.config.read_text()
        # A change that could stand comes with each: it must not slip in.
        half = original.replace(
            "[[service_accounts]]", f'assets = {{exact = ["{OTHER}"]}}\n[[service_accounts]]', 1
        )
        assert old in half
        operator.write(half.replace(old, new, 1), says=says)
        wait_good(gated, expected=False)
        device.ping()
        service.ping()
        assert device.publish(f"assets/{ASSET}/telemetry") == 0
        with gated.device(suffix=":new") as fresh:
            fresh.ping()
        beside = tmp_path / "gate.new"
        beside.write_text(original)
        beside.replace(operator.config)
        if signal:
            gated.broker.reload()
        wait_good(gated, expected=True)


def test_a_configuration_that_names_a_missing_file_is_adopted_when_the_file_comes(
    gate_of: Gates, tmp_path: Path
) -> None:
    revoked = tmp_path / "revoked.jsonl"
    with gate_of(tmp_path) as gated:
        operator = Operator(gated, signal=False)
        operator.change(
            "[mosquitto]", f'[revocation]\nfile = "{revoked}"\n\n[mosquitto]', says="revocation.file"
        )
        wait_good(gated, expected=False)
        said = len(gated.broker.log)
        revoked.write_text(json.dumps({"asset": ASSET}) + "\n")
        gated.broker.wait_for(IN_FORCE, after=said)
        assert "revocation.file" not in gated.broker.log[said:]
        token = gated.token()
        assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "revoked"


def test_the_same_mistake_made_again_counts_again(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path, mosquitto="watch_s = 3") as gated:
        operator = Operator(gated, signal=False)
        good_one = operator.config.read_text()
        bad = good_one.replace("audiences", "audience", 1)
        operator.write(bad, says="issuers.*audience")
        wait_good(gated, expected=False)
        operator.config.write_text(good_one)
        gated.broker.reload()
        wait_good(gated, expected=True)
        operator.write(bad, says="issuers.*audience")
        wait_good(gated, expected=False)


def test_a_configuration_that_could_stand_and_then_could_not_is_tried_again(
    gate_of: Gates, tmp_path: Path
) -> None:
    code = """
    from authplugin.brokers.assembly import Assembly
    from authplugin.errors import ConfigurationError
    adopt, tries = Assembly.adopt, []
    def fail_once(self, loaded):
        if not tries:
            tries.append(loaded)
            raise ConfigurationError(file="list", line=7, key="line", found="half", expected="all")
        adopt(self, loaded)
    Assembly.adopt = fail_once
    """
    with gate_of(tmp_path, site=sabotaged_site(tmp_path, code)) as gated:
        operator = Operator(gated, signal=False)
        operator.change("expiry_jitter_s = 0.0", "expiry_jitter_s = 1.0", says="list:7: line: found half")
        said = len(gated.broker.log)
        gated.broker.wait_for(IN_FORCE, after=said)
        wait_good(gated, expected=True)


def test_topics_change_with_the_acl_file(gate_of: Gates, tmp_path: Path, *, signal: bool) -> None:
    with gate_of(tmp_path) as gated, gated.device() as device:
        operator = Operator(gated, signal=signal)
        topics = '[topics]\npublish = ["plant/{aid}/#"]\nsubscribe = ["plant/{aid}/in/#"]\n\n[mosquitto]'
        operator.change("[mosquitto]", topics, says="acl_file")
        assert device.publish(f"assets/{ASSET}/telemetry") == 0
        before = len(gated.broker.log)
        operator.write_acl()
        if signal:
            gated.broker.reload()
        gated.broker.wait_for(IN_FORCE, after=before)
        device.ping()
        assert device.publish(f"plant/{ASSET}/telemetry") == 0
        assert device.publish(f"assets/{ASSET}/telemetry") == NOT_AUTHORIZED
        assert device.subscribe(f"plant/{ASSET}/in/#", f"assets/{ASSET}/commands/#") == [1, NOT_AUTHORIZED]


def test_a_service_account_comes_and_goes(gate_of: Gates, tmp_path: Path, *, signal: bool) -> None:
    with gate_of(tmp_path) as gated, gated.service() as bridge:
        operator = Operator(gated, signal=signal)
        original = operator.config.read_text()
        accounts = [(SERVICE, SERVICE_PASSWORD), ("report", "of the day")]
        write_passwords(tmp_path / "passwords", accounts)
        changed = original.replace(
            "[mosquitto]", '[[service_accounts]]\nname = "report"\nsubscribe = ["assets/#"]\n\n[mosquitto]', 1
        )
        operator.write(changed, says="acl_file")
        before = len(gated.broker.log)
        operator.write_acl()
        if signal:
            gated.broker.reload()
        gated.broker.wait_for(IN_FORCE, after=before)
        with gated.client() as report:
            assert report.connect("report-1", "report", "of the day") == 0
            bridge.ping()
            operator.write(original, says="acl_file")
            before = len(gated.broker.log)
            operator.write_acl()
            if signal:
                gated.broker.reload()
            gated.broker.wait_for(IN_FORCE, after=before)
            report.wait_closed()
            bridge.ping()
        token = b"of the day"
        assert gated.refusal(lambda client: client.connect("report-1", "report", token)) == "malformed"


def test_the_log_level_changes(gate_of: Gates, tmp_path: Path, *, signal: bool) -> None:
    with gate_of(tmp_path) as gated:
        operator = Operator(gated, signal=signal)
        operator.change("[mosquitto]", '[mosquitto]\nlog_level = "error"')
        before = len(gated.broker.log)
        token = gated.mint.wrong_audience()
        with gated.client() as client:
            assert client.connect(SHORT, "", token) == NOT_AUTHORIZED
        operator.change('log_level = "error"', 'log_level = "info"')
        assert "audience_mismatch" not in gated.broker.log[before:]
        with gated.client() as client:
            assert client.connect(SHORT, "", token) == NOT_AUTHORIZED
        gated.broker.wait_for("refused client .*: audience_mismatch", after=before)


def test_keys_that_moved_stay_until_the_new_place_answers(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated, gated.device() as device:
        operator = Operator(gated, signal=True)
        operator.change(gated.keys.url, f"http://127.0.0.1:{free_port()}/keys")
        device.ping()
        with gated.device(suffix=":new") as fresh:
            fresh.ping()


def test_without_the_watch_a_change_waits_for_the_signal(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated:
        operator = Operator(gated, signal=True)
        operator.change(
            "[mosquitto]", "[mosquitto]\nwatch_s = 0", says="watch_s: found 0.0, expected 1.0: it changes"
        )
        gated.broker.stop()
        gated.broker.start()
        connect_until_ready(gated.broker, SHORT, gated.token()).disconnect()
        quiet = Operator(gated, signal=False)
        text = quiet.config.read_text().replace('log_level = "info"', "")
        quiet.config.write_text(text.replace("[mosquitto]", '[mosquitto]\nlog_level = "error"'))
        token = gated.mint.wrong_audience()
        before = len(gated.broker.log)
        with gated.client() as client:
            assert client.connect(SHORT, "", token) == NOT_AUTHORIZED
        gated.broker.wait_for("refused client .*: audience_mismatch", after=before)
        assert IN_FORCE not in gated.broker.log[before:]


@pytest.mark.parametrize("tables", ["()", "(0, 0, 0)", "((b'x' * 200,), (), ())", "((), ((b'a',),), ())"])
def test_tables_that_the_shim_cannot_take_shut_the_gate_until_it_can(
    gate_of: Gates, tmp_path: Path, tables: str
) -> None:
    fault = tmp_path / "fault"
    code = f"""
    import os
    good = plugin.Plugin.reload
    def reload(self):
        answer = good(self)
        return answer._replace(tables={tables}) if os.path.exists({str(fault)!r}) else answer
    plugin.Plugin.reload = reload
    """
    with gate_of(tmp_path, site=sabotaged_site(tmp_path, code)) as gated, gated.device() as device:
        fault.touch()
        gated.broker.reload()
        device.wait_closed()
        with gated.client() as client:
            assert client.connect(SHORT, "", gated.token()) == NOT_AUTHORIZED
        gated.broker.wait_for("nobody comes in until the configuration is read anew")
        fault.unlink()
        before = len(gated.broker.log)
        gated.broker.reload()
        gated.broker.wait_for("Reloading config", after=before)
        with gated.device() as again:
            assert again.publish(f"assets/{ASSET}/telemetry") == 0
            assert again.publish(f"assets/{OTHER}/telemetry") == NOT_AUTHORIZED


def test_a_gate_that_an_acl_file_shut_opens_by_itself_when_the_file_is_right(
    gate_of: Gates, tmp_path: Path
) -> None:
    with gate_of(tmp_path) as gated, gated.device() as device:
        acl = tmp_path / "acl"
        good_rules = acl.read_text()
        acl.write_text(good_rules + "pattern readwrite assets/#\n")
        gated.broker.reload()
        device.wait_closed()
        wait_good(gated, expected=False)
        acl.write_text(good_rules)
        connect_until_ready(gated.broker, SHORT, gated.token()).disconnect()
        wait_good(gated, expected=True)
