"""Reads the state topic: each partition to its end, the newest record of the key."""

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processor.errors import StreamError
from processor.flow.snapshot import Snapshot, decode, encode_key
from processor.kafka.client import client_config
from processor.settings import KafkaSettings

_TIMEOUT = 60.0


def read_snapshots(kafka: KafkaSettings, topic: str, partitions: Iterable[int]) -> dict[int, Snapshot]:
    """The newest snapshot of each partition that has one; blocking, as long as reading the topic takes.

    Raises:
        StreamError: the topic cannot be read, or holds what this program does not understand.
    """
    values = _read(kafka, topic, partitions)
    return {
        partition: decode(value, f"{topic}[{partition}]") for partition, value in values.items() if value is not None
    }


def _read(kafka: KafkaSettings, topic: str, partitions: Iterable[int]) -> dict[int, bytes | None]:
    consumer = Consumer(
        client_config(kafka)
        | {
            "group.id": "unused: nothing is committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 16_777_216,
        }
    )
    left = set(partitions)
    newest: dict[int, bytes | None] = {}
    deadline = time.monotonic() + _TIMEOUT
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in left])
        while left:
            for message in consumer.consume(100, timeout=0.5):
                error = message.error()
                if error is None:
                    deadline = time.monotonic() + _TIMEOUT
                    if message.key() == encode_key(message.partition()):
                        newest[message.partition()] = message.value()
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its published name
                    left.discard(message.partition())
                elif not error.retriable():
                    raise StreamError(f"{topic} cannot be read: {error.str()}")
            if time.monotonic() > deadline:
                raise StreamError(f"{topic} cannot be read: nothing for {_TIMEOUT:g} s")
    except KafkaException as error:
        raise StreamError(f"{topic} cannot be read: {error.args[0].str()}") from None
    finally:
        consumer.close()
    return newest
