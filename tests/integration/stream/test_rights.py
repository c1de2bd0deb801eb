"""An account without a right: the command ends, and says which right to grant."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its types forget them
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.support.kafka import ApacheKafka
from tests.support.telemetry import START, sent
from tests.support.watch import Watch

pytestmark = [pytest.mark.timeout(90), pytest.mark.needs("java", "maven")]

RULES = """
rules:
  - {id: hot, kind: case, severity: high, title: t, select: {metric: a}, detect: {threshold: {above: 80}}}
"""


@pytest.fixture
def clerk(apache_node: ApacheKafka, tmp_path: Path) -> Iterator[Watch]:
    """A watch with one partition whose settings are those of an account."""
    watch = Watch(apache_node, tmp_path, partitions=1)
    (tmp_path / "rules.yaml").write_text(RULES)
    watch.run("topics", "create", "--config", watch.settings())
    watch.defaults = {
        "kafka__bootstrap": apache_node.accounts,
        "kafka__security_protocol": "SASL_PLAINTEXT",
        "kafka__sasl_mechanism": "PLAIN",
        "kafka__sasl_username": "clerk",
        "kafka__sasl_password": "clerk-password",
    }
    yield watch
    watch.close()


def deny(watch: Watch, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """The account may do everything but this with it."""
    client = AdminClient({"bootstrap.servers": watch.kafka.bootstrap, "log_level": 0})
    rights = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, "User:clerk", "*", each, permission)
        for each, permission in (
            (AclOperation.ALL, AclPermissionType.ALLOW),
            (operation, AclPermissionType.DENY),
        )
    ]
    for future in client.create_acls(rights).values():
        future.result()


def write_a_hot_sample(watch: Watch) -> None:
    producer = Producer({"bootstrap.servers": watch.kafka.bootstrap, "log_level": 0})
    asset = "02iAB0000000000AAA"
    record = sent(asset, START - 200_000_000_000, a=95)
    producer.produce(watch.topic("telemetry"), record.value, record.key, headers=[*record.headers])
    assert producer.flush(20) == 0


def repartition(watch: Watch) -> str:
    watch.partitions = 2
    return watch.run("state", "repartition", "--config", watch.settings(), "--from", "1", "--yes", expect=1)


def test_a_repartition_that_may_not_write_case_events_says_so_and_ends(clerk: Watch) -> None:
    write_a_hot_sample(clerk)
    deny(clerk, ResourceType.TOPIC, clerk.topic("cases"), AclOperation.WRITE)
    said = repartition(clerk)
    assert f"{clerk.topic('cases')} does not take records (Broker: Topic authorization failed)" in said
    assert "let the account write it" in said
    assert "Traceback" not in said


def test_a_repartition_that_may_not_commit_for_the_group_says_so(clerk: Watch) -> None:
    write_a_hot_sample(clerk)
    deny(clerk, ResourceType.GROUP, clerk.group, AclOperation.READ)
    said = repartition(clerk)
    assert f"let the account read the group {clerk.group}" in said


def test_a_check_of_the_topics_that_may_not_describe_the_group_says_so(clerk: Watch) -> None:
    deny(clerk, ResourceType.GROUP, clerk.group, AclOperation.DESCRIBE)
    said = clerk.run("topics", "check", "--config", clerk.settings(), expect=1)
    assert f"the group {clerk.group} cannot be described (GROUP_AUTHORIZATION_FAILED)" in said
    assert "let the account describe it" in said
