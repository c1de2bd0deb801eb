"""What Kafka gives back: an account's right to write that goes and comes, on a real Kafka."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its types forget them
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from processor.kafka.producer import Outgoing, SafeProducer
from processor.settings import KafkaSettings
from processor.settings.model import Secret
from tests.support.kafka import ApacheKafka, read_all

pytestmark = [pytest.mark.timeout(90), pytest.mark.needs("java", "maven")]


class Clerk:
    """A topic of one partition, and the right of an account to write there."""

    def __init__(self, node: ApacheKafka, topic: str, **config: str) -> None:
        self.topic = topic
        self.kafka = KafkaSettings(
            bootstrap=node.accounts,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username="clerk",
            sasl_password=Secret("clerk-password"),
        )
        self._admin = AdminClient({"bootstrap.servers": node.bootstrap, "log_level": 0})
        for made in self._admin.create_topics([NewTopic(topic, 1, config=config)]).values():
            made.result()
        self._bind(AclOperation.ALL, AclPermissionType.ALLOW)

    def _bind(self, operation: AclOperation, permission: AclPermissionType) -> None:
        right = AclBinding(
            ResourceType.TOPIC, self.topic, ResourcePatternType.LITERAL, "User:clerk", "*", operation,
            permission,
        )  # fmt: skip
        for future in self._admin.create_acls([right]).values():
            future.result()

    def deny(self) -> None:
        self._bind(AclOperation.WRITE, AclPermissionType.DENY)

    def allow(self) -> None:
        right = AclBindingFilter(
            ResourceType.TOPIC, self.topic, ResourcePatternType.LITERAL, "User:clerk", "*",
            AclOperation.WRITE, AclPermissionType.DENY,
        )  # fmt: skip
        for future in self._admin.delete_acls([right]).values():
            future.result()

    def configure(self, **config: str) -> None:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.topic, incremental_configs=entries)
        for future in self._admin.incremental_alter_configs([resource]).values():
            future.result()


@pytest.fixture
def clerk(apache_node: ApacheKafka, tmp_path: Path) -> Clerk:
    return Clerk(apache_node, f"{tmp_path.name[:60]}.written")


@contextlib.contextmanager
def writing(
    clerk: Clerk, bury: Callable[[Outgoing, str], Outgoing | None] = lambda _record, _why: None
) -> Iterator[SafeProducer]:
    producer = SafeProducer(clerk.kafka, linger=0.005, bury=bury)
    try:
        yield producer
    finally:
        producer.close()


@pytest.mark.parametrize("times", [1, 3])
def test_records_keep_their_order_while_the_right_to_write_goes_and_comes(
    apache_node: ApacheKafka, clerk: Clerk, times: int
) -> None:
    async def story() -> tuple[int, int]:
        posted = done = 0

        def one_done() -> None:
            nonlocal done
            done += 1

        async def post(producer: SafeProducer, seconds: float) -> None:
            nonlocal posted
            for _ in range(round(seconds * 50)):
                for _ in range(5):
                    producer.post(Outgoing(clerk.topic, str(posted).encode(), b"key"), one_done)
                    posted += 1
                await asyncio.sleep(0.02)

        with writing(clerk) as producer:
            await post(producer, 0.5)
            for _ in range(times):
                await asyncio.to_thread(clerk.deny)
                await post(producer, 2.37)
                await asyncio.to_thread(clerk.allow)
                await post(producer, 1.5)
            assert await producer.flush(20)
        return posted, done

    posted, done = asyncio.run(story())
    assert done == posted
    assert [int(record.value or b"") for record in read_all(apache_node, clerk.topic)] == list(range(posted))


def test_a_record_that_was_refused_for_its_size_leaves_the_others_their_order(
    apache_node: ApacheKafka, clerk: Clerk
) -> None:
    buried = []

    async def story() -> None:
        def bury(record: Outgoing, _why: str) -> Outgoing:
            buried.append(record)
            return Outgoing(clerk.topic, b"-1", b"key")

        with writing(clerk, bury) as producer:
            await asyncio.to_thread(clerk.deny)
            for number in range(200):
                value = b"x" * 17_000_000 if number == 100 else str(number).encode()
                producer.post(Outgoing(clerk.topic, value, b"key"), lambda: None)
                await asyncio.sleep(0.005)
            await asyncio.to_thread(clerk.allow)
            assert await producer.flush(20)

    asyncio.run(story())
    found = [int(record.value or b"") for record in read_all(apache_node, clerk.topic)]
    assert [number for number in found if number >= 0] == [n for n in range(200) if n != 100]
    assert len(buried) == found.count(-1) == 1


def test_what_kafka_calls_invalid_for_its_time_is_written_under_a_later_one(
    apache_node: ApacheKafka, clerk: Clerk
) -> None:
    async def story() -> None:
        with writing(clerk) as producer:
            for number in range(50):
                ahead = 4_102_444_800_000 if number < 20 else 0
                producer.post(Outgoing(clerk.topic, str(number).encode(), b"key", None, ahead), lambda: None)
            assert await producer.flush(20)

    asyncio.run(story())
    found = [int(record.value or b"") for record in read_all(apache_node, clerk.topic)]
    assert found == list(range(50))


#: No clock is as exact as that: every record of now is invalid to Kafka.
_INVALID = {"message.timestamp.before.max.ms": "0"}
_VALID = {"message.timestamp.before.max.ms": "9223372036854775807"}


def test_while_kafka_takes_no_letter_either_it_is_the_clock_and_records_wait_in_order(
    apache_node: ApacheKafka, tmp_path: Path
) -> None:
    clerk = Clerk(apache_node, f"{tmp_path.name[:60]}.written", **_INVALID)
    dead = Clerk(apache_node, f"{tmp_path.name[:60]}.dead", **_INVALID)

    async def story() -> None:
        with writing(clerk, lambda record, _why: record._replace(topic=dead.topic)) as producer:
            for number in range(200):
                producer.post(Outgoing(clerk.topic, str(number).encode(), b"key", None, 1), lambda: None)
                await asyncio.sleep(0.03)
            assert not producer.failed.done()
            assert len(producer) == 200
            await asyncio.to_thread(clerk.configure, **_VALID)
            await asyncio.to_thread(dead.configure, **_VALID)
            assert await producer.flush(20)

    asyncio.run(story())
    found = [int(record.value or b"") for record in read_all(apache_node, clerk.topic)]
    # The one whose letter was tried when the clock was set may be that letter.
    assert found in (list(range(200)), list(range(1, 200)))
    assert len(found) + len(read_all(apache_node, dead.topic)) == 200


def test_a_record_that_is_invalid_while_its_letter_is_not_becomes_one(
    apache_node: ApacheKafka, tmp_path: Path
) -> None:
    clerk = Clerk(apache_node, f"{tmp_path.name[:60]}.written", **{"cleanup.policy": "compact"})
    dead = Clerk(apache_node, f"{tmp_path.name[:60]}.dead")

    async def story() -> None:
        with writing(clerk, lambda record, _why: record._replace(topic=dead.topic)) as producer:
            for number in range(100):
                # A compacted topic takes nothing without a key.
                key = None if number % 10 == 0 else str(number).encode()
                producer.post(Outgoing(clerk.topic, str(number).encode(), key), lambda: None)
                await asyncio.sleep(0.002)
            assert await producer.flush(60)

    asyncio.run(story())
    found = [int(record.value or b"") for record in read_all(apache_node, clerk.topic)]
    assert found == [number for number in range(100) if number % 10]
    assert sorted(int(r.value or b"") for r in read_all(apache_node, dead.topic)) == list(range(0, 100, 10))
