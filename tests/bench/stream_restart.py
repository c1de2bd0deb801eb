"""What a worker's restart costs, from its assignment to its first sample judged, as a process of its own.

Prints CPU seconds of reading and decompressing the state topic, and of the restart, a line a round.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import cast

import cramjam
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from processor.clock import SystemClock
from processor.engine import warm
from processor.flow.judge import Judge
from processor.flow.state import recall
from processor.flow.transport import BatchConsumer
from processor.kafka.client import client_config
from processor.kafka.partitioner import choose_partition
from processor.kafka.producer import SafeProducer
from processor.metrics import WorkerMetrics
from processor.rules.load import load_rules
from processor.rules.ruleset import RuleSet
from processor.run import Run
from processor.settings import ProcessorSettings, load
from tests.bench.stream_rig import events
from tests.support.telemetry import Written


def compact(settings: ProcessorSettings, source: str) -> None:
    """Leave the newest record of each key of `source` in the state topic, as compaction does."""
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap, "message.max.bytes": 16_777_216})
    newest: dict[bytes, tuple[bytes, int]] = {}
    for key, value, partition in _records(settings, source):
        newest[key] = value, partition
    failed: list[str] = []
    for key, (value, partition) in newest.items():
        producer.produce(
            settings.topics.state,
            value,
            key,
            partition,
            on_delivery=lambda error, _: failed.append(error.str()) if error else None,
        )
        if producer.flush(120) or failed:
            raise SystemExit(f"the state was not copied: {failed or 'Kafka did not answer'}")
    if len(newest) < settings.topics.partitions:
        raise SystemExit(
            f"{source} has the memory of {len(newest)} of {settings.topics.partitions} partitions"
        )


def read_raw(settings: ProcessorSettings) -> None:
    """Read the state topic to its end and decompress every value."""
    for _, value, _ in _records(settings, settings.topics.state):
        cramjam.lz4.decompress(value)


def _records(settings: ProcessorSettings, topic: str) -> list[tuple[bytes, bytes, int]]:
    consumer = Consumer(
        client_config(settings.kafka)
        | {"group.id": "unused", "enable.partition.eof": True, "fetch.message.max.bytes": 16_777_216,
           "auto.offset.reset": "earliest", "fetch.wait.max.ms": 10, "enable.auto.commit": False}
    )  # fmt: skip
    left = set(range(settings.topics.partitions))
    consumer.assign([TopicPartition(topic, number, 0) for number in left])
    found = []
    while left:
        for message in consumer.consume(100, timeout=0.05):
            error, partition = message.error(), cast("int", message.partition())
            if error is None:
                found.append((cast("bytes", message.key()), cast("bytes", message.value()), partition))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its published name
                left.discard(partition)
    consumer.close()
    return found


async def restart(settings: ProcessorSettings, rules: RuleSet, assigned: dict[int, int | None]) -> None:
    """Assignment, memory of all partitions, and one sample judged."""
    producer = SafeProducer(settings.kafka, linger=0.001, bury=lambda *_: None)
    judge = Judge(
        settings, rules, producer=producer, consumer=lambda: cast("BatchConsumer", None),
        metrics=WorkerMetrics(), clock=SystemClock(),
    )  # fmt: skip
    try:
        starts = await judge.assign(1, assigned)
        key, value = next(events(1, 1, first=10**9))
        number = choose_partition(key, settings.topics.partitions)
        offset = starts[number]
        received = 1_760_000_000_000
        await judge.judge(number, Run.of([Written(key, value, offset, received, [("t", b"telemetry")])]))
    finally:
        producer.close()


def main() -> None:
    """Arguments: settings file, topic that holds the state, rounds."""
    settings, source, rounds = load(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    rules = load_rules(Path(settings.worker.rules))
    warm(rules)
    compact(settings, source)
    known = recall(settings.kafka, settings.topics, range(settings.topics.partitions))
    assigned = {number: one.snapshot.offset for number, one in known if one.snapshot is not None}
    del known
    for turn in range(rounds + 1):
        began = time.process_time()
        read_raw(settings)
        middle = time.process_time()
        asyncio.run(restart(settings, rules, dict(assigned)))
        if turn:  # the first warms caches
            print(middle - began, time.process_time() - middle)


if __name__ == "__main__":
    main()
