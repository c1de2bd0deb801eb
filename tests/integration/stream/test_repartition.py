"""More partitions: whatever happens meanwhile, what is told is what one engine tells that nobody disturbs.

Long, because one fleet and one way to compare serve every moment at which it may be broken off.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its types forget it
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
)
from confluent_kafka.cimpl import NewPartitions

from processor.engine import Engine
from processor.errors import StreamError
from processor.flow.repartition import repartition
from processor.flow.state import recall
from processor.flow.survey import survey
from processor.kafka.partitioner import choose_partition
from processor.kafka.state import encode_key
from processor.model import Counts
from processor.rules import parse_rules
from processor.settings import load
from tests.support.kafka import Kafka, committed, length, read_all, read_end, start_embedded, until
from tests.support.telemetry import Written, beat, sent
from tests.support.watch import PlainBroker, Program, Watch

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("java", "maven")]

RULES = """
rules:
  - {id: hot, kind: case, severity: high, title: t, select: {metric: a}, for: 3s, clear: 2s,
     detect: {threshold: {above: 80, hysteresis: 5}}}
  - {id: drift, kind: case, severity: low, title: t, select: {metric: b},
     detect: {ewma: {deviations: 2, window: 8s, samples: 4}}}
  - {id: silent, kind: case, severity: low, title: t, detect: {silence: {after: 4s}}}
"""
#: An hour ago: Kafka takes no record from the future, and keeps none that is older than its retention.
START = (int(time.time()) - 3600) * 1000
ASSETS = [f"02iAB00000{number:05d}AAA" for number in range(12)]
NAMES = ("telemetry", "auth", "tokens", "state", "cases", "shadow", "dead", "rules", "assets")
SETTINGS = {"worker__session_timeout": 1}


class Fleet:
    """Assets that heat up, drift and fall silent, written as the bridge writes them; second by second."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.records: list[Written] = []
        self._second = 0

    def live(self, seconds: int, partitions: int) -> None:
        """So many seconds more, into so many partitions; a bridge that was started for `beats` of them."""
        producer = Producer(
            {"bootstrap.servers": self._watch.kafka.bootstrap, "partitioner": "murmur2_random", "acks": "all",
             "enable.idempotence": True, "log_level": 0}
        )  # fmt: skip
        topic = self._watch.topic("telemetry")
        for second in range(self._second, self._second + seconds):
            for number, asset in enumerate(ASSETS):
                if (second + 7 * number) % 40 > 30:
                    continue
                t = START + second * 1000 + number
                hot = 95 if (second + number) % 12 < 5 else 20
                record = sent(asset, t, seq=second, a=hot, b=(second * number) % 7)
                self.records.append(record)
                producer.produce(
                    topic, record.value, record.key, timestamp=record.timestamp, headers=[*record.headers]
                )
            proof = beat(START + second * 1000 + 900)
            self.records.append(proof)
            for number in range(partitions):
                producer.produce(
                    topic, proof.value, None, number, timestamp=proof.timestamp, headers=[*proof.headers]
                )
        self._second += seconds
        assert producer.flush(20) == 0

    def told(self) -> set[bytes]:
        """What one engine tells that nobody disturbs."""
        return {event.value for event in Engine(parse_rules(RULES), partition=0).advance(self.records).events}

    def samples(self) -> int:
        return 2 * sum(record.key is not None for record in self.records)


@pytest.fixture
def two(apache_node: Kafka, tmp_path: Path) -> Iterator[Watch]:
    """A watch with two partitions."""
    watch = Watch(apache_node, tmp_path, partitions=2, defaults=dict(SETTINGS))
    (tmp_path / "rules.yaml").write_text(RULES)
    watch.run("topics", "create", "--config", watch.settings())
    yield watch
    watch.close()


def judged_to_the_end(watch: Watch) -> None:
    """Wait until everything is judged and committed."""
    topic = watch.topic("telemetry")
    ends = {number: read_end(watch.kafka, topic, number) for number in range(watch.partitions)}
    until(lambda: committed(watch.kafka, watch.group, topic, watch.partitions) == ends, 30, "all is judged")


def worker(watch: Watch, settings: Path) -> Program:
    return watch.start("worker", "--config", settings, seconds=60)


def cases(watch: Watch) -> set[bytes]:
    return {record.value or b"" for record in read_all(watch.kafka, watch.topic("cases"))}


def counts(watch: Watch, settings: Path) -> Counts:
    """Samples by what became of them, of all partitions."""
    found, whole = load(settings), Counts()
    for number, known in recall(found.kafka, found.topics, range(watch.partitions)):
        assert known.snapshot is not None
        assert known.snapshot.offset == known.end
        engine = Engine.load(known.snapshot.memory, parse_rules(RULES), partition=number, jit=False)
        assert all(choose_partition(key, watch.partitions) == number for key in engine.index.keys)
        whole = whole.plus(engine.counts)
    return whole


def same_as_undisturbed(watch: Watch, fleet: Fleet, settings: Path) -> None:
    assert cases(watch) == fleet.told()
    found = counts(watch, settings)
    assert (found.received, found.judged) == (fleet.samples(), fleet.samples())


def extend(kafka: Kafka, topics: Sequence[str], count: int) -> None:
    """What `kafka-topics.sh --alter --partitions` does."""
    client = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for future in client.create_partitions([NewPartitions(topic, count) for topic in topics]).values():
        future.result()


def test_from_two_partitions_to_five_nothing_is_told_otherwise(two: Watch) -> None:
    fleet = Fleet(two)
    first = worker(two, two.settings())
    fleet.live(30, 2)
    judged_to_the_end(two)
    assert first.end() == 0
    fleet.live(10, 2)
    before = two.settings()
    two.partitions = 5
    settings = two.settings()
    refused = two.run("worker", "--config", settings, expect=1)
    assert f"{two.topic('telemetry')} has 2 partitions, topics.partitions says 5" in refused
    assert "`processor state repartition --config FILE`" in refused
    said = two.run("state", "repartition", "--config", settings)
    assert f"{two.topic('telemetry')}: 2 partitions, to be 5" in said
    assert "the memory is of 2 partitions, to be of 5" in said
    assert "nothing was changed" in said
    done = two.run("state", "repartition", "--config", settings, "--yes")
    assert "done: the memory of 2 partitions is that of 5" in done
    remembered = {record.key: record.value for record in read_all(two.kafka, two.topic("state"))}
    kept = {key for key, value in remembered.items() if value is not None}
    assert kept == {encode_key(number, 5) for number in range(5)}
    assert "nothing to do" in two.run("state", "repartition", "--config", settings, "--yes")
    assert two.run("worker", "--config", before, expect=1).count("state repartition") == 1
    fleet.live(20, 5)
    again = worker(two, settings)
    judged_to_the_end(two)
    assert again.end() == 0
    same_as_undisturbed(two, fleet, settings)


def test_a_topic_that_somebody_extended_while_bridge_and_worker_ran_is_judged_in_order_all_the_same(
    two: Watch,
) -> None:
    fleet = Fleet(two)
    settings = two.settings()
    running = worker(two, settings)
    fleet.live(20, 2)
    judged_to_the_end(two)
    extend(two.kafka, [two.topic("telemetry")], 4)
    until(lambda: running.process.poll() == 1, 30, "the worker ends")
    fleet.live(15, 2)
    assert "`processor state repartition --config FILE`" in running.said
    two.partitions = 4
    after = two.settings()
    assert f"{two.topic('state')}: partitions: found 2, expected 4" in two.run(
        "topics", "check", "--config", after, expect=1
    )
    extend(two.kafka, [two.topic(name) for name in NAMES if name != "telemetry"], 4)
    said = two.run("topics", "check", "--config", after, expect=1)
    assert f"{two.topic('state')}: memory: found of 2 partitions, expected of 4" in said
    assert "`processor state repartition --config FILE`" in said
    fleet.live(5, 4)
    refused = two.run("worker", "--config", after, expect=1)
    assert f"the state in {two.topic('state')} is of 2 partitions, {two.topic('telemetry')} has 4" in refused
    two.run("state", "repartition", "--config", after, "--yes")
    fleet.live(15, 4)
    again = worker(two, after)
    judged_to_the_end(two)
    assert again.end() == 0
    same_as_undisturbed(two, fleet, after)


@pytest.mark.needs("mosquitto")
def test_a_bridge_ends_when_somebody_extends_the_topic_and_does_not_start_again(
    two: Watch, plain_broker: PlainBroker
) -> None:
    two.mqtt_port = plain_broker.port
    bridge = two.start("bridge", "--config", two.settings())
    extend(two.kafka, [two.topic("telemetry")], 3)
    until(lambda: bridge.process.poll() == 1, 30, "the bridge ends")
    assert (
        f"the state in {two.topic('state')} is of 2 partitions, {two.topic('telemetry')} has 3" in bridge.said
    )
    for partitions in (2, 3):
        two.partitions = partitions
        refused = two.run("bridge", "--config", two.settings(), expect=1)
        assert "`processor state repartition --config FILE`" in refused


DRIVER = """
import os, pathlib, signal, sys
from processor.errors import StreamError
from processor.flow.repartition import repartition
from processor.flow.survey import survey
from processor.settings import load

settings, last, number = load(pathlib.Path(sys.argv[1])), sys.argv[2], signal.Signals[sys.argv[3]]

def say(step):
    print(step, flush=True)
    if step.startswith(last):
        os.kill(os.getpid(), number)

try:
    repartition(settings, survey(settings, None), say)
except StreamError as error:
    sys.exit(str(error))
"""


def test_killed_at_any_step_the_worker_refuses_and_another_run_completes_it(two: Watch) -> None:
    fleet = Fleet(two)
    first = worker(two, two.settings())
    fleet.live(20, 2)
    judged_to_the_end(two)
    assert first.end() == 0
    fleet.live(15, 2)
    two.partitions = 3
    settings = two.settings()
    steps: list[str] = []
    # In the middle of judging; between two of the records of the transaction; before it is committed.
    written = [f"{two.topic('state')}[{number}]" for number in (1, 2)]
    for last in ("judging", *written, "never"):
        run = subprocess.run(
            [sys.executable, "-c", DRIVER, settings, last, "SIGKILL"], capture_output=True, text=True,
            timeout=60, cwd=Path(__file__).parents[3], check=False,
        )  # fmt: skip
        steps.append(run.stdout.splitlines()[-1])
        if steps[-1].startswith("done"):
            break
        assert run.returncode == -9, run.stderr
        if last == written[0]:
            assert "state repartition" in two.run("worker", "--config", settings, expect=1)
    assert [step.partition(":")[0].split()[0] for step in steps] == ["judging", *written, "done"]
    fleet.live(10, 3)
    again = worker(two, settings)
    judged_to_the_end(two)
    assert again.end() == 0
    same_as_undisturbed(two, fleet, settings)


def test_of_two_runs_at_once_the_later_one_completes_it_and_the_other_says_so(two: Watch) -> None:
    fleet = Fleet(two)
    first = worker(two, two.settings())
    fleet.live(20, 2)
    judged_to_the_end(two)
    assert first.end() == 0
    fleet.live(15, 2)
    two.partitions = 3
    settings = two.settings()
    earlier = subprocess.Popen(
        [sys.executable, "-c", DRIVER, settings, "writing", "SIGSTOP"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    try:
        assert earlier.stdout is not None
        while "writing" not in earlier.stdout.readline():
            assert earlier.poll() is None
        assert "done" in two.run("state", "repartition", "--config", settings, "--yes")
        earlier.send_signal(signal.SIGCONT)
        _, said = earlier.communicate(timeout=60)
    finally:
        earlier.kill()
        earlier.wait(10)
    assert earlier.returncode == 1
    assert "Traceback" not in said
    assert "another run of this command has begun" in said
    fleet.live(10, 3)
    again = worker(two, settings)
    judged_to_the_end(two)
    assert again.end() == 0
    same_as_undisturbed(two, fleet, settings)


def test_a_topic_that_does_not_take_the_memory_is_named_with_the_reason(two: Watch) -> None:
    first = worker(two, two.settings())
    Fleet(two).live(5, 2)
    judged_to_the_end(two)
    assert first.end() == 0
    client = AdminClient({"bootstrap.servers": two.kafka.bootstrap, "log_level": 0})
    entry = ConfigEntry("max.message.bytes", "100", incremental_operation=AlterConfigOpType.SET)
    small = ConfigResource(ConfigResource.Type.TOPIC, two.topic("state"), incremental_configs=[entry])
    for future in client.incremental_alter_configs([small]).values():
        future.result()
    two.partitions = 3
    said = two.run("state", "repartition", "--config", two.settings(), "--yes", expect=1)
    assert f"{two.topic('state')} does not take the memory (Broker: Message size too large)" in said
    assert f"{two.topic('state')}[0]:" not in said


def test_an_error_in_the_middle_of_writing_leaves_no_transaction_open(two: Watch) -> None:
    first = worker(two, two.settings())
    Fleet(two).live(5, 2)
    judged_to_the_end(two)
    assert first.end() == 0
    two.partitions = 3
    settings, state = load(two.settings()), two.topic("state")

    def fail(step: str) -> None:
        if step.startswith(f"{state}[0]"):
            raise StreamError("in the middle")

    with pytest.raises(StreamError, match="in the middle"):
        repartition(settings, survey(settings, None), fail)
    client = AdminClient({"bootstrap.servers": two.kafka.bootstrap, "log_level": 0})
    latest = {TopicPartition(state, 0): OffsetSpec.latest()}  # type: ignore[no-untyped-call] # it has none

    def end(level: IsolationLevel) -> int:
        found = client.list_offsets(latest, isolation_level=level)
        return int(found[TopicPartition(state, 0)].result().offset)

    # What is committed is all there is, once Kafka has noted the abort: nobody waits for a transaction's end.
    until(
        lambda: end(IsolationLevel.READ_COMMITTED) == end(IsolationLevel.READ_UNCOMMITTED),
        10,
        "no transaction is open",
    )


def test_it_refuses_while_a_worker_runs_while_somebody_writes_and_where_kafka_cannot(two: Watch) -> None:
    fleet = Fleet(two)
    running = worker(two, two.settings())
    fleet.live(5, 2)
    two.partitions = 3
    settings = two.settings()
    said = two.run("state", "repartition", "--config", settings, "--yes", expect=1)
    assert f"1 workers of {two.group} are running" in said
    assert running.end() == 0
    command = two.launch("state", "repartition", "--config", settings, "--yes")
    assert command.process.stdout is not None
    while "watching" not in command.process.stdout.readline():
        assert command.process.poll() is None, command.said

    def write() -> bool:
        fleet.live(1, 2)
        return command.process.poll() is not None

    until(write, 30, "it has seen the records")
    assert command.process.wait(30) == 1
    assert "records still arrive" in command.said
    assert length(two.kafka, two.topic("telemetry")) > 0
    two.partitions = 1
    said = two.run("state", "repartition", "--config", two.settings(), expect=1)
    assert f"topic {two.topic('telemetry')} has 2 partitions, topics.partitions says 1" in said
    assert "Kafka takes none away" in said


def test_a_record_in_the_partition_of_another_asset_ends_the_worker_and_is_judged_with_its_own(
    two: Watch,
) -> None:
    settings = two.settings()
    asset = next(asset for asset in ASSETS if choose_partition(asset.encode(), 2) == 0)
    running = worker(two, settings)
    producer = Producer({"bootstrap.servers": two.kafka.bootstrap, "log_level": 0})
    (key, value, *_), topic = sent(asset, START, a=95, b=0), two.topic("telemetry")
    producer.produce(topic, value, key, 1, headers=[("t", b"telemetry")])
    assert producer.flush(20) == 0
    until(lambda: running.process.poll() == 1, 30, "the worker ends")
    assert f"{topic}[1] holds records of {asset}, which belong to [0] of 2" in running.said
    assert "done" in two.run("state", "repartition", "--config", settings, "--from", "2", "--yes")
    again = worker(two, settings)
    assert again.end() == 0
    assert counts(two, settings).judged == 2


def test_topics_without_a_record_are_only_extended(two: Watch) -> None:
    two.partitions = 3
    said = two.run("state", "repartition", "--config", two.settings(), "--yes")
    assert f"{two.topic('state')}: there is no memory" in said
    assert "done: " in said
    assert "nothing found" in two.run("topics", "check", "--config", two.settings())


def test_the_embedded_cluster_says_that_it_cannot(tmp_path: Path) -> None:
    process, kafka = start_embedded(4, ["unused"])
    try:
        watch = Watch(kafka, tmp_path)
        said = watch.run("state", "repartition", "--config", watch.settings(), expect=1)
        assert "the embedded cluster keeps its number of partitions" in said
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_without_a_memory_it_asks_how_many_there_were_and_letters_tell_where_a_record_lay(two: Watch) -> None:
    producer = Producer({"bootstrap.servers": two.kafka.bootstrap, "log_level": 0})
    asset = next(asset for asset in ASSETS if choose_partition(asset.encode(), 2) == 0)
    # It lies where a wider layout would have it: the former one's engine judges it, and its letter says 1.
    producer.produce(two.topic("telemetry"), b"garbage", asset, 1, headers=[("t", b"telemetry")])
    assert producer.flush(20) == 0
    two.partitions = 3
    said = two.run("state", "repartition", "--config", two.settings(), expect=1)
    assert "say --from NUMBER" in said
    said = two.run("state", "repartition", "--config", two.settings(), "--from", "3", "--yes", expect=1)
    assert "--from says 3" in said
    assert "has 2 partitions" in said
    two.run("state", "repartition", "--config", two.settings(), "--from", "2", "--yes")
    (letter,) = read_all(two.kafka, two.topic("dead"))
    assert letter.headers["origin"] == f"kafka:{two.topic('telemetry')}/1/0".encode()
    assert letter.value == b"garbage"
