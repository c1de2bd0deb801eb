"""How long from a device's publish to the case event in Kafka, with the whole road half busy."""

import statistics
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import mqtt5
from confluent_kafka import Consumer, TopicPartition
from msgspec import Struct
from msgspec.json import Decoder

from tests.bench.figures import Figure
from tests.bench.mqtt import Wire
from tests.bench.stream_rig import METRICS, Rig, asset_id, records_judged
from tests.support.kafka import until
from tests.support.watch import PlainBroker, Watch

_ASSETS = 500
#: Every message of one asset in this many crosses a threshold, one way or the other: an event follows.
_NEWS = 50
_TICK = 0.01


class _Event(Struct):
    time: datetime


def measure_latency(rig: Rig, *, burst: int, seconds: float) -> list[Figure]:
    """Find what the whole road carries by a burst, then watch it at half of that.

    Args:
        rig: on which Kafka.
        burst: messages that find the capacity.
        seconds: how long to watch.
    """
    folder = rig.folder / "mqtt"
    folder.mkdir()
    folder.chmod(0o777)
    broker = PlainBroker(folder)
    broker.start()
    try:
        watch = rig.watch("road")
        watch.mqtt_port = broker.port
        settings = watch.settings()
        worker, bridge = (watch.start(name, "--config", settings) for name in ("worker", "bridge"))
        with Wire(broker.port) as wire:
            wire.connect("bench-devices")
            began = time.monotonic()
            for part in _parts(burst, burst // 20, news=False):
                wire.send(*part)
            until(lambda: records_judged(worker) >= burst, 120, "the burst is judged")
            capacity = burst / (time.monotonic() - began)
            rate = capacity / 2
            found = _observe(watch, wire, rate, seconds)
        until(lambda: records_judged(worker) >= burst + rate * seconds * 0.99, 60, "the rest is judged")
        # What follows shall not share the machine with these.
        for program in (bridge, worker):
            if program.end() != 0:
                raise SystemExit(f"it did not end well:\n{program.said[-2000:]}")
    finally:
        broker.stop()
    tail = statistics.quantiles(found, n=100, method="inclusive")
    where = f"publish at the device to case event in Kafka at {rate:,.0f} messages/s"
    return [
        Figure("whole road (Mosquitto, bridge, Kafka, worker), messages/s in a burst", capacity),
        Figure(f"{where}: p50, ms", statistics.median(found) * 1000),
        Figure(f"{where}: p99, ms", tail[98] * 1000),
    ]


def _observe(watch: Watch, wire: Wire, rate: float, seconds: float) -> list[float]:
    """Seconds from publish to event of each event, at a steady rate."""
    found: list[float] = []
    ended = threading.Event()
    consumer = Consumer(
        {"bootstrap.servers": watch.kafka.bootstrap, "group.id": "bench", "auto.offset.reset": "earliest",
         "enable.auto.commit": False, "fetch.wait.max.ms": 10, "log_level": 0}
    )  # fmt: skip
    consumer.assign([TopicPartition(watch.topic("cases"), n, 0) for n in range(watch.partitions)])
    reader = threading.Thread(target=_read, args=(consumer, found, ended))
    reader.start()
    per_tick = max(1, round(rate * _TICK))
    parts = _parts(round(rate * seconds), per_tick, news=True)
    due = time.monotonic()
    for part in parts:
        wire.send(*part)
        due += per_tick / rate
        time.sleep(max(0.0, due - time.monotonic()))
    expected = rate * seconds / _NEWS * 0.99
    until(lambda: len(found) >= expected, 60, "the events arrive")
    ended.set()
    reader.join()
    consumer.close()
    return found


def _read(consumer: Consumer, found: list[float], ended: threading.Event) -> None:
    decode = Decoder(_Event).decode
    while not ended.is_set():
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            # The transition's event time is the moment of the publish.
            found.append(time.time() - decode(message.value() or b"").time.timestamp())


def _parts(count: int, size: int, *, news: bool) -> Iterator[list[bytes]]:
    """Packets of `count` messages, each part stamped when it is made."""
    for start in range(0, count, size):
        yield [_packet(n, news=news) for n in range(start, min(start + size, count))]


def _packet(n: int, *, news: bool) -> bytes:
    """Telemetry of an asset in its turn; with `news`, some assets go hot and cool at each message."""
    turn, asset = divmod(n, _ASSETS)
    hot = news and asset % _NEWS == 0 and turn % 2 == 0
    values = ",".join(f'"{name}":{99.5 if hot and name == METRICS[0] else 50 + turn % 3}' for name in METRICS)
    payload = b'{"ts":%d,"metrics":{%b}}' % (time.time() * 1000, values.encode())
    # Sent at QoS 0, upgraded by the broker for the bridge: this device waits for nobody.
    return mqtt5.PublishPacket(f"assets/{asset_id(asset).decode()}/telemetry", payload).write()
