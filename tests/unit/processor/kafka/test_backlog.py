"""Records of several partitions, in the order in which they were received."""

from collections.abc import Iterator, Mapping, Sequence

import pytest
from confluent_kafka import Producer

from processor.kafka.backlog import Waiting, read_merged
from processor.kafka.client import make_reader
from processor.settings.model import KafkaSettings
from tests.support.kafka import Kafka, start_embedded

pytestmark = pytest.mark.timeout(60)
NOW = 1_760_000_000_000


@pytest.fixture
def three() -> Iterator[Kafka]:
    process, kafka = start_embedded(3, ["telemetry"])
    yield kafka
    process.terminate()
    process.communicate(timeout=10)


def write(kafka: Kafka, times: Mapping[int, Sequence[int]]) -> None:
    """Records of each partition, received at these times; each holds its own place."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0, "acks": "all"})
    for partition, received in times.items():
        for number, t in enumerate(received):
            value = f"{partition}/{number}".encode()
            producer.produce("telemetry", value, b"k", partition, timestamp=NOW + t, headers=[("t", b"x")])
    assert producer.flush(30) == 0


def read(kafka: Kafka, spans: Mapping[int, tuple[int, int]]) -> list[Waiting]:
    consumer = make_reader(KafkaSettings(bootstrap=kafka.bootstrap))
    try:
        return list(read_merged(consumer, "telemetry", spans))
    finally:
        consumer.close()


def test_they_come_by_time_of_receipt_and_within_a_partition_by_offset(three: Kafka) -> None:
    # In partition 1 the clock was set back: what follows comes right after.
    write(three, {0: [0, 10, 20, 30], 1: [5, 25, 1, 2, 40], 2: []})
    found = read(three, {0: (0, 4), 1: (0, 5), 2: (0, 0)})
    assert [one.value for one in found] == [
        b"0/0",
        b"1/0",
        b"0/1",
        b"0/2",
        b"1/1",
        b"1/2",
        b"1/3",
        b"0/3",
        b"1/4",
    ]
    first = found[0]
    assert (first.key, first.offset, first.timestamp, first.partition) == (b"k", 0, NOW, 0)
    assert list(first.headers) == [("t", b"x")]


def test_only_what_lies_in_the_spans_is_read(three: Kafka) -> None:
    write(three, {0: range(10), 1: range(10)})
    assert [one.value for one in read(three, {0: (7, 9), 1: (10, 10)})] == [b"0/7", b"0/8"]


def test_a_partition_that_is_far_ahead_waits_for_the_others_and_loses_nothing(three: Kafka) -> None:
    many = 30_000
    write(three, {0: range(many, 2 * many), 1: range(many), 2: range(0, 2 * many, 2)})
    found = read(three, dict.fromkeys(range(3), (0, many)))
    assert [one.timestamp for one in found] == sorted(one.timestamp for one in found)
    for number in range(3):
        assert [one.offset for one in found if one.partition == number] == list(range(many))
