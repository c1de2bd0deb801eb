"""A Kafka with telemetry in it, and the worker as a process whose CPU and memory are read from /proc."""

import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Producer

from processor.kafka.admin import Admin
from processor.settings import load
from tests.support.kafka import ApacheKafka, Kafka, start_embedded
from tests.support.watch import Program, Watch

METRICS = ("temperature", "pressure", "vibration", "toner", "flow")
#: Four detectors on each of five metrics: 20 rules look at each event.
DETECTORS = {
    "threshold": "threshold: {above: 98, hysteresis: 5}",
    "rate": "rate: {rising: 500, per: 1s, window: 30s}",
    "stuck": "stuck: {over: 1h}",
    "ewma": "ewma: {deviations: 6, window: 60s}",
}
RULES = "rules:\n" + "".join(
    f"  - {{id: {metric}-{name}, kind: case, severity: low, title: t, select: {{metric: {metric}}}, "
    f"detect: {{{detect}}}}}\n"
    for metric in METRICS
    for name, detect in DETECTORS.items()
)
START = 1_760_000_000_000
_EVENT = (
    b'{"ts":%d,"seq":%d,"metrics":{' + b",".join(b'"%b":%%.2f' % name.encode() for name in METRICS) + b"}}"
)
_TICKS = os.sysconf("SC_CLK_TCK")


def asset_id(number: int) -> bytes:
    """An id as Salesforce makes them: 18 characters."""
    return b"02iAB%010dAAA" % number


def events(count: int, assets: int, *, first: int = 0, seq: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Key and payload of telemetry, round by round of all assets: some 125 bytes with five metrics.

    Each asset's first message has the number `seq`, and is that many seconds after `START`.
    """
    chance = random.Random(first + seq)
    noise = [50 + chance.gauss(0, 8) for _ in range(9973)]
    for n in range(count):
        turn, asset = divmod(n, assets)
        values = (noise[(n * 5 + k) % len(noise)] for k in range(5))
        yield asset_id(first + asset), _EVENT % (START + (seq + turn) * 1000, seq + turn, *values)


def fill(kafka: Kafka, topic: str, written: Iterator[tuple[bytes, bytes]]) -> int:
    """Write telemetry as the bridge does; returns how many records."""
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random", "linger.ms": 20,
         "compression.type": "lz4", "log_level": 0, "queue.buffering.max.messages": 200_000}
    )  # fmt: skip
    header: list[tuple[str, str | bytes | None]] = [("t", b"telemetry")]
    count = 0
    for key, value in written:
        while True:
            try:
                producer.produce(topic, value, key, headers=header)
            except BufferError:
                producer.poll(0.1)
            else:
                break
        count += 1
        if count % 1000 == 0:
            producer.poll(0)
    if producer.flush(60):
        raise SystemExit(f"{topic}: Kafka did not take the telemetry within a minute")
    return count


@contextmanager
def cluster(folder: Path, *, real: bool) -> Iterator[Kafka]:
    """Apache Kafka, or the embedded cluster for the short form."""
    if real:
        node = ApacheKafka.make(folder)
        # Records of 13 MB come and go: in the heap of the tests Kafka would do nothing but collect.
        node.start(megabytes=768)
        try:
            yield node
        finally:
            node.stop()
    else:
        process, kafka = start_embedded(4, ["unused"])
        try:
            yield kafka
        finally:
            process.terminate()
            process.communicate(timeout=10)


@dataclass
class Rig:
    """Workers on one Kafka, each with a group and topics of its own beside the telemetry it shares."""

    kafka: Kafka
    folder: Path
    partitions: int = 4
    watches: list[Watch] = field(default_factory=list)

    def watch(self, telemetry: str, **settings: object) -> Watch:
        """A fresh group, state and cases on a telemetry topic, which is made if there is none."""
        folder = self.folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        (folder / "rules.yaml").write_text(RULES)
        one = Watch(self.kafka, folder, partitions=self.partitions)
        one.defaults = {
            "topics__telemetry": telemetry, "worker__state_interval": 1.0, "worker__commit_interval": 1.0,
            "worker__session_timeout": 20, **settings,
        }  # fmt: skip
        asked = load(one.settings())
        Admin(asked.kafka).create(asked.topics)
        self.watches.append(one)
        return one

    def close(self) -> None:
        """End what still runs."""
        for one in self.watches:
            one.close()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_bytes(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/{pid}/status has no VmRSS")


def records_judged(worker: Program) -> int:
    """Records that the worker has judged and made safe."""
    return round(worker.metric("processor_worker_records_total"))


def carry(worker: Program, total: int, *, skip: float = 0.2, seconds: float = 300) -> tuple[float, float]:
    """CPU and wall microseconds an event, from the moment a part of the backlog was judged to its end.

    With no part skipped, the start of the process is in it.
    """
    began = None if skip else (0, 0.0, time.monotonic())
    deadline = time.monotonic() + seconds
    pid = worker.process.pid
    while True:
        done, cpu, now = records_judged(worker), cpu_seconds(pid), time.monotonic()
        if began is None and done >= total * skip:
            began = done, cpu, now
        if done >= total:
            break
        if now > deadline:
            raise SystemExit(f"{done} of {total} records judged in {seconds} s:\n{worker.said[-2000:]}")
        # Each question costs the worker something.
        time.sleep(0.2)
    if began is None or done <= began[0]:
        raise SystemExit("the backlog was too small to be measured")
    events_seen = done - began[0]
    return (cpu - began[1]) / events_seen * 1e6, (now - began[2]) / events_seen * 1e6


def await_judged(worker: Program, count: int) -> None:
    """Wait until so many records are judged, asking seldom."""
    _await(worker, lambda: records_judged(worker) >= count, 300, f"{count} records judged")


def settle(worker: Program) -> None:
    """Wait until everything judged is in snapshots that Kafka has, and their offsets are committed."""
    _await(worker, lambda: worker.metric("processor_worker_commit_age_seconds") == 0, 120, "all committed")


def _await(worker: Program, condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:g} s: {what}; the worker said\n{worker.said[-4000:]}")
        time.sleep(0.1)
