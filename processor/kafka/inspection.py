"""``processor topics check``: are the topics as the watch needs them, and what has retention taken."""

from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined] # its types forget it

from processor.errors import StreamError
from processor.finding import Finding
from processor.kafka.admin import Admin, Topic, plan
from processor.kafka.client import client_config, make_reader
from processor.kafka.offsets import read_span
from processor.kafka.state import describe_renewal, find_memory
from processor.settings import ProcessorSettings

_TIMEOUT = 15.0
#: Fewer in-sync copies than this make `acks=all` the word of one disk.
_SAFE_COPIES = 2
_ABSENT = "run `processor topics create`; if it is there, let the account describe it"


def inspect(settings: ProcessorSettings) -> tuple[list[Finding], list[str]]:
    """Findings, and a line for each thing that was looked at; changes nothing.

    Raises:
        StreamError: no broker answers, or it refuses to tell.
    """
    admin = Admin(settings.kafka)
    there = admin.partitions()
    wanted = plan(settings.topics)
    findings = [each for topic in wanted for each in _check_partitions(topic, there.get(topic.name))]
    present = [topic for topic in wanted if topic.name in there]
    seen = [f"{len(present)} of {len(wanted)} topics are there"]
    if admin.embedded():
        seen.append("the embedded cluster has no settings of topics: it keeps 5 MiB a partition, in memory")
    else:
        findings += _check_configs(settings, present)
        seen.append("read their settings")
    telemetry = settings.topics.telemetry
    if telemetry in there:
        if not admin.embedded():
            # Who asks for offsets without the right to is only told, much later, that it took too long.
            admin.members(settings.worker.group)
        offsets, judged = _check_offsets(settings, there[telemetry])
        findings += offsets
        seen.append(judged)
    if settings.topics.state in there:
        findings += _check_memory(settings, there[settings.topics.state], admin.topic_id(telemetry))
        seen.append("looked of how many partitions the memory is")
    return findings, seen


def _check_partitions(topic: Topic, found: int | None) -> list[Finding]:
    if found is None:
        return [
            Finding(topic.name, None, "topic", "none", "a topic", _ABSENT),
        ]
    if found != topic.partitions:
        return [
            Finding(
                topic.name,
                None,
                "partitions",
                str(found),
                f"{topic.partitions} (topics.partitions)",
                "assets change their partition and part from their memory: "
                "`processor state repartition --config FILE`",
            )
        ]
    return []


def _check_memory(settings: ProcessorSettings, partitions: int, topic: str | None) -> list[Finding]:
    """Whether the workers' memory is of the number of partitions wanted, and of the topic that there is."""
    state, wanted = settings.topics.state, settings.topics.partitions
    consumer = make_reader(settings.kafka)
    try:
        memory = find_memory(consumer, state, range(partitions))
    finally:
        consumer.close()
    found = max(memory, default=None)
    if found is None:
        return []
    if found == wanted:
        judged = memory[wanted].topic
        if not topic or judged in {"", topic}:
            return []
        telemetry = settings.topics.telemetry
        why = f"{describe_renewal(telemetry)}; start a worker"
        return [Finding(telemetry, None, "topic id", topic, f"{judged}, as the memory says", why)]
    why = "assets have parted from their memory: `processor state repartition --config FILE`"
    return [Finding(state, None, "memory", f"of {found} partitions", f"of {wanted} partitions", why)]


def _check_configs(settings: ProcessorSettings, topics: list[Topic]) -> list[Finding]:
    client = AdminClient(client_config(settings.kafka))
    asked = {topic.name: ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in topics}
    findings: list[Finding] = []
    try:
        answers = client.describe_configs(list(asked.values()), request_timeout=_TIMEOUT) if asked else {}
        metadata: Any = client.list_topics(timeout=_TIMEOUT).topics
        for topic in topics:
            entries: Any = answers[asked[topic.name]].result()
            found = {name: entry.value for name, entry in entries.items()}
            copies = min(len(each.replicas) for each in metadata[topic.name].partitions.values())
            findings += _check_config(topic, found, copies, settings.topics.replication)
    except KafkaException as error:
        raise StreamError(
            f"the topics' settings cannot be read ({error.args[0].str()}): "
            "let the account describe the configuration of topics"
        ) from None
    return findings


def _check_config(topic: Topic, found: Mapping[str, str], copies: int, wanted: int) -> Iterator[Finding]:
    """What in a topic's settings would lose records, or keep the worker from its state."""
    kept, least = int(found.get("retention.ms", "-1")), int(topic.config.get("retention.ms", "0"))
    large = int(topic.config.get("max.message.bytes", "0"))
    policy = topic.config["cleanup.policy"]
    compacted = policy == "compact"
    rows = (
        (
            found.get("cleanup.policy") != policy, "cleanup.policy", policy,
            "without compaction old snapshots pile up, and with deletion the newest may go"
            if compacted
            else "compaction keeps only the newest record of each asset",
        ),
        (
            0 <= kept < least, "retention.ms", f"at least {least}",
            "records are deleted sooner than the settings say, judged or not",
        ),
        (
            not compacted and int(found.get("retention.bytes", "-1")) >= 0, "retention.bytes", "-1",
            "records are deleted by size, whatever their age, judged or not",
        ),
        (
            int(found.get("max.message.bytes", "0")) < large, "max.message.bytes", f"at least {large}",
            "a large snapshot or dead letter is refused",
        ),
        (
            found.get("unclean.leader.election.enable") == "true", "unclean.leader.election.enable", "false",
            "a copy that lags may become the leader: acknowledged records are gone",
        ),
        (
            copies > _SAFE_COPIES and int(found.get("min.insync.replicas", "1")) < _SAFE_COPIES,
            "min.insync.replicas", str(_SAFE_COPIES),
            "one copy's word is enough: what it alone had is lost with it",
        ),
    )  # fmt: skip
    for wrong, key, expected, why in rows:
        if wrong:
            yield Finding(topic.name, None, key, found.get(key, "nothing"), expected, why)
    if copies < wanted:
        why = "fewer disks hold each record than the settings say"
        yield Finding(topic.name, None, "replication", str(copies), f"{wanted} (topics.replication)", why)


def _check_offsets(settings: ProcessorSettings, partitions: int) -> tuple[list[Finding], str]:
    """What of the telemetry was deleted before this group judged it."""
    topic, group = settings.topics.telemetry, settings.worker.group
    consumer = Consumer(client_config(settings.kafka) | {"group.id": group, "enable.auto.commit": False})
    findings, lag, known = [], 0, 0
    try:
        committed = consumer.committed(
            [TopicPartition(topic, n) for n in range(partitions)], timeout=_TIMEOUT
        )
        for one in committed:
            first, end = read_span(consumer, one)
            if one.offset < 0:
                continue
            known += 1
            lag += max(0, end - one.offset)
            if one.offset < first:
                findings.append(
                    Finding(
                        f"{topic}[{one.partition}]", None, f"offset of {group}", str(one.offset),
                        f"at least {first}, the first that is kept",
                        f"{first - one.offset} records were deleted before they were judged: raise "
                        "topics.telemetry_retention and the topic's retention.ms",
                    )
                )  # fmt: skip
            elif one.offset > end:
                findings.append(
                    Finding(
                        f"{topic}[{one.partition}]", None, f"offset of {group}", str(one.offset),
                        f"at most {end}, the end",
                        "the topic lost its end or was made anew: the worker judges all that it holds",
                    )
                )  # fmt: skip
    except KafkaException as error:
        raise StreamError(f"the offsets of {group} cannot be read: {error.args[0].str()}") from None
    finally:
        consumer.close()
    return findings, f"{group} has judged {known} of {partitions} partitions, {lag} records wait"
