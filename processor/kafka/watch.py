"""Whether the telemetry topic is still the one that a running program began with, with its partitions."""

import asyncio

from confluent_kafka import KafkaException

from processor.errors import StreamError
from processor.kafka.admin import Admin, describe_absence
from processor.kafka.producer import SafeProducer
from processor.kafka.state import describe_change, describe_renewal
from processor.settings import TopicSettings

_PAUSE = 1.0
#: Looks in a row that find no topic before it counts as deleted: a broker that starts may not know it yet.
_GONE = 10


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


async def watch_topic(admin: Admin, topic: str, began_with: str | None) -> None:
    """Look every second, for ever, whether a topic is still the one that it was; see `watch_partitions`.

    Raises:
        StreamError: it was deleted, or made anew: nothing more is read of it until the program starts again.
    """
    absent = 0
    while True:
        await asyncio.sleep(_PAUSE)
        try:
            found = await asyncio.to_thread(admin.topic_id, topic)
        except StreamError:
            continue
        absent = absent + 1 if found is None else 0
        if absent == _GONE:
            raise StreamError(f"topic {topic} was deleted: {describe_absence(topic)}")
        if found is not None and found != began_with:
            raise StreamError(f"{describe_renewal(topic)}; start again to judge it")
