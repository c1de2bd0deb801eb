"""``processor bridge --check`` against a real Mosquitto, and no Kafka at all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kafka import Kafka
from tests.support.watch import PlainBroker, Watch, device

pytestmark = [pytest.mark.needs("mosquitto"), pytest.mark.timeout(60)]


def check(broker: PlainBroker, tmp_path: Path, expect: int, *words: str, **more: object) -> str:
    watch = Watch(Kafka("127.0.0.1:1", real=False), tmp_path, mqtt_port=broker.port)
    config = watch.settings(**more)
    file = str(broker.directory / "mosquitto.conf")
    return watch.run("bridge", "--check", "--config", config, "--broker-config", file, *words, expect=expect)


def test_what_would_lose_messages_is_said_with_line_and_remedy_and_the_exit_code(
    plain_broker: PlainBroker, tmp_path: Path
) -> None:
    said = check(plain_broker, tmp_path, 1)
    file = plain_broker.directory / "mosquitto.conf"
    line = file.read_text().splitlines().index("max_queued_messages 0") + 1
    assert f"{file}:{line}: max_queued_messages: found 0, expected 1000000" in said
    assert "persistent_client_expiration: found nothing, which is never" in said
    assert "a heartbeat came back" in said
    assert "autosave_interval" not in said


def test_the_probe_leaves_nothing_in_the_broker_and_the_running_bridge_alone(
    plain_broker: PlainBroker, embedded: Kafka, tmp_path: Path
) -> None:
    watch = Watch(embedded, tmp_path, mqtt_port=plain_broker.port)
    config = watch.settings()
    watch.run("topics", "create", "--config", config)
    try:
        bridge = watch.start("bridge", "--config", config)
        # Named: other brokers may run on this machine.
        file = plain_broker.directory / "mosquitto.conf"
        watch.run("bridge", "--check", "--config", config, "--broker-config", file, expect=1)
        with device(plain_broker.port) as sender:
            for number in range(50):
                sender.publish(f"assets/{'a' * 18}/telemetry", json.dumps({"seq": number}).encode())
            sender.settle()
        assert bridge.process.poll() is None
        assert bridge.metric("processor_bridge_connects_total") == 1
        assert bridge.metric("processor_bridge_dead_letters_total") == 0
        assert bridge.end() == 0
    finally:
        watch.close()
    plain_broker.stop()  # only then is all of its log in the file
    log = (plain_broker.directory / "log").read_text()
    assert f"Client {watch.prefix}-bridge-check disconnected." in log


def test_a_broker_that_is_not_there_or_knows_another_password_is_said_in_words(
    plain_broker: PlainBroker, tmp_path: Path
) -> None:
    said = check(plain_broker, tmp_path, 1, mqtt__password="wrong")
    assert "the broker refuses the bridge" in said
    assert "wrong" not in said
    assert "persistent_client_expiration: found nothing, which is never" in said
    plain_broker.stop()
    said = check(plain_broker, tmp_path, 1)
    assert "does not answer" in said
    assert "persistent_client_expiration: found nothing, which is never" in said


def test_a_broker_of_3_1_1_is_asked_in_its_own_words(plain_broker: PlainBroker, tmp_path: Path) -> None:
    said = check(plain_broker, tmp_path, 1, mqtt__source="aiomqtt", mqtt__version="3.1.1")
    assert "a heartbeat came back" in said


def test_a_broker_config_without_check_is_a_mistake() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "processor", "bridge", "--broker-config", "x"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "goes with --check" in done.stderr


@pytest.mark.parametrize(
    ("acl", "expected"),
    [
        (
            "user bridge\ntopic read assets/#\ntopic read assetgate/#\n",
            "heartbeat on assetgate/heartbeat: found",
        ),
        (
            "user bridge\ntopic write assetgate/heartbeat\ntopic read assets/#\n",
            "no `topic read assetgate/auth/+`",
        ),
    ],
)
def test_an_acl_in_the_bridges_way_is_seen_in_the_file_and_on_the_wire(
    plain_broker: PlainBroker, tmp_path: Path, acl: str, expected: str
) -> None:
    plain_broker.stop()
    (plain_broker.directory / "acl").write_text(f"user bridge\n{acl}\n")
    plain_broker.more = f"acl_file {plain_broker.directory}/acl\n"
    plain_broker.start()
    said = check(plain_broker, tmp_path, 1, mqtt__connect_timeout=1)
    assert expected in said
    assert "heartbeat on assetgate/heartbeat: found" in said
