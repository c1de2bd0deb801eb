"""A real Mosquitto on a free port of 127.0.0.1, with a folder of its own, ended by its process id.

Works for root as well: the broker then stays root (``user root``), because a checkout and its
interpreter need not be readable by Debian's user ``mosquitto``.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.certificates import certificate
from tests.support.links import Transport
from tests.support.mqtt import Client
from tests.support.ports import free_port

DEADLINE = 40.0

#: The broker that tests run: another one than the distribution's, when the environment names it.
PROGRAM = os.environ.get("ASSETGATE_TEST_MOSQUITTO") or "mosquitto"
#: What the broker's process alone runs with, such as a sanitizer's library: NAME=VALUE, one a line.
ENVIRONMENT = dict(
    line.split("=", 1) for line in os.environ.get("ASSETGATE_TEST_ENVIRONMENT", "").splitlines()
)


def write_passwords(file: Path, accounts: Iterable[tuple[str, str]]) -> None:
    """A password file as ``mosquitto_passwd`` writes it."""
    file.write_text("".join(f"{name}:{password}\n" for name, password in accounts))
    file.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(file)], check=True, capture_output=True)


def _joined(variables: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Both, the latter above the former; libraries to preload are those of both."""
    preload = [each["LD_PRELOAD"] for each in (variables, more) if "LD_PRELOAD" in each]
    return {**variables, **more, **({"LD_PRELOAD": ":".join(preload)} if preload else {})}


class Mosquitto:
    """One broker process.

    Args:
        folder: for its configuration, log and database.
        lines: of its configuration, after ``user`` and before the listener.
        environment: variables on top of this process's own.
        log_types: what the broker logs.
    """

    def __init__(
        self,
        folder: Path,
        lines: str = "",
        *,
        environment: dict[str, str] | None = None,
        log_types: Sequence[str] = ("all",),
    ) -> None:
        self.folder = folder
        self.port = free_port()
        #: Where it listens: always TCP, more with `listen`.
        self.ports = {Transport.TCP: self.port}
        self._listeners = ""
        self.file = folder / "mosquitto.conf"
        self.log_file = folder / "mosquitto.log"
        self._environment = environment or {}
        self._log_types = log_types
        self._process: subprocess.Popen[bytes] | None = None
        self.write(lines)

    def write(self, lines: str) -> None:
        """Write the configuration; the broker reads it at its start or at `reload`."""
        user = "user root\n" if os.geteuid() == 0 else ""
        # Bare errors and notices on stderr; the plugin's lines are among them.
        types = "".join(f"log_type {each}\n" for each in self._log_types)
        head = f"{user}log_dest stderr\n{types}persistence_location {self.folder}/\n"
        self.file.write_text(f"{head}{lines}\nlistener {self.port} 127.0.0.1\n{self._listeners}")
        self._lines = lines

    def listen(self, transport: Transport, lines: str = "") -> None:
        """Add a listener on a free port, with ``lines`` of its own; before the start."""
        port = self.ports[transport] = free_port()
        if transport is Transport.TLS:
            public, private = certificate(self.folder)
            lines = f"certfile {public}\nkeyfile {private}\n{lines}"
        elif transport is Transport.WEBSOCKET:
            lines = f"protocol websockets\n{lines}"
        self._listeners += f"listener {port} 127.0.0.1\n{lines}"
        self.write(self._lines)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu(self) -> float:
        """CPU seconds that its process has used: utime + stime, all its threads.

        /proc/PID/stat tells the same in ticks of 10 ms; the process's CPU clock (the id is the
        kernel's own encoding of the pid, see CPUCLOCK_SCHED) tells it in nanoseconds.
        """
        return time.clock_gettime(~self.pid << 3 | 2)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def start(self) -> None:
        """Start and wait until it accepts connections.

        Raises:
            AssertionError: it ended instead, with its log.
        """
        self._launch()
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            assert self._process is not None
            assert self._process.poll() is None, f"the broker ended:\n{self.log}"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.01)
        raise AssertionError(f"the broker did not come up:\n{self.log}")

    def refuse_to_start(self) -> str:
        """Start a broker that must end by itself with an error; its log."""
        self._launch()
        assert self._process is not None
        try:
            code = self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"the broker started:\n{self.log}") from None
        assert code != 0, self.log
        return self.log

    def _launch(self) -> None:
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [shutil.which(PROGRAM) or PROGRAM, "-c", str(self.file)],
                stdout=log,
                stderr=log,
                env=_joined(os.environ | ENVIRONMENT, self._environment),
            )

    def reload(self) -> None:
        """SIGHUP."""
        os.kill(self.pid, signal.SIGHUP)

    def stop(self) -> int:
        """End it and return its exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError("the broker had to be killed") from None

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(
        self,
        version: int = 4,
        transport: Transport = Transport.TCP,
        certificate: tuple[str, str] | None = None,
    ) -> Client:
        return Client(self.ports[transport], version=version, transport=transport, certificate=certificate)

    def wait_for(self, pattern: str, *, after: int = 0, deadline: float = DEADLINE) -> re.Match[str]:
        """Wait until the log has ``pattern`` beyond its first ``after`` characters."""
        end = time.monotonic() + deadline
        while True:
            found = re.search(pattern, self.log[after:])
            if found:
                return found
            assert time.monotonic() < end, f"no {pattern!r} in the log:\n{self.log[-4000:]}"
            time.sleep(0.02)


@contextlib.contextmanager
def running(broker: Mosquitto) -> Iterator[Mosquitto]:
    """The broker, started, and stopped again."""
    broker.start()
    try:
        yield broker
    finally:
        if broker.alive:
            broker.stop()


def scrape(port: int) -> dict[str, float]:
    """A Prometheus endpoint's samples: name with labels → value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        body = answer.read().decode()
    pairs = (line.rsplit(" ", 1) for line in body.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}
