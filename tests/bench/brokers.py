"""The brokers that the Mosquitto bench compares, all alive at once, and the load on them.

Each has the same durability settings, limits and log; what differs is who judges a client.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from authplugin.brokers.mosquitto.acl import write_acl
from authplugin.brokers.mosquitto.build import build_plugin, find_interpreter
from authplugin.brokers.mosquitto.stanza import DURABILITY, LIMITS, write_stanza
from authplugin.settings import load
from tests.bench.fleet import AUDIENCE, PASSWORD, USER, Fleet
from tests.support.mosquitto import Mosquitto, write_passwords

SOURCES = Path(__file__).parent
#: Whoever judges, by name: the gate, C that verifies, C that does nothing, a password file, nobody.
GATE, RS256, NOOP, PASSWORDS, ANYBODY = "gate", "rs256", "noop", "password_file", "anonymous"
_SAME = "".join(f"{key} {value}\n" for key, value, _ in (*DURABILITY, *LIMITS))
# A storm of connects would otherwise measure how fast a log can be written.
_LOG = ("error", "warning")


def compile_tools(folder: Path) -> None:
    """The load generator, the plugins to compare with, and the gate's own shim, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    warnings = ["-O2", "-Wall", "-Wextra"]
    subprocess.run(["cc", *warnings, "-o", str(folder / "load"), str(SOURCES / "load.c")], check=True)
    for name in (NOOP, RS256):
        source = str(SOURCES / "plugins" / f"{name}.c")
        library = ["-lcrypto"] if name == RS256 else []
        output = str(folder / f"{name}.so")
        subprocess.run(["cc", *warnings, "-fPIC", "-shared", "-o", output, source, *library], check=True)
    build_plugin(folder / "authplugin.so")


def make_broker(who: str, fleet: Fleet, tools: Path, folder: Path) -> Mosquitto:
    """A broker where ``who`` judges, not started; it lives in a folder of its own under ``folder``."""
    home = folder / who
    home.mkdir(parents=True, exist_ok=True)
    if who == GATE:
        lines = _gate(fleet, tools, home)
    elif who == PASSWORDS:
        write_passwords(home / "passwords", [(USER, PASSWORD)])
        lines = f"{_SAME}password_file {home / 'passwords'}\nallow_anonymous false\n"
    else:
        lines = f"{_SAME}allow_anonymous true\n"
        if who in {NOOP, RS256}:
            lines += f"plugin {tools.absolute() / who}.so\n"
        if who == RS256:
            lines += f"plugin_opt_public_key {fleet.public_key.absolute()}\n"
    return Mosquitto(home, lines, log_types=_LOG)


def _gate(fleet: Fleet, tools: Path, home: Path) -> str:
    """Everything on: audit, metrics, events, revocations, clones, throttle, cache, sessions that end."""
    config = home / "gate.toml"
    (home / "revoked.jsonl").write_text('{"device": "one that was lost"}\n')
    config.write_text(
        f"""
[[issuers]]
issuer = "https://acme.my.site.com"
audiences = ["{AUDIENCE}"]
jwks_file = "{fleet.jwks.absolute()}"

[mosquitto]
acl_file = "acl"

[metrics]
port = 0

[audit]
file = "{home / "audit.jsonl"}"

[revocation]
file = "{home / "revoked.jsonl"}"

[admin]
socket = "{home / "admin"}"
"""
    )
    policy = load(config, {}).policy
    (home / "acl").write_text(write_acl(policy.topics, policy.service_accounts))
    return write_stanza(tools / "authplugin.so", find_interpreter(), config, home / "acl", None)


def clients(who: str, fleet: Fleet) -> Path:
    """What the devices send to the broker of that name."""
    return fleet.passwords if who == PASSWORDS else fleet.tokens


def ticks(broker: Mosquitto) -> float:
    """Tell utime + stime of /proc/PID/stat, in seconds: what `Mosquitto.cpu` is checked by."""
    fields = Path(f"/proc/{broker.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def rss(broker: Mosquitto) -> float:
    """Resident memory of the broker's process, MiB."""
    lines = Path(f"/proc/{broker.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


class Load:
    """One process of the load generator.

    Args:
        tools: where it was compiled into.
        what: ``connect``, ``hold``, ``publish`` or ``probe``; load.c says more.
        broker: the one to load.
        devices: file of the fleet.
        numbers: the rest of its arguments.
    """

    def __init__(self, tools: Path, what: str, broker: Mosquitto, devices: Path, *numbers: int) -> None:
        self._broker = broker
        words = [str(tools / "load"), what, str(broker.port), str(devices), *map(str, numbers)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_ready(self) -> None:
        """Wait until its clients are connected."""
        self._expect("ready")

    def _expect(self, word: str) -> None:
        line = self._line()
        if line != word:
            raise RuntimeError(f"the load generator said {line!r} instead of {word!r}")

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(
                f"the load generator failed; the broker's log ends:\n{self._broker.log[-2000:]}"
            )
        return line

    def go(self) -> None:
        """Let it begin, or go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def figures(self) -> dict[str, float]:
        """What it measured."""
        figures: dict[str, float] = json.loads(self._line())
        return figures

    def end(self) -> None:
        """Let it end: its clients disconnect."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def close(self) -> None:
        """Wait for its end, and see to it."""
        self.end()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()


@contextlib.contextmanager
def loading(tools: Path, what: str, broker: Mosquitto, devices: Path, *numbers: int) -> Iterator[Load]:
    """A load generator, ended again."""
    load = Load(tools, what, broker, devices, *numbers)
    try:
        yield load
    finally:
        load.close()


@contextlib.contextmanager
def ready(broker: Mosquitto, tools: Path, devices: Path, last: int) -> Iterator[Mosquitto]:
    """A broker that is up and lets the fleet's device number ``last`` in."""
    broker.start()
    try:
        _wait_let_in(broker, tools, devices, last)
        yield broker
    finally:
        broker.stop()


def _wait_let_in(broker: Mosquitto, tools: Path, devices: Path, last: int) -> None:
    words = [str(tools / "load"), "connect", str(broker.port), str(devices), str(last), "1", "1"]
    end = time.monotonic() + 15
    while subprocess.run(words, capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            raise RuntimeError(f"{broker.folder.name} lets nobody in:\n{broker.log[-2000:]}")
        time.sleep(0.05)
