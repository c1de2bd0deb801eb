"""What a message costs the bridge on each of its sources, against paho and against a bare loop."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import mqtt5

from tests.bench.figures import Figure, spread
from tests.bench.mqtt import Wire
from tests.bench.stream_rig import Rig
from tests.support.watch import PlainBroker

CONTESTANTS = ("mqtt5", "aiomqtt", "paho", "bare")
_PAYLOAD = json.dumps(
    {"ts": 1_700_000_000_123, "seq": 7,
     "metrics": {"temperature": 71.5, "pressure": 2.25, "vibration": 0.125, "toner": 12, "flow": 5.5}}
).encode()  # fmt: skip
_ASSETS = 200
_TOPIC = "carried"


def measure(rig: Rig, *, messages: int, rounds: int) -> list[Figure]:
    """Let the contestants carry one backlog each, in turn.

    Args:
        rig: on which Kafka.
        messages: of a backlog.
        rounds: counted ones; before them one that warms caches, unless there is only one.
    """
    rig.watch(_TOPIC)
    folder = rig.folder / "bridge"
    folder.mkdir()
    folder.chmod(0o777)
    broker = PlainBroker(folder)
    broker.start()
    try:
        cost: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for turn in range(0 if rounds > 1 else 1, rounds + 1):
            for name in CONTESTANTS if turn % 2 else reversed(CONTESTANTS):
                settings = _settings(folder, name, broker.port, rig.kafka.bootstrap)
                _leave_backlog(broker.port, name, messages)
                taken = _carry(name, settings, messages)
                if turn:
                    cost[name].append(taken)
    finally:
        broker.stop()
    return [
        _compare("bridge on aiomqtt / paho used directly, the same header and checks",
                 cost["aiomqtt"], cost["paho"], 1.2),
        _compare("bridge on the fast source / a bare parse, produce and ack loop",
                 cost["mqtt5"], cost["bare"], 2.0),
        _compare("bridge on the fast source / on aiomqtt", cost["mqtt5"], cost["aiomqtt"]),
        *(Figure(f"  CPU a message, µs: {name}", statistics.median(each)) for name, each in cost.items()),
    ]  # fmt: skip


def _compare(what: str, own: list[float], other: list[float], bound: float | None = None) -> Figure:
    """The median of the ratios within a round."""
    ratio = spread([one / two for one, two in zip(own, other, strict=True)])
    return Figure(what, ratio.median, bound, spread=(ratio.low, ratio.high))


def _settings(folder: Path, name: str, port: int, bootstrap: str) -> Path:
    file = folder / f"{name}.toml"
    file.write_text(
        f'[mqtt]\nport = {port}\nusername = "bridge"\npassword = "bridge-password"\n'
        f'client_id = "bench-{name}"\n'
        f'filters = ["assets/+/telemetry/{name}"]\nheartbeat_topic = "bench/{name}"\n'
        f'[kafka]\nbootstrap = "{bootstrap}"\n[topics]\ntelemetry = "{_TOPIC}"\n'
    )
    return file


def _leave_backlog(port: int, name: str, messages: int) -> None:
    """Give the contestant's session a backlog, that nobody else holds."""
    client_id = f"bench-{name}"
    with Wire(port) as wire:
        wire.connect(client_id, username="bridge", password=b"bridge-password", session_expiry=600)
        wire.subscribe(f"assets/+/telemetry/{name}")
    with Wire(port) as wire:
        wire.connect("bench-devices")
        wire.send(
            *(
                # Sent at QoS 0 and upgraded by the broker: nobody waits for 30,000 PUBACKs.
                mqtt5.PublishPacket(
                    f"assets/02iAB00000000{n % _ASSETS:03}AAA/telemetry/{name}", _PAYLOAD
                ).write()
                for n in range(messages)
            )
        )
        wire.ping()


def _carry(name: str, settings: Path, messages: int) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.carriers", name, settings, str(messages)],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name} did not carry its backlog:\n{done.stderr[-3000:]}")
    return float(done.stdout)
