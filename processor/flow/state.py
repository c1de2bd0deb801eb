"""What Kafka remembers of partitions: their newest snapshots, and what the input topic still holds.

Read with librdkafka on connections of its own: requests of Faust's consumer queue behind its own long fetch.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processor.errors import StreamError
from processor.flow.snapshot import Snapshot, decode, encode_key
from processor.kafka.client import client_config
from processor.kafka.offsets import read_span
from processor.settings import KafkaSettings, TopicSettings

_TIMEOUT = 60.0


class Known(NamedTuple):
    """Of one partition: its newest snapshot if it has one; first offset kept and next offset of its input."""

    snapshot: Snapshot | None
    first: int
    end: int


def recall(
    kafka: KafkaSettings,
    topics: TopicSettings,
    partitions: Sequence[int],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[int, Known]:
    """What is known of each partition; blocking, as long as reading the state topic takes.

    `progress` hears how many of how many records are read.

    Raises:
        StreamError: a topic cannot be read, or holds what this program does not understand.
    """
    consumer = Consumer(
        client_config(kafka)
        | {
            "group.id": "unused: nothing is committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 16_777_216,
            # An empty end of a partition need not be waited for.
            "fetch.wait.max.ms": 10,
        }
    )
    try:
        spans = {
            number: read_span(consumer, TopicPartition(topics.telemetry, number)) for number in partitions
        }
        values = _read(consumer, topics.state, partitions, progress)
    except KafkaException as error:
        raise StreamError(f"{topics.state} cannot be read: {error.args[0].str()}") from None
    finally:
        consumer.close()
    return {
        number: Known(_snapshot(topics.state, number, values.get(number)), *spans[number])
        for number in partitions
    }


def _snapshot(topic: str, number: int, value: bytes | None) -> Snapshot | None:
    return None if value is None else decode(value, f"{topic}[{number}]")


def _read(
    consumer: Consumer, topic: str, partitions: Sequence[int], progress: Callable[[int, int], None]
) -> dict[int, bytes | None]:
    """The newest value of each partition's key, reading each to its end."""
    spans = {number: read_span(consumer, TopicPartition(topic, number)) for number in partitions}
    total = sum(end - first for first, end in spans.values())
    done = dict.fromkeys(partitions, 0)
    progress(0, total)
    left = set(partitions)
    newest: dict[int, bytes | None] = {}
    deadline = time.monotonic() + _TIMEOUT
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    while left:
        for message in consumer.consume(100, timeout=0.05):
            error = message.error()
            partition = cast("int", message.partition())
            if error is None:
                deadline = time.monotonic() + _TIMEOUT
                # By offsets: compaction leaves holes, which count as read.
                done[partition] = cast("int", message.offset()) + 1 - spans[partition][0]
                if message.key() == encode_key(partition):
                    newest[partition] = message.value()
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its published name
                left.discard(partition)
            elif not error.retriable():
                raise StreamError(f"{topic} cannot be read: {error.str()}")
        progress(min(sum(done.values()), total), total)
        if time.monotonic() > deadline:
            raise StreamError(f"{topic} cannot be read: nothing for {_TIMEOUT:g} s")
    progress(total, total)
    return newest
