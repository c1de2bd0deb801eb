"""What there is to do for another number of partitions, and whether it can be done; changes nothing."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from processor.errors import StreamError
from processor.flow.state import Known, know, read_spans
from processor.kafka.admin import Admin, describe_absence, plan
from processor.kafka.client import client_config, make_reader
from processor.kafka.state import Layouts, Memo, read_state
from processor.settings import ProcessorSettings, TopicSettings

_TIMEOUT = 60.0
_PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    Attributes:
        former: the number of partitions that the memory is of.
        wanted: the number that there shall be.
        short: topics that have fewer partitions than wanted, and how many.
        known: of each partition of the telemetry that there is: its snapshot, and what it holds.
        starts: of each of them the first record that is not judged.
        remembers: whether there is any memory.
        topic: the id of the telemetry topic, "" when that is not known.
    """

    former: int
    wanted: int
    short: Mapping[str, int]
    known: Mapping[int, Known]
    starts: Mapping[int, int]
    remembers: bool
    topic: str = ""

    @property
    def waiting(self) -> int:
        """Records that are not judged."""
        return sum(max(0, one.end - max(self.starts[n], one.first)) for n, one in self.known.items())

    @property
    def done(self) -> bool:
        """Whether there is nothing to do."""
        return not self.short and self.former == self.wanted and not self.waiting


def survey(settings: ProcessorSettings, former: int | None) -> Survey:
    """Look at topics, group and memory; changes nothing.

    Args:
        settings: `topics.partitions` is the number wanted.
        former: what the number was; needed only where no memory tells it.

    Raises:
        StreamError: it cannot be done as things stand.
    """
    topics, wanted = settings.topics, settings.topics.partitions
    admin = Admin(settings.kafka)
    there = admin.partitions()
    _check_topics(admin, topics, there)
    _await_empty(admin, settings)
    topic = admin.topic_id(topics.telemetry) or ""
    consumer = make_reader(settings.kafka)
    try:
        layouts = read_state(consumer, topics.state, range(there[topics.state]))
        spans = read_spans(consumer, topics.telemetry, range(there[topics.telemetry]))
    finally:
        consumer.close()
    found = max((max(each) for each in layouts.values() if each), default=None)
    known = {
        number: know(topics.state, number, _memo(layouts, number, found), spans.get(number, (0, 0)), topic)
        for number in range(max(len(spans), found or 0))
    }
    committed = _committed(settings, known)
    return Survey(
        former=_former(topics, spans, found, former),
        wanted=wanted,
        short={one.name: there[one.name] for one in plan(topics) if there[one.name] < wanted},
        known=known,
        starts={number: one.start(committed[number]) for number, one in known.items()},
        remembers=found is not None,
        topic=topic,
    )


def _check_topics(admin: Admin, topics: TopicSettings, there: Mapping[str, int]) -> None:
    if admin.embedded():
        raise StreamError("the embedded cluster keeps its number of partitions: start it with another one")
    for topic in plan(topics):
        if topic.name not in there:
            raise StreamError(describe_absence(topic.name))
        if there[topic.name] > topic.partitions:
            raise StreamError(
                f"topic {topic.name} has {there[topic.name]} partitions, topics.partitions says "
                f"{topic.partitions}: Kafka takes none away; set topics.partitions = {there[topic.name]}"
            )


def _await_empty(admin: Admin, settings: ProcessorSettings) -> None:
    """Wait until a killed worker's session is over; refuse when somebody lives."""
    worker = settings.worker
    deadline = time.monotonic() + worker.session_timeout + 2
    while members := admin.members(worker.group):
        if time.monotonic() > deadline:
            raise StreamError(
                f"{len(members)} workers of {worker.group} are running ({', '.join(members)}): stop them, "
                "and what starts them again"
            )
        time.sleep(_PAUSE)


def _former(
    topics: TopicSettings, spans: Mapping[int, tuple[int, int]], found: int | None, told: int | None
) -> int:
    """The number of partitions that the memory is of."""
    if found is not None and told not in {None, found}:
        raise StreamError(f"--from says {told}, the state in {topics.state} is of {found} partitions")
    if told is not None and told > len(spans):
        raise StreamError(
            f"--from says {told}, {topics.telemetry} has {len(spans)} partitions, and never more"
        )
    empty = not any(end for _, end in spans.values())
    former = found or told or (topics.partitions if empty else None)
    if former is None:
        raise StreamError(
            f"{topics.state} holds no memory that tells how many partitions there were: say --from NUMBER"
        )
    if former > topics.partitions:
        raise StreamError(
            f"the state in {topics.state} is of {former} partitions, topics.partitions says "
            f"{topics.partitions}: set topics.partitions = {former} or more"
        )
    return former


def _memo(layouts: Mapping[int, Layouts], number: int, former: int | None) -> Memo | None:
    return None if former is None else layouts.get(number, {}).get(former)


def make_member(settings: ProcessorSettings) -> Consumer:
    """A client that reads and writes the group's offsets without joining it."""
    return Consumer(
        client_config(settings.kafka) | {"group.id": settings.worker.group, "enable.auto.commit": False}
    )


def _committed(settings: ProcessorSettings, partitions: Iterable[int]) -> dict[int, int | None]:
    topic, consumer = settings.topics.telemetry, make_member(settings)
    try:
        asked = [TopicPartition(topic, number) for number in partitions]
        found = consumer.committed(asked, timeout=_TIMEOUT)
    except KafkaException as error:
        raise StreamError(
            f"the offsets of {settings.worker.group} cannot be read: {error.args[0].str()}"
        ) from None
    finally:
        consumer.close()
    return {one.partition: one.offset if one.offset >= 0 else None for one in found}
