"""Whether the telemetry topic still has the partitions that a running program began with."""

import asyncio

from confluent_kafka import KafkaException

from processor.errors import StreamError
from processor.kafka.producer import SafeProducer
from processor.kafka.state import describe_change
from processor.settings import TopicSettings

_PAUSE = 1.0


async def watch_partitions(producer: SafeProducer, topics: TopicSettings) -> None:
    """Look every second, for ever; while Kafka is away it is not known, and no reason to end.

    Raises:
        StreamError: somebody extended the topic: assets change their partition from now on.
    """
    while True:
        await asyncio.sleep(_PAUSE)
        try:
            found = await asyncio.to_thread(producer.count_partitions, topics.telemetry)
        except KafkaException:
            continue
        if found > topics.partitions:
            raise StreamError(describe_change(topics, topics.partitions, found))
