"""Somebody deletes the telemetry topic and makes it anew: what the new one holds is judged, all of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from tests.support.kafka import ApacheKafka, read_all, until
from tests.support.telemetry import START, rules_text, sent
from tests.support.watch import Program, Watch

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("java", "maven")]

ASSET = "02iAB0000000000AAA"
BEGIN = START - 200_000_000_000


@pytest.fixture
def lone(apache_node: ApacheKafka, tmp_path: Path) -> Iterator[Watch]:
    """A watch with one partition."""
    watch = Watch(apache_node, tmp_path, partitions=1)
    (tmp_path / "rules.yaml").write_text(rules_text("{threshold: {above: 80}}"))
    watch.run("topics", "create", "--config", watch.settings())
    yield watch
    watch.close()


def write(watch: Watch, first: int, count: int, hot: range) -> None:
    producer = Producer({"bootstrap.servers": watch.kafka.bootstrap, "log_level": 0})
    for n in range(first, first + count):
        record = sent(ASSET, BEGIN + n * 1000, temperature=90 if n in hot else 20)
        producer.produce(watch.topic("telemetry"), record.value, record.key, headers=[*record.headers])
    assert producer.flush(20) == 0


def make_anew(watch: Watch) -> None:
    client = AdminClient({"bootstrap.servers": watch.kafka.bootstrap, "log_level": 0})
    for future in client.delete_topics([watch.topic("telemetry")]).values():
        future.result()
    until(
        lambda: watch.topic("telemetry") not in client.list_topics(timeout=10).topics, 20, "the topic is gone"
    )
    watch.run("topics", "create", "--config", watch.settings())


def judged(worker: Program, count: int) -> None:
    until(
        lambda: worker.metric("processor_worker_samples_total", outcome="judged") == count,
        20,
        f"{count} samples are judged",
    )


def test_a_topic_made_anew_is_judged_from_its_beginning_though_it_holds_more_than_the_former(
    lone: Watch,
) -> None:
    settings = lone.settings()
    write(lone, 0, 30, range(0))
    worker = lone.start("worker", "--config", settings)
    judged(worker, 30)
    assert worker.end() == 0
    make_anew(lone)
    write(lone, 30, 50, range(35, 45))
    said = lone.run("topics", "check", "--config", settings, expect=1)
    assert f"{lone.topic('telemetry')}: topic id: found " in said
    assert "was deleted and made anew: what it holds is judged from its beginning" in said
    worker = lone.start("worker", "--config", settings)
    judged(worker, 50)
    assert worker.metric("processor_worker_topic_renewals_total") == 1
    assert f"{lone.topic('telemetry')} was deleted and made anew" in worker.said
    until(
        lambda: "nothing found" in lone.run("topics", "check", "--config", settings, expect=None),
        20,
        "it is remembered",
    )
    assert worker.end() == 0
    assert len(read_all(lone.kafka, lone.topic("cases"))) == 2
    # Once is enough.
    worker = lone.start("worker", "--config", settings)
    assert worker.metric("processor_worker_topic_renewals_total") == 0
    assert "judging 0 from 50" in worker.said


def test_a_worker_that_runs_when_its_topic_is_made_anew_ends_and_says_so(lone: Watch) -> None:
    settings = lone.settings()
    write(lone, 0, 30, range(0))
    worker = lone.start("worker", "--config", settings)
    judged(worker, 30)
    make_anew(lone)
    assert worker.process.wait(30) == 1
    assert f"{lone.topic('telemetry')} was deleted and made anew" in worker.said
    assert "start again to judge it" in worker.said
    assert "Traceback" not in worker.said
    write(lone, 30, 20, range(35, 45))
    worker = lone.start("worker", "--config", settings)
    judged(worker, 20)
    assert len(read_all(lone.kafka, lone.topic("cases"))) == 2


def test_a_repartition_judges_a_topic_made_anew_from_its_beginning(lone: Watch) -> None:
    write(lone, 0, 30, range(0))
    worker = lone.start("worker", "--config", lone.settings())
    judged(worker, 30)
    assert worker.end() == 0
    make_anew(lone)
    write(lone, 30, 50, range(35, 45))
    lone.partitions = 2
    said = lone.run("state", "repartition", "--config", lone.settings(), "--yes")
    assert f"{lone.topic('telemetry')}[0]: {lone.topic('telemetry')} was deleted and made anew" in said
    assert "judging 50 records that wait" in said
    assert len(read_all(lone.kafka, lone.topic("cases"))) == 2
    assert "nothing found" in lone.run("topics", "check", "--config", lone.settings())
