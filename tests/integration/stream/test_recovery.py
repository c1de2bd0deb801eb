"""What a worker says and does when it comes back: to more workers or fewer, to more state, to less input."""

import re

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.integration.stream.test_worker import (
    RULES,
    Feed,
    all_committed,
    on_the_real_kafka,
    same_as_a_quiet_run,
    worker,
)
from tests.support.kafka import committed, length, read_all, until
from tests.support.watch import Program, Watch

pytestmark = [pytest.mark.timeout(110), *on_the_real_kafka]


@pytest.fixture
def judged(watch: Watch) -> Watch:
    (watch.directory / "rules.yaml").write_text(RULES)
    return watch


def test_from_one_worker_to_four_and_back_nothing_is_lost_and_nothing_is_told_otherwise(
    judged: Watch,
) -> None:
    feed = Feed(judged)
    # Four workers start at once on a busy machine: nobody may be taken for dead.
    settings = judged.settings(worker__run_size=50, worker__session_timeout=10)

    def another() -> Program:
        return judged.start("worker", "--config", settings, seconds=60)

    workers = [another()]
    feed.telemetry(1000)
    while len(workers) < 4:
        workers.append(another())
        feed.telemetry(1000)
    until(
        lambda: all(one.metric("processor_worker_partitions") == 1 for one in workers),
        40,
        "one partition each",
    )
    feed.telemetry(1000)
    while len(workers) > 1:
        assert workers.pop().end() == 0
        feed.telemetry(1000)
    until(lambda: workers[0].metric("processor_worker_partitions") == 4, 40, "the last has all")
    same_as_a_quiet_run(judged, feed, 40)
    until(all_committed(judged, feed.sent), 20, "everything committed")
    assert workers[0].end() == 0


def test_records_that_retention_took_before_they_were_judged_are_said_to_be_lost(judged: Watch) -> None:
    feed = Feed(judged)
    first = worker(judged)
    feed.telemetry(400)
    until(all_committed(judged, feed.sent), 20, "everything committed")
    assert first.end() == 0
    topic = judged.topic("telemetry")
    saved = committed(judged.kafka, judged.group, topic, 4)
    feed.telemetry(400)
    client = AdminClient({"bootstrap.servers": judged.kafka.bootstrap, "log_level": 0})
    for future in client.delete_records([TopicPartition(topic, 0, saved[0] + 5)]).values():
        future.result()
    before = length(judged.kafka, judged.topic("dead"))
    again = worker(judged)
    until(all_committed(judged, feed.sent), 20, "the rest is judged and committed")
    assert again.metric("processor_worker_recovery_ratio") == 1
    assert again.metric("processor_worker_lost_records_total") == 5
    assert again.metric("processor_worker_dead_letters_total", reason="retention") == 1
    lost = rf"\[0\]: records {saved[0]} to {saved[0] + 4} were deleted before they were judged"
    assert re.search(lost, again.said)
    (letter,) = read_all(judged.kafka, judged.topic("dead"))[before:]
    assert letter.headers["reason"] == b"retention"
    assert letter.headers["origin"] == f"kafka:{topic}/0/{saved[0]}".encode()
