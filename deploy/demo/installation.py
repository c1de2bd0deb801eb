"""The demo's own installation: a directory with the settings of every program, and how each is started.

All of it is made anew for each run, readable by this user alone. Secrets are files of mode 0600; none is
ever an argument, which every user of the machine could read.
"""

import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from authplugin.client import ClientCredentials
from deploy.demo.processes import Program, free_ports

AUDIENCE = "https://ingest.example.com"
#: The bridge's name at the broker: no asset id can have that form.
BRIDGE = "bridge"
PARTITIONS = 4
_CLIENT_ID = "demo-registrar"
#: Bytes of one payload that the demo's bridge refuses; Mosquitto itself would let it in.
OVERSIZE = 80_000
#: Every program says that it is ready by one line of JSON on its standard output.
READY = re.compile(r'^\{"ready": ')
_ISSUER_READY = re.compile(r'^\{"issuer": ')
_BROKER_READY = re.compile(r"mosquitto version \S+ running")
_HEARTBEAT = "assetgate/heartbeat"
_CARRIED = ("assets/+/telemetry/#", "assets/+/events/#", "assets/+/status", "assetgate/auth/+")

Tables = Mapping[str, Mapping[str, object] | list[dict[str, object]]]


class Installation:
    """Directory, ports and secrets of one run.

    Args:
        root: an empty directory of mode 0700.
        rules: the rules file that the worker judges by.
    """

    def __init__(self, root: Path, *, rules: Path) -> None:
        self.root = root
        self.rules = rules
        self.logs = root / "logs"
        self.logs.mkdir()
        self.mqtt_port, self.gate_metrics_port, self.bridge_metrics_port, self.worker_metrics_port = (
            free_ports(4)
        )

    def environ(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """What children inherit: nothing that changes their settings, and Debian's place for servers."""
        kept = {
            name: value
            for name, value in inherited.items()
            if not name.startswith(("AUTHPLUGIN_", "PROCESSOR_"))
        }
        kept["PATH"] = os.pathsep.join((kept.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
        kept["PYTHONUNBUFFERED"] = "1"
        return kept

    def metrics(self) -> dict[str, str]:
        """Program → the URL of its metrics."""
        return {
            "gate": f"http://127.0.0.1:{self.gate_metrics_port}/metrics",
            "bridge": f"http://127.0.0.1:{self.bridge_metrics_port}/metrics",
            "worker": f"http://127.0.0.1:{self.worker_metrics_port}/metrics",
        }

    def client(self) -> ClientCredentials:
        """The application that registers devices; its secret is made here."""
        secret = secrets.token_urlsafe(32)
        self._secret("client-secret", secret + "\n")
        return ClientCredentials(_CLIENT_ID, secret)

    def issuer(self, bootstrap: str) -> Program:
        """The development issuer, which publishes its events to that Kafka; `client` comes before it."""
        return Program(
            "issuer",
            (
                *(sys.executable, "-m", "authplugin", "issuer", "--port", "0", "--audience", AUDIENCE),
                *("--client-id", _CLIENT_ID, "--client-secret-file", str(self.root / "client-secret")),
                *("--kafka", bootstrap, "--development-claims"),
            ),
            _ISSUER_READY,
        )

    def write_gate(self, issuer: str) -> Path:
        """The gate's settings, for tokens of that issuer; its service account gets a password."""
        password = secrets.token_urlsafe(32)
        self._secret("bridge-password", password + "\n")
        self._secret("passwords", f"{BRIDGE}:{password}\n")
        return self._write(
            "gate.toml",
            {
                "issuers": [{"issuer": issuer, "audiences": [AUDIENCE]}],
                "service_accounts": [
                    {"name": BRIDGE, "publish": [_HEARTBEAT], "subscribe": [*_CARRIED, _HEARTBEAT]}
                ],
                "mosquitto": {
                    "acl_file": "acl",
                    "password_file": "passwords",
                    "config_file": "mosquitto.conf",
                },
                "metrics": {"port": self.gate_metrics_port},
            },
        )

    def write_broker(self, stanza: str) -> Path:
        """Mosquitto's configuration around the lines that put the gate in place."""
        # As root Mosquitto would become a user who may enter neither this directory nor, often, Python's.
        user = "user root\n" if os.geteuid() == 0 else ""
        path = self.root / "mosquitto.conf"
        path.write_text(
            f"{user}log_dest stderr\npersistence_location {self.root}/\n{stanza}\n"
            f"set_tcp_nodelay true\nlistener {self.mqtt_port} 127.0.0.1\n",
            encoding="utf-8",
        )
        return path

    def write_watch(self, bootstrap: str) -> Path:
        """The settings of bridge and worker, for that Kafka."""
        return self._write(
            "watch.toml",
            {
                "mqtt": {
                    "port": self.mqtt_port,
                    "username": BRIDGE,
                    "password_file": str(self.root / "bridge-password"),
                },
                "kafka": {"bootstrap": bootstrap},
                "topics": {"partitions": PARTITIONS},
                "bridge": {"max_payload": OVERSIZE - 1},
                "worker": {"rules": str(self.rules), "state_interval": 2.0},
                "metrics": {"bridge_port": self.bridge_metrics_port, "worker_port": self.worker_metrics_port},
            },
        )

    def _write(self, name: str, tables: Tables) -> Path:
        path = self.root / name
        path.write_text(toml(tables), encoding="utf-8")
        return path

    def _secret(self, name: str, text: str) -> None:
        path = self.root / name
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)


def plugin(output: Path, settings: Path) -> Program:
    """Compiles the plugin and prints the lines that put it into Mosquitto."""
    return Program(
        "the plugin's build",
        (
            sys.executable,
            "-m",
            "authplugin",
            "mosquitto",
            "build",
            "-o",
            str(output),
            "--config",
            str(settings),
        ),
        READY,
        remedy="It needs a C compiler and the shared library of this Python.",
    )


def hashed(passwords: Path) -> Program:
    """Replaces the passwords in the file by their hashes, in place: none is ever an argument."""
    return Program(
        "mosquitto_passwd",
        ("mosquitto_passwd", "-U", str(passwords)),
        READY,
        remedy="It comes with mosquitto.",
    )


def topics(settings: Path) -> Program:
    """Makes the Kafka topics."""
    return Program(
        "topics create",
        (sys.executable, "-m", "processor", "topics", "create", "--config", str(settings)),
        READY,
    )


def kafka() -> Program:
    """The Kafka-protocol cluster inside the confluent-kafka wheel."""
    return Program(
        "embedded kafka",
        (sys.executable, "-m", "processor.testing.embedded", "--partitions", str(PARTITIONS)),
        READY,
        remedy="The confluent-kafka wheel must be installed from PyPI: make clean demo.",
    )


def mosquitto(configuration: Path) -> Program:
    """The broker with the gate in it."""
    return Program(
        "mosquitto",
        ("mosquitto", "-c", str(configuration)),
        _BROKER_READY,
        remedy="Its last line says which setting it refuses; make demo writes all of them anew.",
    )


def bridge(settings: Path) -> Program:
    """MQTT to Kafka."""
    return Program(
        "bridge",
        (sys.executable, "-m", "processor", "bridge", "--config", str(settings)),
        READY,
        remedy="It needs the broker and Kafka, both of which were up: the lines above say what it missed.",
    )


def worker(settings: Path) -> Program:
    """Telemetry to cases."""
    return Program(
        "worker",
        (sys.executable, "-m", "processor", "worker", "--config", str(settings)),
        READY,
        seconds=60.0,
        remedy="processor rules check shows what is wrong with a rules file.",
    )


def toml(tables: Tables) -> str:
    """TOML of tables and arrays of tables; strings, numbers, booleans and lists of them as values."""
    lines = []
    for name, content in tables.items():
        several = isinstance(content, list)
        for table in content if isinstance(content, list) else [content]:
            lines.append(f"[[{name}]]" if several else f"[{name}]")
            # JSON's strings, numbers, booleans and arrays are TOML's.
            lines += [
                f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in dict(table).items()
            ]
            lines.append("")
    return "\n".join(lines)
