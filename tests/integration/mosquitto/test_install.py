"""``authplugin mosquitto install`` and ``uninstall`` on folders of their own, with the real Mosquitto.

Long, because a whole host is made up here, and every test is one thing that may be wrong with it.
"""

import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from authplugin.brokers.mosquitto import selftest
from authplugin.brokers.mosquitto.build import build_plugin, find_interpreter
from authplugin.brokers.mosquitto.plan import Places, make_plan
from authplugin.cli import main
from authplugin.client import make_key
from authplugin.client.packets import write_connect
from authplugin.errors import InstallError
from authplugin.testing import KeyServer, TokenMint
from tests.support.certificates import certificate
from tests.support.mosquitto import Mosquitto, running, write_passwords
from tests.support.mqtt import Will
from tests.support.ports import free_port

pytestmark = pytest.mark.needs("mosquitto", "cc")

AUDIENCE = "https://ingest.example.com"
SHORT, ASSET = "02iAB00000CdEfG", "02iAB00000CdEfGYAV"
ENVIRON = {"AUTHPLUGIN_METRICS__PORT": "0"}  # no fixed port: a first gate.toml names one


class Host:
    """A machine's folders: a broker's configuration with an include_dir, and an issuer beside it."""

    def __init__(self, root: Path, keys: KeyServer) -> None:
        self.root = root
        self.mint = TokenMint(keys.issuer, AUDIENCE)
        keys.publish(self.mint.jwks())
        (root / "conf.d").mkdir()
        self.broker = Mosquitto(root, f"include_dir {root}/conf.d", environment=ENVIRON)
        self.record = root / "lib" / "assetgate" / "installed.json"
        self.stanza = root / "conf.d" / "assetgate.conf"
        self.config = root / "gate.toml"

    def run(
        self, part: str, *words: object, path: str | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        places = ("--broker-config", self.broker.file, "--library", self.record.parent)
        return subprocess.run(
            [sys.executable, "-m", "authplugin", "mosquitto", part, *map(str, (*places, *words))],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | ENVIRON | environ | ({"PATH": path} if path else {}),
        )

    def install(self, *words: object) -> str:
        done = self.run("install", "--issuer", self.mint.issuer, "--audience", AUDIENCE, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "" or "--dry-run" in words
        return done.stderr + done.stdout

    def uninstall(self, *words: object) -> str:
        done = self.run("uninstall", *words)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def refuse(self, *words: object, path: str | None = None) -> str:
        """An installation that must fail, and write nothing."""
        before = self.tree()
        done = self.run("install", "--issuer", self.mint.issuer, "--audience", AUDIENCE, *words, path=path)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert self.tree() == before
        return done.stderr

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Every file and folder with its mode and content; but for what the broker itself writes."""
        return {
            str(path.relative_to(self.root)): (
                path.stat().st_mode,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in sorted(self.root.rglob("*"))
            if path.name not in {"mosquitto.log", "mosquitto.db"}
        }

    def token(self) -> bytes:
        return self.mint.mint(aid=SHORT)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with KeyServer({"keys": []}) as keys:
        yield Host(tmp_path, keys)


def connect(host: Host, token: bytes) -> int:
    with host.broker.client(5) as client:
        return client.connect(ASSET, "", token, will=Will(f"assets/{ASSET}/status", b"offline"))


def accepted(host: Host) -> None:
    """Wait until a minted device is let in: the broker fetches the keys after its start."""
    host.broker.wait_for("running")
    for _ in range(400):
        if connect(host, host.token()) == 0:
            return
    raise AssertionError(host.broker.log[-2000:])


def test_one_command_puts_the_gate_into_a_broker_and_another_takes_it_out_again(host: Host) -> None:
    before = host.tree()
    said = host.install()
    for line in ("the plugin loads", "refuses a token signed by a stranger", "accepts a token that holds"):
        assert f"tried: {line}" in said or f"tried: it {line}" in said
    assert "sudo systemctl restart mosquitto" in said
    with running(host.broker):
        accepted(host)
        assert connect(host, host.mint.forged()) == 0x87
        with host.broker.client(5) as client:
            assert client.connect(ASSET, "", host.token()) == 0
            assert client.publish(f"assets/{ASSET}/telemetry") == 0
            assert client.publish("assets/02iAB00000CdEfHYAV/telemetry") == 0x87
    installed = host.tree()
    assert f"would remove or restore {host.stanza}" in host.uninstall("--dry-run")
    assert host.tree() == installed
    host.uninstall()
    assert host.tree() == before


def test_a_dry_run_tries_everything_shows_everything_and_writes_nothing(host: Host) -> None:
    before, port = host.tree(), free_port()
    said = host.install("--dry-run", "--port", port)
    assert "tried: it accepts a token that holds" in said
    assert f'issuer = "{host.mint.issuer}"' in said
    assert "pattern write assets/%u/telemetry/#" in said
    assert host.tree() == before
    # Every line for the broker stands below its reason.
    shown = said.partition(f"==> {host.stanza} (mode 644)\n")[2].strip()
    for block in shown.split("\n\n"):
        assert block.startswith("# "), block
    settings = dict(line.split(" ", 1) for line in shown.splitlines() if line and line[0] != "#")
    assert settings["max_queued_messages"] == "1000000"
    assert settings["listener"] == f"{port} 127.0.0.1"
    assert {
        *("message_size_limit", "max_packet_size", "max_keepalive", "max_connections"),
        *(
            "max_queued_bytes",
            "max_inflight_bytes",
            "max_inflight_messages",
            "upgrade_outgoing_qos",
            "persistence",
            "autosave_interval",
        ),
    } <= settings.keys()


def test_the_next_run_follows_the_gates_configuration(host: Host) -> None:
    before = host.tree()
    host.install()
    host.config.write_text(
        host.config.read_text().replace("[mosquitto]", '[topics]\npublish = ["a/{aid}/b"]\n[mosquitto]')
    )
    said = host.install()
    assert "tried: it accepts a publish on a/02iAB00000CdEfGYAV/b" in said
    assert "pattern write a/%u/b" in (host.root / "acl").read_text()
    assert f"kept {host.config}" in host.uninstall()
    host.config.unlink()
    assert host.tree() == before


def test_a_gates_configuration_that_is_there_is_used_as_it_is(host: Host) -> None:
    text_ = f'[[issuers]]\nissuer = "{host.mint.issuer}"\naudiences = ["{AUDIENCE}"]\n'
    text_ += '[[service_accounts]]\nname = "bridge"\nsubscribe = ["assets/#"]\n'
    host.config.write_text(text_ + '[mosquitto]\nacl_file = "rules"\npassword_file = "passwords"\n')
    said = host.refuse()
    assert "assetgate.conf" in said
    assert "password_file: found" in said
    host.config.write_text(text_ + '[mosquitto]\nacl_file = "rules"\n')
    said = host.refuse()
    assert f"{host.config}: mosquitto.password_file: found nothing beside [[service_accounts]]" in said
    assert f"mosquitto_passwd -c {host.root}/passwords bridge" in said
    host.config.write_text(text_ + '[mosquitto]\nacl_file = "rules"\npassword_file = "passwords"\n')
    write_passwords(host.root / "passwords", [("bridge", "correct horse")])
    before = host.tree()
    host.install()
    assert host.config.read_text().startswith(text_)
    with running(host.broker):
        accepted(host)
        with host.broker.client(5) as client:
            assert client.connect("bridge", "bridge", "correct horse") == 0
            assert client.subscribe("assets/#") == [1]
    host.uninstall()
    assert host.tree() == before


def test_what_an_installation_does_not_take_up_is_said(host: Host) -> None:
    assert "changes nothing" not in host.install()
    done = host.run("install", "--issuer", "https://other.example.com", "--audience", "elsewhere")
    assert done.returncode == 0, done.stderr
    assert f"{host.config} is there already, so --issuer https://other.example.com changes" in done.stderr
    assert "so --audience elsewhere changes nothing" in done.stderr
    assert f"unchanged {host.stanza}" in done.stderr
    assert "wrote " not in done.stderr


def test_a_file_that_the_gate_cannot_start_without_is_named_before_anything_is_written(host: Host) -> None:
    host.install()
    written = host.config.read_text()
    host.config.write_text(written + '[revocation]\nfile = "gone"\n')
    said = host.refuse()
    assert f"{host.root}/gone: revocation.file: found No such file or directory, expected a readable" in said


def test_what_the_brokers_user_may_not_do_is_named_before_anything_is_written(host: Host) -> None:
    host.install()
    written = host.config.read_text()
    closed = host.root / "closed"
    closed.mkdir(mode=0o555)
    # Root's broker becomes another user; anybody else's stays who it is.
    host.broker.file.write_text(host.broker.file.read_text().replace("user root", "user nobody"))
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    low = """
        [metrics]
        port = 961
        [audit]
        file = "closed/audit"
        [admin]
        socket = "closed/admin"
        [keys]
        last_good_dir = "closed"
    """
    host.config.write_text(written.partition("[metrics]")[0] + low)
    done = host.run("install", AUTHPLUGIN_METRICS__PORT="961")
    assert done.returncode == 1
    said = [line.partition(": found")[0] for line in done.stderr.splitlines()]
    places = [f"{closed}: {key}" for key in ("admin.socket", "audit.file", "keys.last_good_dir")]
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    ports = ["authplugin: the gate's configuration: metrics.port"] if first > 961 else []
    assert said == [*ports, *(places if ports else [f"authplugin: {places[0]}", *places[1:]])]
    assert f"found no right of user {user} to write there" in done.stderr


def test_a_configuration_that_anybody_may_write_is_named_before_anything_is_written(host: Host) -> None:
    host.install()
    host.config.chmod(0o666)
    assert f"{host.config}: the file: found a file that anyone may write" in host.refuse()
    host.config.chmod(0o644)
    host.install()


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_that_is_none_is_a_wrong_usage(host: Host, port: str) -> None:
    done = host.run("install", f"--port={port}")
    assert done.returncode == 2
    assert f"found {port}, expected an integer of 1 to 65535" in done.stderr


def test_what_a_person_changed_since_is_never_lost(host: Host) -> None:
    host.install()
    changed = host.stanza.read_text() + "# mine\n"
    host.stanza.write_text(changed)
    assert f"{host.stanza}: changed since it was installed" in host.refuse()
    host.install("--overwrite")
    assert "# mine" not in host.stanza.read_text()
    assert host.stanza.with_name("assetgate.conf.changed").read_text() == changed
    host.stanza.write_text(changed)
    said = host.uninstall()
    assert f"kept {host.stanza}: it was changed" in said
    assert f"note: {host.stanza} names files that are gone: without them the broker does not start" in said
    assert host.stanza.read_text() == changed
    assert not host.record.exists()


def test_an_acl_file_that_was_written_by_its_own_command_is_replaced_and_removed_like_any_of_ours(
    host: Host,
) -> None:
    before = host.tree()
    host.install()
    first, acl = host.config.read_text(), host.root / "acl"
    for topic in ("b", "c"):
        changed = first.replace("[mosquitto]", f'[topics]\npublish = ["a/{{aid}}/{topic}"]\n[mosquitto]')
        host.config.write_text(changed)
        assert main(["mosquitto", "acl", "--config", str(host.config)]) == 0
    host.config.write_text(first)
    host.install()
    assert "a/%u" not in acl.read_text()
    host.config.write_text(changed)
    assert main(["mosquitto", "acl", "--config", str(host.config)]) == 0
    # By hand is something else.
    written = acl.read_text()
    acl.write_text(written.replace("# %u is", "# for the auditor: %u is"))
    assert f"{acl}: changed since it was installed" in host.refuse()
    acl.write_text(written)
    host.config.write_text(first)
    assert f"removed {acl}" in host.uninstall()
    assert host.tree() == before


def test_a_symbolic_link_in_a_files_place_stays_and_its_target_is_written_and_restored(host: Host) -> None:
    elsewhere = host.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "acl").write_text("user x\n")
    links = {host.root / "acl": elsewhere / "acl", host.stanza: elsewhere / "assetgate.conf"}
    for link, target in links.items():
        link.symlink_to(target)  # that of our lines is not there yet
    host.install()
    assert {link: link.readlink() for link in links} == links
    assert "pattern write" in (elsewhere / "acl").read_text()
    # The broker is told the target: 2.1 follows no link to it.
    assert f"acl_file {elsewhere}/acl\n" in host.stanza.read_text()
    with running(host.broker):
        accepted(host)
    host.install()
    host.uninstall()
    assert {link: link.readlink() for link in links} == links
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == {"acl": "user x\n"}


def test_what_stood_in_a_files_place_before_comes_back(host: Host) -> None:
    host.stanza.write_text("# laid by hand\n")
    host.stanza.chmod(0o640)
    before = host.tree()
    host.install()
    host.install()
    assert "plugin " in host.stanza.read_text()
    assert f"restored {host.stanza}" in host.uninstall()
    assert host.tree() == before


def test_without_the_record_of_it_what_is_there_is_left_and_named(host: Host) -> None:
    host.install()
    before = host.tree()
    host.record.unlink()
    host.install()
    said = host.uninstall()
    for path in (host.stanza, host.record.with_name("authplugin.so"), host.root / "acl"):
        assert f"left {path}: it was there before, the same" in said
    assert host.tree() == {name: file for name, file in before.items() if not name.endswith(host.record.name)}


def test_a_listener_with_tls_is_opened_for_devices_and_the_same_again_changes_nothing(host: Host) -> None:
    chain, key = certificate(host.root)
    port = free_port()
    host.install("--certfile", chain, "--keyfile", key, "--port", port, "--address", "127.0.0.1")
    first = host.tree()
    host.install()
    assert host.tree() == first
    host.install("--port", port)  # the rest stays as it was
    assert host.tree() == first
    context = ssl.create_default_context(cafile=chain)
    with running(host.broker):
        accepted(host)
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as line:
            line.sendall(write_connect(ASSET, username="", password=host.token()))
            assert line.recv(5)[3] == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("acl_file /tmp/acl", "expected no such line: "),
        ("password_file /tmp/passwords", "mosquitto.password_file in "),
        ("plugin /usr/lib/mosquitto_dynamic_security.so", "no other plugin"),
        ("allow_anonymous true", "allow_anonymous: found true, expected false"),
        ("per_listener_settings true", "per_listener_settings: found true, expected false"),
        ("listener 18830", "expected TLS"),
    ],
)
def test_a_line_of_the_brokers_own_that_stands_against_the_gate_is_named(
    host: Host, line: str, says: str
) -> None:
    other = host.root / "conf.d" / "other.conf"
    other.write_text(f"# before\n{line}\n")
    said = host.refuse()
    assert f"{other}:2: " in said
    assert says in said


def test_a_listeners_setting_in_another_file_than_it_is_named_before_anything_is_written(host: Host) -> None:
    public, private = certificate(host.root)
    tls = f"certfile {public}\nkeyfile {private}\n"
    first, second = host.root / "conf.d" / "aa.conf", host.root / "conf.d" / "zz.conf"
    main = host.broker.file.read_text()
    for one, two, says in (
        ("listener 18861 127.0.0.1\n", "max_connections 100\n", f"{second}:1: max_connections: found 100"),
        ("listener 18861\n", tls, f"{first}:1: listener: found 18861, expected TLS"),
        (tls, "listener 18861\n", f"{second}:1: listener: found 18861, expected TLS"),
    ):
        first.write_text(one)
        second.write_text(two)
        assert says in host.refuse()
    first.write_text("listener 18861 127.0.0.1\n")
    second.unlink()
    head, including = main[: main.index("include_dir")], f"include_dir {host.root}/conf.d\n"
    host.broker.file.write_text(f"{head}listener 18862\n{including}{tls}")
    assert f"certfile: found {public}, expected no setting of a listener here" in host.refuse()
    host.broker.file.write_text(f"{head}listener 18862\n{tls}{including}")
    host.install()


@pytest.mark.parametrize(
    "line", [" # indented", "\tlistener 18899 127.0.0.1", "\t# a tab", "\t", "max_keepalive\t60", "\f"]
)
def test_a_line_with_blanks_that_the_broker_does_not_forgive_is_named_before_anything_is_written(
    host: Host, line: str
) -> None:
    other = host.root / "conf.d" / "zz.conf"
    other.write_text(f"# mine\n{line}\n")
    said = host.refuse()
    assert f"{other}:2: " in said
    assert "found Unknown configuration variable" in said


def test_blanks_that_the_broker_forgives_are_none_to_name(host: Host) -> None:
    other = host.root / "conf.d" / "zz.conf"
    other.write_bytes(b"  max_keepalive 60 \r\n   \n\r\n\rfoo bar\nmax_queued_bytes   0\n# end")
    host.install()
    with running(host.broker):
        accepted(host)


@pytest.mark.parametrize("value", ["{} ", " {}", "{}/nowhere"])
def test_a_folder_that_the_broker_would_not_find_is_named(host: Host, value: str) -> None:
    written, folder = host.broker.file.read_text(), f"{host.root}/conf.d"
    host.broker.file.write_text(written.replace(folder, value.format(folder)))
    said = host.refuse()
    assert "include_dir: found" in said
    assert "a folder that is there, with no blank around it (No such file or directory)" in said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("persistance true", "persistance: found Unknown configuration variable"),
        ("remote_pasword hunter2", "remote_pasword: found Unknown configuration variable"),
        ("max_keepalive 70000", "max_keepalive: found Invalid max_keepalive value"),
        ("persistence", "persistence: found "),
    ],
)
def test_a_line_that_the_broker_cannot_read_is_named_before_anything_is_written(
    host: Host, line: str, says: str
) -> None:
    other = host.root / "conf.d" / "zz.conf"
    other.write_text(f"# mine\n\n{line}\nmax_queued_bytes 0\n")
    said = host.refuse()
    assert f"{other}:3: {says}" in said
    assert "expected what this Mosquitto can read" in said
    assert "hunter2" not in said


def test_a_certificate_that_is_not_there_is_named(host: Host) -> None:
    assert "--certfile and --keyfile go together" in host.refuse("--certfile", "/nowhere/chain.pem")
    said = host.refuse("--certfile", "/nowhere/chain.pem", "--keyfile", "/nowhere/key.pem")
    assert "/nowhere/chain.pem: found no file" in said


def test_a_certificate_and_a_key_that_tls_cannot_use_are_named(
    host: Host, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chain, key = certificate(tmp_path_factory.mktemp("one"))
    _, other = certificate(tmp_path_factory.mktemp("other"))
    locked = tmp_path_factory.mktemp("locked") / "key.pem"
    secret = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"correct horse"),
    )
    locked.write_bytes(secret)
    junk = locked.with_name("junk.pem")
    junk.write_text("junk")
    for one, two in ((key, chain), (chain, other), (chain, locked), (junk, key), (chain, junk)):
        said = host.refuse("--certfile", one, "--keyfile", two)
        assert f"{one} and {two}: found what TLS cannot use" in said


def test_what_only_a_person_can_tell_is_noted_the_first_time(
    host: Host, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chain, key = certificate(tmp_path_factory.mktemp("old"), days=-1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("--certfile", chain, "--keyfile", key, "--port", port, "--address", "127.0.0.1")
        said = host.install(*words)
        assert f"note: port {port} of 127.0.0.1 cannot be had now (Address already in use)" in said
        assert f"note: {chain}: the certificate ended on " in said
        assert "cannot be had now" not in host.install(*words)


def test_a_broker_that_would_not_read_our_file_or_keep_its_queues_is_named(host: Host) -> None:
    written = host.broker.file.read_text()
    host.broker.file.write_text(written.replace("include_dir", "# include_dir"))
    assert f"expected include_dir {host.root}/conf.d" in host.refuse()
    host.broker.file.write_text(written.replace("persistence_location", "# persistence_location"))
    assert "persistence_location: found no such line" in host.refuse()


def test_settings_of_the_brokers_own_that_win_are_noted(host: Host) -> None:
    other = host.root / "conf.d" / "zz.conf"
    other.write_text("max_queued_messages 500\n")
    said = host.install()
    assert f"note: {other}:1: max_queued_messages 500 counts, not the 1000000 of assetgate.conf" in said
    assert "the broker has a listener of its own, so none is written" in said
    number = host.broker.file.read_text().splitlines().index(f"listener {host.broker.port} 127.0.0.1") + 1
    unbounded = f"note: {host.broker.file}:{number}: nothing bounds this listener's clients"
    assert unbounded in said
    host.broker.file.write_text(host.broker.file.read_text() + "max_connections 100\n")
    assert unbounded not in host.install()


def test_a_first_installation_asks_whose_tokens_are_accepted(host: Host) -> None:
    done = host.run("install")
    assert done.returncode == 1
    assert "--issuer and --audience" in done.stderr


def test_nothing_is_written_when_the_plugin_cannot_be_built_or_does_not_load(
    host: Host, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tools = tmp_path_factory.mktemp("tools")
    (tools / "mosquitto").symlink_to(shutil.which("mosquitto") or "mosquitto")
    assert "no C compiler: apt-get install gcc libc6-dev" in host.refuse(path=str(tools))
    # A compiler that makes something else: the broker will not load it.
    compiler = tools / "cc"
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho junk > "$2"\n')
    compiler.chmod(0o755)
    said = host.refuse(path=f"{tools}:{os.environ['PATH']}")
    assert "the self-test's broker ended. Its last lines:" in said
    assert "invalid ELF header" in said or "file too short" in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bad": "good"}, "answered a token signed by a stranger with 0x00, not 0x87"),
        ({"good": "bad"}, "answered a good token with 0x87"),
    ],
)
def test_a_gate_that_judges_wrongly_does_not_pass_the_self_test(
    host: Host, changes: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "good" in changes:
        monkeypatch.setattr(selftest, "SECONDS", 8.0)  # it waits that long for the keys
    key = make_key()
    mint = TokenMint("https://selftest.invalid", "selftest", algorithm="ES256", key=key, device_key=key)
    made = {"good": mint.mint(cnf=None), "bad": mint.forged()}
    given = {name: made[changes.get(name, name)] for name in made}
    tokens = selftest.Tokens(mint.issuer, mint.audience, json.dumps(mint.jwks()).encode(), ASSET, **given)
    places = Places(host.broker.file, host.stanza, host.config, host.record.parent)
    plan = make_plan(places, find_interpreter(), issuer=host.mint.issuer, audience=AUDIENCE, listener=None)
    mosquitto = selftest.find_mosquitto()
    assert mosquitto is not None
    with pytest.raises(InstallError, match=says):
        selftest.run_selftest(mosquitto, plan, find_interpreter(), build_plugin, tokens)


def test_a_port_of_the_metrics_that_is_taken_is_named_before_anything_is_written(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = host.run(
            *("install", "--issuer", host.mint.issuer, "--audience", AUDIENCE),
            AUTHPLUGIN_METRICS__PORT=str(port),
        )
    assert done.returncode == 1
    assert f"metrics.port: found {port}" in done.stderr
    assert not host.stanza.exists()


def test_a_restart_that_cannot_be_had_is_said_and_the_files_stay(
    host: Host, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tools = tmp_path_factory.mktemp("tools")
    (tools / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    (tools / "systemctl").chmod(0o755)
    done = host.run(
        *("install", "--restart", "--issuer", host.mint.issuer, "--audience", AUDIENCE),
        path=f"{tools}:{os.environ['PATH']}",
    )
    assert done.returncode == 1
    assert "the files are as they should be, but" in done.stderr
    assert host.stanza.exists()


def test_without_a_record_there_is_nothing_to_uninstall(host: Host) -> None:
    done = host.run("uninstall")
    assert done.returncode == 1
    assert f"{host.record}: no record" in done.stderr
    host.record.parent.mkdir(parents=True)
    host.record.write_text("{}x")
    assert "no record of an installation" in host.run("uninstall").stderr
