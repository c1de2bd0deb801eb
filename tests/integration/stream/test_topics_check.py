import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its types forget two of them
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from tests.support.kafka import Kafka, until
from tests.support.watch import Watch

pytestmark = pytest.mark.timeout(60)


def check(watch: Watch, expect: int, **more: object) -> str:
    return watch.run("topics", "check", "--config", watch.settings(**more), expect=expect)


def alter(kafka: Kafka, topic: str, **settings: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    client = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    for future in client.incremental_alter_configs([resource]).values():
        future.result()


def commit(watch: Watch, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": watch.kafka.bootstrap, "group.id": watch.group, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(watch.topic("telemetry"), 0, offset)], asynchronous=False)
    consumer.close()


def test_topics_as_they_were_made_have_nothing_to_find(watch: Watch) -> None:
    said = check(watch, 0)
    assert "9 of 9 topics are there" in said
    assert "nothing found that would lose records" in said


def test_a_missing_topic_and_another_number_of_partitions_are_found(watch: Watch) -> None:
    said = check(watch, 1, topics__cases=f"{watch.prefix}.none", topics__partitions=5)
    assert f"{watch.prefix}.none: topic: found none, expected a topic: run `processor topics create`" in said
    assert f"{watch.topic('telemetry')}: partitions: found 4, expected 5 (topics.partitions)" in said


def test_an_offset_beyond_the_topics_end_is_found(watch: Watch) -> None:
    commit(watch, 7)
    said = check(watch, 1)
    assert (
        f"{watch.topic('telemetry')}[0]: offset of {watch.group}: found 7, expected at most 0, the end"
        in said
    )


@pytest.mark.needs("java", "maven")
def test_settings_that_lose_records_and_records_that_retention_took_are_found(
    apache_node: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> None:
    watch = Watch(apache_node, tmp_path_factory.mktemp("watch"))
    watch.run("topics", "create", "--config", watch.settings())
    telemetry, state = watch.topic("telemetry"), watch.topic("state")
    producer = Producer({"bootstrap.servers": apache_node.bootstrap, "log_level": 0})
    for _ in range(5):
        producer.produce(telemetry, b"{}", b"a", 0)
    assert producer.flush(20) == 0
    commit(watch, 1)
    client = AdminClient({"bootstrap.servers": apache_node.bootstrap, "log_level": 0})
    for future in client.delete_records([TopicPartition(telemetry, 0, 4)]).values():
        future.result()
    alter(apache_node, telemetry, cleanup_policy="compact", retention_ms="60000", retention_bytes="1000")
    alter(apache_node, state, cleanup_policy="compact,delete", max_message_bytes="1000")

    def said() -> str:
        return check(watch, 1, topics__replication=2)

    until(lambda: "retention.bytes" in said(), 20, "the broker tells its new settings")
    found = said()
    for line in (
        f"{telemetry}: cleanup.policy: found compact, expected delete",
        f"{telemetry}: retention.ms: found 60000, expected at least 604800000",
        f"{telemetry}: retention.bytes: found 1000, expected -1",
        f"{telemetry}: replication: found 1, expected 2 (topics.replication)",
        f"{state}: cleanup.policy: found compact,delete, expected compact",
        f"{state}: max.message.bytes: found 1000, expected at least 16777216",
        f"{telemetry}[0]: offset of {watch.group}: found 1, expected at least 4, the first that is kept",
        "3 records were deleted before they were judged",
    ):
        assert line in found, found
