"""What Kafka remembers of partitions: their newest snapshots, and what the input topic still holds.

Read with librdkafka on connections of its own: requests of Faust's consumer queue behind its own long fetch.
"""

import time
from collections.abc import Sequence
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


def recall(kafka: KafkaSettings, topics: TopicSettings, partitions: Sequence[int]) -> dict[int, Known]:
    """What is known of each partition; blocking, as long as reading the state topic takes.

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
        values = _read(consumer, topics.state, partitions)
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


def _read(consumer: Consumer, topic: str, partitions: Sequence[int]) -> dict[int, bytes | None]:
    """The newest value of each partition's key, reading each to its end."""
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
                if message.key() == encode_key(partition):
                    newest[partition] = message.value()
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its published name
                left.discard(partition)
            elif not error.retriable():
                raise StreamError(f"{topic} cannot be read: {error.str()}")
        if time.monotonic() > deadline:
            raise StreamError(f"{topic} cannot be read: nothing for {_TIMEOUT:g} s")
    return newest
