"""The topics: which there are, how each is kept, and making them so."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # its types forget it
from confluent_kafka.cimpl import NewPartitions, NewTopic

from processor.errors import StreamError
from processor.kafka.client import LARGE_RECORD, client_config
from processor.settings import KafkaSettings, TopicSettings

_LOG = logging.getLogger(__name__)
_TIMEOUT = 15.0
#: Seconds of one try to reach a broker that need not be there yet; and tries between two complaints.
_PATIENCE, _QUIET = 0.5, 60
_NO_RIGHT = KafkaError.GROUP_AUTHORIZATION_FAILED
_PAUSE = 0.1
#: Nobody knows of the group yet: the broker has just started, or makes its own topic at this question.
_NO_COORDINATOR = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one topic: `made`, `there`, or (embedded cluster) `touched`."""

    topic: Topic
    what: str


def plan(topics: TopicSettings) -> list[Topic]:
    """Every topic of the watch; partitions are equal so that an asset's records meet in one number."""
    kept = {"cleanup.policy": "delete", "retention.ms": str(topics.telemetry_retention * 1000)}
    long = {"cleanup.policy": "delete", "retention.ms": str(topics.dead_retention * 1000)}
    compacted = {
        "cleanup.policy": "compact",
        # Only closed segments are compacted, and recovery reads what is not: keep them small.
        "segment.bytes": "16777216",
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.1",
    }
    large = {"max.message.bytes": str(LARGE_RECORD)}
    configs = {
        topics.telemetry: kept,
        topics.auth: kept,
        topics.tokens: long,
        topics.state: compacted | large,
        topics.cases: kept,
        topics.shadow: kept,
        topics.dead: long | large,
        topics.rules: compacted,
        topics.assets: compacted,
    }
    return [Topic(name, topics.partitions, config) for name, config in configs.items()]


def describe_absence(topic: str) -> str:
    """What to do about a topic that Kafka does not name; one that it may not tell of looks the same."""
    remedy = "run `processor topics create`; if it is there, let the account describe it"
    return f"topic {topic} is missing: {remedy}"


class Admin:
    """Asks and changes the cluster; blocking calls, seconds at most.

    Raises:
        StreamError: librdkafka refuses the settings.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        try:
            self._client = AdminClient(client_config(kafka))
        except KafkaException as error:
            # librdkafka reads its files and checks its words here, for every client made after this one.
            raise StreamError(f"the settings in [kafka] do not fit ({error.args[0].str()})") from None

    def wait(self) -> None:
        """Return when a broker answers; says at once, and again each half minute, that none does."""
        tries = 0
        while True:
            try:
                self._client.list_topics(timeout=_PATIENCE)
            except KafkaException as error:
                if tries % _QUIET == 0:
                    _LOG.warning(
                        "Kafka at %s does not answer (%s): trying on; start it, or correct kafka.bootstrap",
                        self._kafka.bootstrap,
                        error.args[0].str(),
                    )
                tries += 1
            else:
                if tries:
                    _LOG.info("Kafka at %s answers", self._kafka.bootstrap)
                return

    def partitions(self, topic: str | None = None) -> dict[str, int]:
        """Topics → partitions, of one or of all; a topic that is not there is left out.

        Raises:
            StreamError: no broker answers.
        """
        metadata = self._metadata(topic)
        return {name: len(found.partitions) for name, found in metadata.topics.items() if found.error is None}

    def create(self, topics: TopicSettings) -> list[Outcome]:
        """Make what is missing; leave what is there as it is.

        Raises:
            StreamError: a topic has another number of partitions than asked for, or cannot be made.
        """
        wanted = plan(topics)
        there = self.partitions()
        for topic in wanted:
            self._check(topic, there.get(topic.name))
        missing = [topic for topic in wanted if topic.name not in there]
        embedded = self.embedded()
        if embedded:
            for topic in missing:
                # It has no CreateTopics, and makes a topic when its metadata is asked for.
                self._check(topic, self.partitions(topic.name).get(topic.name))
        elif missing:
            self._make(missing, topics.replication)
        made = "touched" if embedded else "made"
        return [Outcome(topic, made if topic in missing else "there") for topic in wanted]

    def embedded(self) -> bool:
        """Whether this is the cluster inside librdkafka: its cluster id says so."""
        return bool((self._metadata(None).cluster_id or "").startswith("mockCluster"))

    def topic_id(self, topic: str) -> str | None:
        """What Kafka itself calls a topic: one that is deleted and made anew has another id.

        Returns:
            "" of the embedded cluster, which has no ids; None when the topic is not there.

        Raises:
            StreamError: no broker answers.
        """
        if self.embedded():
            return ""
        (future,) = self._client.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT).values()
        try:
            found: Any = future.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise StreamError(f"topic {topic} cannot be described: {error.args[0].str()}") from None
        return str(found.topic_id)

    def ends(self, topic: str, partitions: int) -> dict[int, int]:
        """The next offset to be written of each partition that tells it.

        Raises:
            StreamError: no broker answers.
        """
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call] # as above
        asked = {TopicPartition(topic, number): latest for number in range(partitions)}
        found: dict[int, int] = {}
        try:
            for one, future in self._client.list_offsets(asked, request_timeout=_TIMEOUT).items():
                found[one.partition] = future.result().offset
        except KafkaException as error:
            raise StreamError(f"the end of {topic} cannot be read: {error.args[0].str()}") from None
        return found

    def extend(self, counts: Mapping[str, int]) -> None:
        """Raise topics' numbers of partitions, in this order; one that has as many already stays as it is.

        Raises:
            StreamError: a topic cannot be extended.
        """
        for name, count in counts.items():
            (future,) = self._client.create_partitions(
                [NewPartitions(name, count)], operation_timeout=_TIMEOUT, request_timeout=_TIMEOUT
            ).values()
            try:
                future.result()
            except KafkaException as error:
                if self.partitions(name).get(name) != count:
                    raise StreamError(
                        f"topic {name} cannot be extended to {count} partitions: {error.args[0].str()}"
                    ) from None
        self._await_leaders(dict(counts), "extended")

    def members(self, group: str) -> list[str]:
        """Who is in a consumer group, each as ``client id (host)``.

        Raises:
            StreamError: the broker does not tell.
        """
        deadline = time.monotonic() + _TIMEOUT
        while True:
            (future,) = self._client.describe_consumer_groups([group], request_timeout=_TIMEOUT).values()
            try:
                found: Any = future.result().members
                break
            except KafkaException as error:
                code, name = error.args[0].code(), error.args[0].name()
                if code == KafkaError.GROUP_ID_NOT_FOUND:
                    return []
                if code not in _NO_COORDINATOR or time.monotonic() > deadline:
                    remedy = "let the account describe it" if code == _NO_RIGHT else "run it again"
                    raise StreamError(f"the group {group} cannot be described ({name}): {remedy}") from None
            time.sleep(_PAUSE)
        return sorted(f"{one.group_instance_id or one.client_id} ({one.host})" for one in found)

    def holder(self, group: str, instance_id: str) -> tuple[str, str] | None:
        """Member id and host of who has a fixed name in a group; None when nobody has, or it is not told."""
        (future,) = self._client.describe_consumer_groups([group], request_timeout=_TIMEOUT).values()
        try:
            members: Any = future.result().members
        except KafkaException:
            return None
        found = (one for one in members if one.group_instance_id == instance_id)
        return next(((one.member_id, one.host) for one in found), None)

    def require(self, topics: TopicSettings) -> int:
        """The one number of partitions that the watch's topics have.

        Raises:
            StreamError: a topic is missing, or the numbers differ.
        """
        there = self.partitions()
        for topic in plan(topics):
            if topic.name not in there:
                raise StreamError(describe_absence(topic.name))
            self._check(topic, there[topic.name])
        return topics.partitions

    def _check(self, topic: Topic, found: int | None) -> None:
        if found is not None and found != topic.partitions:
            extended = (
                f"set topics.partitions = {found}, or, to extend it,"
                if found < topic.partitions
                else f"set topics.partitions = {found}, and, if it was extended,"
            )
            raise StreamError(
                f"topic {topic.name} has {found} partitions, topics.partitions says {topic.partitions}: "
                f"{extended} stop the bridges and the workers and run `processor state repartition "
                "--config FILE`: assets change their partition and must not part from their memory"
            )

    def _metadata(self, topic: str | None) -> Any:  # noqa: ANN401 - confluent_kafka ships no types
        try:
            return self._client.list_topics(topic, timeout=_TIMEOUT)
        except KafkaException as error:
            raise StreamError(
                f"Kafka at {self._kafka.bootstrap} does not answer ({error.args[0].str()}): "
                "start it, or correct kafka.bootstrap"
            ) from None

    def _make(self, missing: list[Topic], replication: int) -> None:
        """Make topics, and wait until each partition has its leader."""
        futures: dict[str, Any] = self._client.create_topics(
            [
                NewTopic(t.name, num_partitions=t.partitions, replication_factor=replication, config=t.config)
                for t in missing
            ],
            operation_timeout=_TIMEOUT,
            request_timeout=_TIMEOUT,
        )
        for name, future in futures.items():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise StreamError(f"topic {name} cannot be made: {error.args[0].str()}") from None
        self._await_leaders({topic.name: topic.partitions for topic in missing}, "made")

    def _await_leaders(self, wanted: dict[str, int], what: str) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while not self._led(wanted):
            if time.monotonic() > deadline:
                raise StreamError(
                    f"topics were {what}, but have no leaders after {_TIMEOUT:g} s: see the broker's log"
                )
            time.sleep(0.05)

    def _led(self, wanted: dict[str, int]) -> bool:
        found = self._metadata(None).topics
        return all(
            name in found
            and len(found[name].partitions) == count
            and all(partition.leader >= 0 for partition in found[name].partitions.values())
            for name, count in wanted.items()
        )
