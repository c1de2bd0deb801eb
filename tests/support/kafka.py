"""Kafka for tests: the embedded cluster, and a real Apache Kafka in KRaft mode from Maven."""

import json
import os
import shutil
import signal
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.ports import free_port

VERSION = "4.3.1"
_ROOT = Path(__file__).parents[2]
_DEPLOY = _ROOT / "deploy" / "kafka"
_HOME = _ROOT / "build" / "kafka" / VERSION
#: A second listener where accounts sign in; those of the first one may do everything.
_ACCOUNTS = """
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port},ACCOUNTS://127.0.0.1:{accounts}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},ACCOUNTS://127.0.0.1:{accounts}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,ACCOUNTS:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.accounts.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \\
  required user_clerk="clerk-password";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
"""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until true, or fail the test saying what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def jars() -> Path:
    """The broker's jars, fetched once into ``build/kafka``."""
    libs = _HOME / "libs"
    if not (_HOME / "complete").exists():
        part = _HOME / f"part-{os.getpid()}"
        subprocess.run(
            [
                "mvn",
                "-q",
                "-B",
                "-Dstyle.color=never",
                "-f",
                _DEPLOY / "pom.xml",
                _COPY,
                "-DincludeScope=runtime",
                f"-DoutputDirectory={part}",
            ],
            check=True,
            timeout=300,
        )
        shutil.rmtree(libs, ignore_errors=True)
        part.rename(libs)
        (_HOME / "complete").touch()
    return libs


@dataclass
class Kafka:
    """A cluster under test; `real` ones can be stopped, killed and started again."""

    bootstrap: str
    real: bool


@dataclass
class ApacheKafka(Kafka):
    directory: Path = field(default_factory=Path)
    #: Where the account `clerk` signs in; "" where there are no accounts.
    accounts: str = ""
    _process: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(cls, directory: Path, *, accounts: bool = False) -> "ApacheKafka":
        port, controller_port = free_port(), free_port()
        kafka = cls(f"127.0.0.1:{port}", real=True, directory=directory)
        template = string.Template((_DEPLOY / "server.properties").read_text())
        text = template.substitute(port=port, controller_port=controller_port, data=directory / "data")
        if accounts:
            own = free_port()
            kafka.accounts = f"127.0.0.1:{own}"
            text += _ACCOUNTS.format(port=port, controller_port=controller_port, accounts=own)
        (directory / "server.properties").write_text(text)
        storage = [*kafka._java(64), "kafka.tools.StorageTool"]
        made = subprocess.run([*storage, "random-uuid"], check=True, capture_output=True, timeout=60)
        subprocess.run(
            [*storage, "format", "-t", made.stdout.decode().strip(), "-c", directory / "server.properties"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        return kafka

    def _java(self, megabytes: int) -> list[str]:
        return [
            "java", f"-Xmx{megabytes}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k",
            f"-XX:MaxDirectMemorySize={megabytes // 2}m", "-XX:+ExitOnOutOfMemoryError",
            f"-Dlog4j2.configurationFile={_DEPLOY / 'log4j2.properties'}", "-cp", f"{jars()}/*",
        ]  # fmt: skip

    def start(self, seconds: float = 40, *, megabytes: int = 128) -> None:
        """Start and wait until it answers; with 128 MB it holds what tests write, not a bench's snapshots."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._java(megabytes), "kafka.Kafka", self.directory / "server.properties"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._answers, seconds, "Kafka answers")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail("Kafka ended:\n" + (self.directory / "log").read_text()[-3000:])
        quiet: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap,
            "log_level": 0,
            "socket.timeout.ms": 2000,
        }
        try:
            metadata = AdminClient(quiet).list_topics(timeout=1)
        except KafkaException:
            return False
        # A port that answers is not enough: every partition must have its leader back.
        return bool(metadata.brokers) and all(
            partition.leader >= 0
            for topic in metadata.topics.values()
            for partition in topic.partitions.values()
        )

    def freeze(self) -> None:
        """Let the node stand still, its connections open, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the node and wait: two processes on one directory corrupt it."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


def start_embedded(partitions: int, topics: Sequence[str]) -> tuple[subprocess.Popen[str], Kafka]:
    process = subprocess.Popen(
        [sys.executable, "-m", "processor.testing.embedded", "--partitions", str(partitions)]
        + [word for topic in topics for word in ("--topic", topic)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    return process, Kafka(ready["bootstrap"], real=False)


@pytest.fixture
def embedded() -> Iterator[Kafka]:
    """A fresh embedded cluster; topics appear when first asked for, with 4 partitions."""
    process, kafka = start_embedded(4, ["unused"])
    yield kafka
    process.terminate()
    process.communicate(timeout=10)


@pytest.fixture(scope="session")
def apache_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """The session's real node; tests on it name their own topics and groups."""
    node = ApacheKafka.make(tmp_path_factory.mktemp("kafka"), accounts=True)
    node.start()
    yield node
    node.stop()


@pytest.fixture(
    params=["embedded", pytest.param("apache_node", marks=pytest.mark.needs("java", "maven"), id="apache")]
)
def kafka(request: pytest.FixtureRequest) -> Kafka:
    """The same test on the embedded cluster and on a real Apache Kafka."""
    found: Kafka = request.getfixturevalue(request.param)
    return found


@dataclass(frozen=True)
class Read:
    """A record as a consumer sees it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


def _watermarks(consumer: Consumer, partition: TopicPartition, deadline: float) -> tuple[int, int]:
    """First and next offset; just after a restart a broker may say that it does not lead yet."""
    while True:
        try:
            low, high = consumer.get_watermark_offsets(partition, timeout=5)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return low, high


def read_end(kafka: Kafka, topic: str, partition: int) -> int:
    """The next offset of a partition."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "reader", "log_level": 0})
    try:
        return _watermarks(consumer, TopicPartition(topic, partition), time.monotonic() + 15)[1]
    finally:
        consumer.close()


def read_all(
    kafka: Kafka, topic: str, *, timeout: float = 15.0, partition: int | None = None, last: int | None = None
) -> list[Read]:
    """Every record that a topic has now; of one partition, or the last ones of each, if asked so."""
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": "reader", "enable.auto.commit": False,
         "auto.offset.reset": "earliest", "log_level": 0, "fetch.wait.max.ms": 10}
    )  # fmt: skip
    found: list[Read] = []
    deadline = time.monotonic() + timeout
    try:
        left, starts = {}, []
        for number in consumer.list_topics(topic, timeout=timeout).topics[topic].partitions:
            if partition not in (None, number):
                continue
            low, high = _watermarks(consumer, TopicPartition(topic, number), deadline)
            if low < high:
                left[number] = high
                starts.append(TopicPartition(topic, number, low if last is None else max(low, high - last)))
        consumer.assign(starts)
        while left and time.monotonic() < deadline:
            for message in consumer.consume(1000, timeout=0.05):
                assert message.error() is None, message.error()
                number, offset = message.partition() or 0, message.offset()
                assert offset is not None
                if offset + 1 >= left.get(number, 0):
                    left.pop(number, None)
                sent = dict(message.headers() or [])
                headers = {name: value for name, value in sent.items() if isinstance(value, bytes)}
                found.append(
                    Read(number, offset, message.timestamp()[1], message.key(), message.value(), headers)
                )
    finally:
        consumer.close()
    return found


def length(kafka: Kafka, topic: str) -> int:
    """How many records a topic holds: much cheaper than reading them."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "reader", "log_level": 0})
    try:
        found = consumer.list_topics(topic, timeout=15).topics[topic].partitions
        spans = [_watermarks(consumer, TopicPartition(topic, p), time.monotonic() + 15) for p in found]
        return sum(high - low for low, high in spans)
    finally:
        consumer.close()


def committed(kafka: Kafka, group: str, topic: str, partitions: int) -> dict[int, int]:
    """A group's committed offsets; -1001 where there is none."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group, "log_level": 0})
    try:
        found = consumer.committed([TopicPartition(topic, p) for p in range(partitions)], timeout=15)
        return {one.partition: one.offset for one in found}
    finally:
        consumer.close()


if __name__ == "__main__" and shutil.which("java") and shutil.which("mvn"):
    # Fetched before the tests: how long a download takes says nothing about a test.
    jars()
