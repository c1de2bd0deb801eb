"""The watch under test: a plain Mosquitto, the programs as processes, and a device that publishes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pytest
from paho.mqtt.client import Client as MqttClient
from paho.mqtt.client import MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.kafka import Kafka, until
from tests.support.ports import free_port

_ROOT = Path(__file__).parents[2]


@dataclass
class PlainBroker:
    """A Mosquitto set up as the bridge needs it, with one service account and open to devices."""

    directory: Path
    port: int = field(default_factory=free_port)
    more: str = ""
    _process: subprocess.Popen[bytes] | None = None

    def start(self, changes: Mapping[str, str] = MappingProxyType({})) -> None:
        config = self.directory / "mosquitto.conf"
        passwords = self.directory / "passwords"
        if not passwords.exists():
            subprocess.run(
                ["mosquitto_passwd", "-b", "-c", passwords, "bridge", "bridge-password"],
                check=True, capture_output=True,
            )  # fmt: skip
        durable = {
            "max_queued_messages": "0",
            "max_inflight_messages": "2000",
            "upgrade_outgoing_qos": "true",
        }
        config.write_text(
            f"listener {self.port} 127.0.0.1\nuser root\nallow_anonymous true\npassword_file {passwords}\n"
            f"persistence true\npersistence_location {self.directory}/\nautosave_interval 1\n"
            + "".join(f"{key} {value}\n" for key, value in {**durable, **changes}.items())
            + f"set_tcp_nodelay true\n{self.more}"
        )
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(["mosquitto", "-c", config], stdout=log, stderr=log)
        until(self._answers, 10, "Mosquitto accepts a client")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail("Mosquitto ended:\n" + (self.directory / "log").read_text()[-2000:])
        client = MqttClient(CallbackAPIVersion.VERSION2, f"probe-{uuid.uuid4().hex}", protocol=MQTTv5)
        with contextlib.suppress(OSError):
            client.connect("127.0.0.1", self.port)
            client.disconnect()
            return True
        return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None


@pytest.fixture
def plain_broker(tmp_path: Path) -> Iterator[PlainBroker]:
    directory = tmp_path / "mosquitto"
    directory.mkdir()
    directory.chmod(0o777)
    broker = PlainBroker(directory)
    broker.start()
    yield broker
    broker.stop()


@dataclass
class Program:
    """A running ``processor`` command: its ready line, its metrics, its end."""

    process: subprocess.Popen[str]
    log: Path
    ready: dict[str, str] = field(default_factory=dict)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        with urllib.request.urlopen(self.ready["metrics"], timeout=5) as response:  # noqa: S310 - loopback, ours
            text = response.read().decode()
        total = 0.0
        for line in text.splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(f'{k}="{v}"' in head for k, v in labels.items()):
                total += float(value)
        return total

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """Signal it and wait; its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    @property
    def said(self) -> str:
        """What it wrote to stderr."""
        return self.log.read_text(errors="replace")


@dataclass
class Watch:
    """One test's settings and programs; whatever still runs is ended with it."""

    kafka: Kafka
    directory: Path
    mqtt_port: int = 1
    partitions: int = 4
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    programs: list[Program] = field(default_factory=list)
    defaults: dict[str, object] = field(default_factory=dict)

    def topic(self, name: str) -> str:
        return f"{self.prefix}.{name}"

    @property
    def group(self) -> str:
        return f"{self.prefix}-processor"

    def settings(self, **more: object) -> Path:
        """Write a settings file; keyword arguments are ``table__key=value``."""
        values: dict[str, dict[str, object]] = {
            "mqtt": {"port": self.mqtt_port, "username": "bridge", "password": "bridge-password",
                     "client_id": f"{self.prefix}-bridge"},
            "kafka": {"bootstrap": self.kafka.bootstrap},
            "topics": {name: self.topic(name) for name in
                       ("telemetry", "auth", "tokens", "state", "cases", "shadow", "dead", "rules", "assets")}
            | {"partitions": self.partitions},
            "worker": {"group": self.group, "state_interval": 0.3, "commit_interval": 0.3,
                       "session_timeout": 2},
            "metrics": {"bridge_port": 0, "worker_port": 0},
        }  # fmt: skip
        for key, value in (self.defaults | more).items():
            table, _, name = key.partition("__")
            values.setdefault(table, {})[name] = value
        lines = []
        for table, section in values.items():
            lines.append(f"[{table}]")
            lines += [f"{name} = {json.dumps(value)}" for name, value in section.items()]
        file = self.directory / f"settings-{uuid.uuid4().hex[:8]}.toml"
        file.write_text("\n".join(lines) + "\n")
        return file

    def run(self, *words: str | Path, expect: int | None = 0) -> str:
        """Run a command to its end; its output and errors. It ends with that code, None for any."""
        done = subprocess.run(
            [sys.executable, "-m", "processor", *words], capture_output=True, text=True, timeout=60,
            cwd=_ROOT,
            check=False,
        )  # fmt: skip
        assert expect in {None, done.returncode}, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *words: str | Path, seconds: float = 30) -> Program:
        """Start a program and wait for its ready line."""
        program = self.launch(*words)
        waiting = threading.Timer(seconds, program.process.kill)
        waiting.start()
        assert program.process.stdout is not None
        line = program.process.stdout.readline()
        waiting.cancel()
        if not line:
            pytest.fail(f"{words[0]} was not ready within {seconds} s:\n{program.said[-4000:]}")
        program.ready = json.loads(line)
        return program

    def launch(self, *words: str | Path) -> Program:
        """Start a program without waiting."""
        log = self.directory / f"{words[0]}-{len(self.programs)}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "processor", *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=_ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        program = Program(process, log)
        self.programs.append(program)
        return program

    def close(self) -> None:
        for program in self.programs:
            if program.process.poll() is None:
                program.process.kill()
            program.process.wait(10)
            if program.process.stdout is not None:
                program.process.stdout.close()


@pytest.fixture
def watch(kafka: Kafka, tmp_path: Path) -> Iterator[Watch]:
    """A watch with topics of its own on the Kafka under test."""
    one = Watch(kafka, tmp_path)
    one.run("topics", "create", "--config", one.settings())
    yield one
    one.close()


class Device:
    """Publishes at QoS 1 from a thread of its own, and knows what the broker has accepted."""

    def __init__(self, port: int) -> None:
        self._client = MqttClient(
            CallbackAPIVersion.VERSION2, f"device-{uuid.uuid4().hex[:8]}", protocol=MQTTv5
        )
        self._client.max_inflight_messages_set(500)
        self._client.on_publish = self._on_publish
        self._sent = 0
        self._accepted = 0
        self._client.connect("127.0.0.1", port, clean_start=True)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos, retain)
        self._sent += 1

    def _on_publish(self, *_: object) -> None:
        self._accepted += 1

    def settle(self, seconds: float = 20) -> None:
        """Wait until the broker has acknowledged everything."""
        until(lambda: self._accepted == self._sent, seconds, "the broker accepts what was sent")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def device(port: int) -> Iterator[Device]:
    one = Device(port)
    try:
        yield one
    finally:
        one.close()


def payloads(values: Sequence[object]) -> list[bytes]:
    return [json.dumps(value, separators=(",", ":")).encode() for value in values]
