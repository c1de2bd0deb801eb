"""The live commands against a gate that runs, over its real socket; a thread stands in for the broker's.

Long, because a running gate is made up here, and every command is one or two tests on it.
"""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from authplugin.brokers.assembly import Assembly
from authplugin.cli import main
from authplugin.clock import SystemClock
from authplugin.errors import ConfigurationError
from authplugin.model import Allow, Connect
from authplugin.settings import load
from authplugin.testing import TokenMint
from authplugin.watch import replace_file
from tests.support.gates import AID, DID, SHORT

AUDIENCE = "https://ingest.example.com"


class Running:
    """A gate with a door that takes its turn many times a second."""

    def __init__(self, folder: Path, extra: str = "", admin: str = "") -> None:
        self.mint = TokenMint(audience=AUDIENCE)
        self.config = folder / "gate.toml"
        self.revocations = folder / "revocations"
        self.config.write_text(
            f"""
[[issuers]]
issuer = "{self.mint.issuer}"
audiences = ["{AUDIENCE}"]
jwks_file = "keys.json"
{extra}
[revocation]
file = "revocations"
[admin]
socket = "admin"
{admin}
"""
        )
        (folder / "keys.json").write_text(json.dumps(self.mint.jwks()))
        self.revocations.write_text("# ours\n")
        self.assembly = Assembly(load(self.config, {}), clock=SystemClock())
        self.kicked: list[tuple[str, str]] = []
        self.turns = threading.Condition()
        self._stopping = threading.Event()
        self._door = threading.Thread(target=self._turn)

    def _turn(self) -> None:
        while not self._stopping.wait(0.01):
            for kick in self.assembly.gate.due():
                self.kicked.append((kick.session.client_id, kick.reason.value))

    def __enter__(self) -> Self:
        self.assembly.start()
        self._door.start()
        self.open(AID)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._door.join()
        self.assembly.stop(10.0)

    def decide(self, client_id: str = AID) -> str:
        """What the gate says to the mint's token: its reason, or ``allowed``."""
        decision = self._at_the_door(
            lambda: self.assembly.gate.authenticate(Connect(client_id, None, self.mint.mint(), "192.0.2.1"))
        )
        return "allowed" if isinstance(decision, Allow) else str(getattr(decision, "reason", ""))

    def open(self, client_id: str, **claims: object) -> None:
        token = self.mint.mint(**claims)

        def let_in() -> bool:
            decision = self.assembly.gate.authenticate(Connect(client_id, None, token, "192.0.2.1"))
            if isinstance(decision, Allow):
                self.assembly.gate.open_session(client_id, 1, decision.grant, address="192.0.2.1")
            return isinstance(decision, Allow)

        for _ in range(1000):
            if self._at_the_door(let_in):
                return
        raise AssertionError("the keys never came")

    def _at_the_door(self, work: object) -> object:
        assert callable(work)
        done = threading.Event()
        results: list[object] = []

        def run() -> None:
            results.append(work())
            done.set()

        self.assembly.gate.post(run)
        assert done.wait(10)
        return results[0]

    def command(self, *words: str) -> int:
        return main([words[0], "--config", str(self.config), *words[1:]])


@pytest.fixture(name="running")
def make_running(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path) as running:
        yield running


def test_a_revocation_that_is_not_put_in_force_is_not_called_done(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.revocations.chmod(0o666)
    assert running.command("revoke", "--asset", SHORT) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "is written, but is not in force" in said.err
    assert running.decide() == "allowed"
    running.revocations.chmod(0o644)
    assert running.command("revoke", "--device", "another") == 0
    assert running.decide() == "revoked"


def test_a_revoked_asset_loses_its_session_and_stays_out_until_it_is_taken_back(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running.decide() == "allowed"
    assert running.command("revoke", "--asset", SHORT, "--note", "stolen") == 0
    assert capsys.readouterr().out == "revoked; 1 live sessions end\n"
    assert running.decide() == "revoked"
    assert running.kicked == [(AID, "revoked")]
    assert running.revocations.read_text() == f'# ours\n{{"asset":"{SHORT}","note":"stolen"}}\n'
    assert running.command("unrevoke", "--asset", AID) == 0
    assert running.decide() == "allowed"
    assert running.revocations.read_text() == "# ours\n"
    assert running.command("unrevoke", "--asset", AID) == 1


def test_an_emptied_file_takes_nothing_back_and_nothing_is_added_to_it(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running.command("revoke", "--asset", SHORT) == 0
    running.revocations.write_text("")
    assert running.command("revoke", "--device", "another") == 1
    assert f"{running.revocations}: the file: found nothing in it" in capsys.readouterr().err
    assert running.revocations.read_text() == ""
    assert running.decide() == "revoked"


def test_a_revocation_outlives_the_gate(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        running.command("revoke", "--device", DID, "--issuer", running.mint.issuer)
    again = Assembly(load(running.config, {}), clock=SystemClock())
    assert again.guards.states()[0].entries == 1
    assert again.guards.states()[0].name == "revocations"


def test_a_token_is_revoked_from_its_file_and_never_named(
    running: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = running.mint.mint()
    (tmp_path / "token").write_bytes(token)
    assert running.command("revoke", "--token", str(tmp_path / "token")) == 0
    text = running.revocations.read_text() + capsys.readouterr().out
    assert token.decode()[:20] not in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("revoke",), "found nothing named, expected one of --token"),
        (("unrevoke",), "found nothing named, expected one of --token"),
        (("revoke", "--kid", "Assets"), "--kid: found no --issuer beside it"),
        (("revoke", "--asset", "A1", "--device", "b"), "asset and device, which together mean nothing"),
        (("revoke", "--token", "/dev/null"), "not three parts"),
        (("revoke", "--token", "t", "--digest", "0" * 16), "found both, expected one of the two"),
        (("quarantine", "--seconds", "5"), "--seconds: found no asset beside it"),
        (("revoke", "--digest", "abc"), "64 or 16 hex digits"),
        (("revoke", "--issued-before", "noon"), "RFC 3339"),
        (("quarantine", "a/b"), "asset: found what is not a record id of 15 or 18 letters and digits"),
        (("revoke", "--asset", f"{SHORT}XYZ"), "found what ends in three characters that do not fit"),
        (("revoke", "--asset", "pump-7"), "nothing is revoked: asset: found what is not a record id"),
        (("revoke", "--issuer", "https://acme.my.site.con"), "nothing is revoked: issuer: found one that"),
        (("revoke", "--kid", "A", "--issuer", "acme"), "expected one of https://acme.my.site.com (--force"),
        (("revoke", "--device", "d", "--issuer", "acme"), "found one that is not configured"),
        (("revoke", "--issued-before", "2199-01-01T00:00:00Z"), "issued_before: found a time to come"),
        (("quarantine", SHORT, "--seconds", "0"), "seconds: 1 to"),
        (("sessions", "--limit", "100000"), "limit: at most 1000"),
    ],
)
def test_what_means_nothing_is_refused_with_its_reason(
    running: Running, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str
) -> None:
    before = running.revocations.read_text()
    assert running.command(*words) == 1
    assert why in capsys.readouterr().err
    assert running.revocations.read_text() == before


@pytest.mark.parametrize("seconds", ["nan", "inf", "soon"])
def test_a_time_in_quarantine_that_is_no_number_is_wrong_usage(running: Running, seconds: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        running.command("quarantine", SHORT, "--seconds", seconds)
    assert running.decide() == "allowed"


@pytest.mark.parametrize(
    "words",
    [
        ("--asset", "pump-7"),
        ("--issuer", "https://next.example.com"),
        ("--issued-before", "2199-01-01T00:00:00Z"),
    ],
)
def test_what_only_a_later_configuration_can_mean_is_revoked_by_force(
    running: Running, words: tuple[str, ...]
) -> None:
    assert running.command("revoke", *words, "--force") == 0
    assert f'"{words[1]}"' in running.revocations.read_text()
    assert running.command("unrevoke", *words) == 0


def test_a_key_that_the_gate_does_not_hold_is_revoked_and_said_so(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    for kid, noted in ((running.mint.kid, False), ("Asset", True)):
        assert running.command("revoke", "--kid", kid, "--issuer", running.mint.issuer) == 0
        said = capsys.readouterr()
        assert said.out.startswith("revoked; ")
        assert ("note: the gate holds no such key of the issuer now" in said.err) is noted


def test_a_secret_that_the_gate_does_not_know_is_named_by_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery staple")
    secret.chmod(0o600)
    with Running(tmp_path, admin='secret_file = "secret"') as running:
        assert running.command("sessions") == 0
        secret.write_text("another horse battery staple")
        capsys.readouterr()
        assert running.command("sessions") == 1
        said = capsys.readouterr().err
        assert f"asks for another secret than the one in {secret} (admin.secret_file)" in said
        assert "another horse" not in said
        running.config.write_text(running.config.read_text().replace("secret_file", "# secret_file"))
        assert running.command("sessions") == 1
        assert "another secret than none: [admin] names no secret_file" in capsys.readouterr().err


def test_a_file_of_revocations_with_a_mistake_takes_no_more(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.revocations.write_text("nonsense\n")
    assert running.command("revoke", "--asset", SHORT) == 1
    assert "revocations:1: the line" in capsys.readouterr().err
    assert running.revocations.read_text() == "nonsense\n"
    assert running.decide() == "allowed"


def test_a_quarantined_asset_is_listed_and_released(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running.command("quarantine", SHORT, "--seconds", "500") == 0
    assert running.decide() == "quarantined"
    capsys.readouterr()
    assert running.command("quarantine") == 0
    assert capsys.readouterr().out in {f"{AID}  {left} s left\n" for left in (498, 499, 500)}
    assert running.command("release", SHORT) == 0
    assert running.decide() == "allowed"
    assert running.command("release", SHORT) == 1


def test_a_secret_that_no_header_can_show_is_refused_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gate.toml").write_text(
        '[[issuers]]\nissuer = "https://a.example.com"\naudiences = ["a"]\n'
        '[admin]\nport = 1\nsecret_file = "secret"\n'
    )
    for secret in (
        "correct\nhorse-battery-staple",
        "p\u00fcssword-p\u00fcssword-p\u00fcssword",
        "\u043f" * 20,
    ):
        (tmp_path / "secret").write_text(secret)
        (tmp_path / "secret").chmod(0o600)
        assert main(["sessions", "--config", str(tmp_path / "gate.toml")]) == 1
        said = capsys.readouterr().err
        assert "secret: admin.secret_file: found more than one line, or characters beyond ASCII" in said
        assert secret[:7] not in said


def test_whoever_else_listens_there_is_no_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gate.toml").write_text(
        '[[issuers]]\nissuer = "https://a.example.com"\naudiences = ["a"]\n[admin]\nsocket = "admin"\n'
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "admin"))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n[1]")

        other = threading.Thread(target=answer)
        other.start()
        assert main(["sessions", "--config", str(tmp_path / "gate.toml")]) == 1
        other.join()
    assert "no gate answers at" in capsys.readouterr().err


def test_sessions_are_listed_without_tokens(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.open(f"{AID}:2")
    assert running.command("sessions") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:4] for line in lines] == [
        [AID, AID, DID, "Assets"],
        [f"{AID}:2", AID, DID, "Assets"],
    ]
    assert running.command("sessions", "--json", "--asset", SHORT, "--limit", "1") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["live"], answer["found"], len(answer["sessions"])) == (2, 2, 1)
    assert answer["sessions"][0]["address"] == "192.0.2.1"
    assert running.command("sessions", "--limit", "1") == 0
    assert "1 of 2 shown" in capsys.readouterr().err
    assert running.command("sessions", "--asset", "02iAB00000XdEfG") == 0
    assert capsys.readouterr().out == ""


def test_a_session_whose_token_ends_beyond_all_years_is_listed_too(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.open(f"{AID}:2", exp=1_700_000_000_000)  # an issuer that counts milliseconds
    assert running.command("sessions") == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("token until after the year 9999")


def test_without_a_gate_or_a_place_to_ask_the_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Running(tmp_path)
    assert running.command("sessions") == 1
    assert "no gate answers at" in capsys.readouterr().err
    running.config.write_text(running.config.read_text().replace('socket = "admin"', ""))
    assert running.command("sessions") == 1
    assert "[admin] names no socket and no port" in capsys.readouterr().err


def test_a_broker_that_does_not_take_its_turn_is_not_waited_for_long(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.assembly.start()
    try:
        with contextlib.redirect_stderr(None):
            assert running.command("release", SHORT) == 1
    finally:
        running.assembly.stop(10.0)


def test_a_gate_without_its_watched_file_does_not_start(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.revocations.unlink()
    with pytest.raises(ConfigurationError, match=r"revocation\.file: found No such file"):
        Assembly(load(running.config, {}), clock=SystemClock())
    config = running.config.read_text().replace("[revocation]", "").replace('file = "revocations"', "")
    provisioned = 'jwks_file = "keys.json"\nrequire_provisioned = true\nprovisioned_file = "ids"'
    running.config.write_text(config.replace('jwks_file = "keys.json"', provisioned))
    with pytest.raises(ConfigurationError, match=r"issuers\[0\]\.provisioned_file: found No such file"):
        Assembly(load(running.config, {}), clock=SystemClock())
    (tmp_path / "ids").write_text(SHORT)
    assembly = Assembly(load(running.config, {}), clock=SystemClock())
    assert [(state.name, state.entries) for state in assembly.guards.states()] == [("provisioned-0", 1)]


def test_an_audit_that_would_wait_for_a_reader_keeps_the_gate_from_starting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "audit")
    with pytest.raises(ConfigurationError, match=r"audit\.file: found no regular file"):
        Running(tmp_path, '[audit]\nfile = "audit"')


def test_a_place_where_nobody_may_listen_keeps_the_gate_from_starting(tmp_path: Path) -> None:
    running = Running(tmp_path)
    (tmp_path / "admin").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"admin\.socket: found .*admin"):
        running.assembly.start()
    running.assembly.stop(10.0)


def test_other_settings_bring_their_watched_files_along_and_the_same_ones_are_not_read_again(
    tmp_path: Path,
) -> None:
    with Running(tmp_path) as running:
        assembly, before = running.assembly, running.assembly.guards.watch
        assembly.adopt(load(running.config, {}))
        assert assembly.guards.watch is before
        same = 'jwks_file = "keys.json"'
        changed = f'{same}\nrequire_provisioned = true\nprovisioned_file = "ids"'
        running.config.write_text(running.config.read_text().replace(same, changed))
        with pytest.raises(ConfigurationError, match="provisioned_file: found No such file"):
            assembly.adopt(load(running.config, {}))
        assert assembly.guards.watch is before
        assert running.decide() == "allowed"
        (tmp_path / "ids").write_text("02iAB00000XdEfG\n")
        assembly.adopt(load(running.config, {}))
        assert running.decide() == "asset_unknown"
        replace_file(tmp_path / "ids", SHORT.encode())
        for _ in range(1000):
            if running.decide() == "allowed":
                break
        assert running.decide() == "allowed"


def test_another_file_of_revocations_is_adopted_while_the_gate_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Running(tmp_path) as running:
        before = running.config.read_text()
        running.config.write_text(before.replace('"revocations"', '"moved"'))
        with pytest.raises(ConfigurationError, match=r"revocation\.file: found No such file"):
            running.assembly.adopt(load(running.config, {}))
        (tmp_path / "moved").write_text(f'{{"asset":"{SHORT}"}}\n')
        running.assembly.adopt(load(running.config, {}))
        assert running.decide() == "revoked"
        assert running.command("unrevoke", "--asset", SHORT) == 0
        assert (tmp_path / "moved").read_text() == "# nothing is revoked\n"
        assert running.decide() == "allowed"
        assert running.command("revoke", "--asset", SHORT) == 0
        running.config.write_text(before + '[audit]\nfile = "audit"\n')
        with pytest.raises(
            ConfigurationError, match=r"audit\.file: found .*audit, expected nothing: it changes"
        ):
            running.assembly.adopt(load(running.config, {}))
        running.config.write_text(before.replace('file = "revocations"', ""))
        running.assembly.adopt(load(running.config, {}))
        assert running.decide() == "allowed"
        assert running.command("revoke", "--asset", SHORT) == 1
        assert "there is no file of revocations: set file in [revocation]" in capsys.readouterr().err
