"""What Kafka remembers of partitions: their newest snapshots, and what the input topic still holds."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from processor.errors import StreamError
from processor.flow.snapshot import Snapshot, decode
from processor.kafka.admin import Admin
from processor.kafka.client import make_reader
from processor.kafka.offsets import read_span
from processor.kafka.state import Memo, describe_change, find_layout, read_state
from processor.settings import KafkaSettings, TopicSettings


class Known(NamedTuple):
    """Of one partition: its newest snapshot if it has one; first offset kept and next offset of its input.

    `topic` is the id of the input topic, and `judged` that of the one which the snapshot has judged; "" where
    it is not known.
    """

    snapshot: Snapshot | None
    first: int
    end: int
    topic: str = ""
    judged: str = ""

    @property
    def renewed(self) -> bool:
        """Whether the input topic was deleted and made anew since: the snapshot's offset says nothing."""
        return bool(self.snapshot and self.topic and self.judged) and self.topic != self.judged

    def start(self, committed: int | None) -> int:
        """The first record that is not judged: by the snapshot, not by what the group has committed."""
        if self.snapshot is not None:
            return self.first if self.renewed else self.snapshot.offset
        return self.first if committed is None else committed


def recall(
    kafka: KafkaSettings,
    topics: TopicSettings,
    partitions: Sequence[int],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Iterator[tuple[int, Known]]:
    """What is known of each partition; blocking, as long as reading the state topic takes.

    Decompressed is each when it is its turn: of all at once, a restart would hold several times their size.
    `progress` hears how many of how many records are read.

    Raises:
        StreamError: a topic cannot be read, holds what this program does not understand, or remembers
            another number of partitions.
    """
    topic = Admin(kafka).topic_id(topics.telemetry) or ""
    consumer = make_reader(kafka)
    try:
        spans = read_spans(consumer, topics.telemetry, partitions)
        layouts = read_state(consumer, topics.state, partitions, progress)
        _check_layout(consumer, topics, {number: set(found) for number, found in layouts.items()})
    finally:
        consumer.close()
    return (
        (
            number,
            know(topics.state, number, layouts.pop(number).get(topics.partitions), spans[number], topic),
        )
        for number in partitions
    )


def read_spans(consumer: Consumer, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
    """First offset kept and next offset of each partition.

    Raises:
        StreamError: the topic cannot be read.
    """
    try:
        return {number: read_span(consumer, TopicPartition(topic, number)) for number in partitions}
    except KafkaException as error:
        raise StreamError(f"{topic} cannot be read: {error.args[0].str()}") from None


def know(state: str, number: int, memo: Memo | None, span: tuple[int, int], topic: str) -> Known:
    """What is known of a partition by its record in the topic `state`, None when there is none.

    Raises:
        StreamError: the snapshot cannot be read.
    """
    if memo is None:
        return Known(None, *span, topic)
    return Known(decode(memo.value, f"{state}[{number}]"), *span, topic, memo.topic)


def _check_layout(consumer: Consumer, topics: TopicSettings, layouts: dict[int, set[int]]) -> None:
    """Refuse to begin without a memory that lies under another number of partitions."""
    without = [found for found in layouts.values() if topics.partitions not in found]
    if not without:
        return
    layout = max((max(found) for found in without if found), default=None)
    if layout is None and all(not found for found in layouts.values()):
        # A new partition has no memory: whether all are new is told by the others.
        others = (number for number in range(topics.partitions) if number not in layouts)
        layout = find_layout(consumer, topics.state, others)
    if layout not in {None, topics.partitions}:
        raise StreamError(describe_change(topics, layout, topics.partitions))
