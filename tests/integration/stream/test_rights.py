"""An account without a right: the command ends, and says which right to grant."""

import time
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

from tests.support.kafka import ApacheKafka, until
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


def ends(watch: Watch, **more: object) -> str:
    """What a worker says that ends by itself."""
    worker = watch.launch("worker", "--config", watch.settings(**more))
    assert worker.process.wait(40) == 1, worker.said
    assert "Traceback" not in worker.said
    return worker.said


def test_a_worker_that_may_not_read_the_group_ends_and_says_so(clerk: Watch) -> None:
    deny(clerk, ResourceType.GROUP, clerk.group, AclOperation.READ)
    assert f"the group {clerk.group} does not take this worker: let the account read the group" in ends(clerk)


def test_a_worker_that_may_not_read_the_telemetry_ends_and_says_so(clerk: Watch) -> None:
    write_a_hot_sample(clerk)
    deny(clerk, ResourceType.TOPIC, clerk.topic("telemetry"), AclOperation.READ)
    assert f"topic {clerk.topic('telemetry')} does not give its records: let the account read" in ends(clerk)


def test_the_figures_show_that_a_worker_may_not_write_case_events(clerk: Watch) -> None:
    deny(clerk, ResourceType.TOPIC, clerk.topic("cases"), AclOperation.WRITE)
    worker = clerk.start("worker", "--config", clerk.settings())
    for _ in range(12):
        write_a_hot_sample(clerk)
        time.sleep(0.2)
    until(
        lambda: worker.metric("processor_worker_lag_records") == 12, 15, "every record that waits is counted"
    )
    assert worker.metric("processor_worker_samples_total") == 0
    assert worker.metric("processor_worker_commit_age_seconds") > 2
    assert worker.metric("processor_worker_lag_seconds") > 2


def test_a_session_timeout_that_stock_brokers_refuse_ends_the_worker_and_says_so(tmp_path: Path) -> None:
    node = ApacheKafka.make(tmp_path)
    file = tmp_path / "server.properties"
    file.write_text(file.read_text().replace("group.min.session.timeout.ms=1000\n", ""))
    node.start()
    watch = Watch(node, tmp_path, partitions=1)
    try:
        (tmp_path / "rules.yaml").write_text(RULES)
        watch.run("topics", "create", "--config", watch.settings())
        said = ends(watch, worker__session_timeout=3)
    finally:
        watch.close()
        node.stop()
    assert "the brokers do not take worker.session_timeout = 3 s" in said
    assert "group.min.session.timeout.ms (6 s unless set)" in said


def test_a_check_of_the_topics_that_may_not_describe_the_group_says_so(clerk: Watch) -> None:
    deny(clerk, ResourceType.GROUP, clerk.group, AclOperation.DESCRIBE)
    said = clerk.run("topics", "check", "--config", clerk.settings(), expect=1)
    assert f"the group {clerk.group} cannot be described (GROUP_AUTHORIZATION_FAILED)" in said
    assert "let the account describe it" in said
