"""A Kafka that was put back to an earlier state under a running worker: what it takes anew is judged."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.integration.stream.test_worker import RULES, worker
from tests.support.kafka import ApacheKafka, read_end, until
from tests.support.telemetry import START
from tests.support.watch import Watch

pytestmark = [pytest.mark.timeout(150), pytest.mark.needs("java", "maven")]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ApacheKafka]:
    (tmp_path / "kafka").mkdir()
    kafka = ApacheKafka.make(tmp_path / "kafka")
    kafka.start()
    yield kafka
    kafka.stop()


def write(watch: Watch, numbers: range) -> None:
    producer = Producer({"bootstrap.servers": watch.kafka.bootstrap, "log_level": 0})
    for number in numbers:
        value = json.dumps({"ts": START // 2 + number, "metrics": {"temperature": number}}).encode()
        producer.produce(watch.topic("telemetry"), value, b"press-7", headers=[("t", b"telemetry")])
    assert producer.flush(20) == 0


def test_what_a_log_that_lost_its_end_takes_anew_is_judged(node: ApacheKafka, tmp_path: Path) -> None:
    watch = Watch(node, tmp_path, partitions=1)
    (tmp_path / "rules.yaml").write_text(RULES)
    try:
        watch.run("topics", "create", "--config", watch.settings())
        data, kept = tmp_path / "kafka" / "data", tmp_path / "kept"
        write(watch, range(100))
        node.stop()
        shutil.copytree(data, kept)
        node.start()
        write(watch, range(100, 300))
        program = worker(watch)
        until(lambda: program.metric("processor_worker_samples_total", outcome="judged") == 300, 30, "judged")
        node.stop()
        shutil.rmtree(data)
        shutil.copytree(kept, data)
        node.start()
        assert read_end(node, watch.topic("telemetry"), 0) == 100
        write(watch, range(300, 350))
        until(
            lambda: program.metric("processor_worker_samples_total", outcome="judged") == 350, 40, "the new"
        )
        # Those that the log still has come again, and are known.
        assert program.metric("processor_worker_samples_total", outcome="late") == 100
        assert program.metric("processor_worker_log_cuts_total") == 1
        assert (
            "[0] ends before 300, up to which it was judged: it was made anew or has lost its end"
            in program.said
        )
    finally:
        watch.close()
