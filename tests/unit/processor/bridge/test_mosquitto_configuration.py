"""What in a mosquitto.conf would lose messages."""

from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.stanza import DURABILITY, LIMITS
from processor.bridge.mosquitto import check_configuration, find_file
from processor.errors import ConfigurationError
from processor.settings import MqttSettings

GOOD = {
    "max_queued_messages": "1000000",
    "max_inflight_messages": "2000",
    "upgrade_outgoing_qos": "true",
    "persistence": "true",
    "autosave_interval": "1",
    "persistent_client_expiration": "14d",
    "message_size_limit": "262144",
}
MQTT = MqttSettings(username="bridge")


def write(folder: Path, lines: dict[str, str], name: str = "mosquitto.conf") -> Path:
    file = folder / name
    file.write_text("# a comment\n\n" + "".join(f"{key} {value}\n" for key, value in lines.items()))
    return file


def keys(file: Path, mqtt: MqttSettings = MQTT) -> list[str]:
    return [each.key for each in check_configuration(file, mqtt)]


def test_the_configuration_that_we_ship_loses_nothing(tmp_path: Path) -> None:
    assert keys(write(tmp_path, {key: value for key, value, _ in (*DURABILITY, *LIMITS)})) == []


def test_the_defaults_of_mosquitto_lose_what_each_finding_names(tmp_path: Path) -> None:
    findings = check_configuration(write(tmp_path, {}), MQTT)
    assert {each.key for each in findings} == set(GOOD)
    assert all("found nothing, which is" in str(each) for each in findings)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_queued_messages", "0"), ("max_queued_messages", "5000"), ("max_queued_bytes", "1000000"),
        ("memory_limit", "10000000"), ("max_inflight_messages", "0"), ("max_inflight_messages", "20"),
        ("persistence", "false"), ("autosave_interval", "1800"), ("autosave_interval", "0"),
        ("autosave_on_changes", "true"), ("upgrade_outgoing_qos", "false"), ("max_qos", "0"),
        ("persistent_client_expiration", "1h"), ("retain_available", "false"), ("persistence", "perhaps"),
        ("message_size_limit", "0"), ("message_size_limit", "17000000"),
    ],
)  # fmt: skip
def test_a_setting_that_loses_messages_is_found_with_its_line(tmp_path: Path, key: str, value: str) -> None:
    file = write(tmp_path, {"listener": "1883"} | {k: v for k, v in GOOD.items() if k != key} | {key: value})
    (finding,) = check_configuration(file, MQTT)
    assert (finding.where, finding.key, finding.found) == (str(file), key, value)
    assert finding.line == len(file.read_text().splitlines())
    assert f"{file}:{finding.line}: {key}: found {value}, expected " in str(finding)


def test_what_does_as_well_is_no_finding(tmp_path: Path) -> None:
    also = {
        "upgrade_outgoing_qos": "false",
        "queue_qos0_messages": "true",
        "max_queued_bytes": "0",
        "memory_limit": "0",
        "persistent_client_expiration": "2d",
        "max_qos": "1",
        "autosave_interval": "5",
    }
    assert keys(write(tmp_path, GOOD | also)) == []
    packets = {"message_size_limit": "0", "max_packet_size": "300000"}
    assert keys(write(tmp_path, GOOD | packets)) == []
    assert (
        keys(write(tmp_path, GOOD | {"max_inflight_messages": "100"}), MqttSettings(receive_maximum=100))
        == []
    )


def test_included_files_count_and_the_last_line_wins(tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    write(folder, {"persistence": "false"}, "a.conf")
    second = write(folder, {"autosave_interval": "900"}, "b.conf")
    write(folder, {"max_queued_messages": "1"}, "not-included")
    file = write(tmp_path, GOOD | {"include_dir": str(folder)})
    findings = check_configuration(file, MQTT)
    assert [each.key for each in findings] == ["persistence", "autosave_interval"]
    assert findings[1].where == str(second)


ACL = """
topic read public/#
user somebody
topic readwrite assets/#
user bridge
topic write assetgate/heartbeat
topic read assetgate/heartbeat
topic read assets/+/telemetry/#
topic read assets/+/events/+
topic read assets/#
"""


def test_an_acl_that_hides_a_filter_from_the_bridge_is_found(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text(ACL)
    file = write(tmp_path, GOOD | {"acl_file": str(tmp_path / "acl")})
    (finding,) = check_configuration(file, MQTT)
    assert (finding.key, finding.line) == ("user bridge", 5)
    assert "topic read assetgate/auth/+" in finding.found
    less = ACL.replace("topic read assets/#\n", "").replace("topic write assetgate/heartbeat\n", "")
    (tmp_path / "acl").write_text(less)
    found = [each.found for each in check_configuration(file, MQTT)]
    assert found == [
        "no `topic read assets/+/events/#`", "no `topic read assets/+/status`",
        "no `topic read assetgate/auth/+`", "no `topic write assetgate/heartbeat`",
    ]  # fmt: skip


def test_an_acl_that_grants_the_bridge_by_patterns_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text(
        "user somebody\npattern read assets/#\npattern readwrite assetgate/heartbeat\n"
        "pattern read assetgate/%c/+\n"
    )
    file = write(tmp_path, GOOD | {"acl_file": str(tmp_path / "acl")})
    assert keys(file, MqttSettings(username="bridge", client_id="auth")) == []
    (finding,) = check_configuration(file, MQTT)
    assert "topic read assetgate/auth/+" in finding.found
    (tmp_path / "acl").write_text("pattern read %u/#\npattern write assetgate/heartbeat\n")
    assert keys(file, MqttSettings(username="assets")) == ["user assets"] * 2


def test_an_acl_that_cannot_be_read_is_found_and_a_configuration_that_cannot_is_an_error(
    tmp_path: Path,
) -> None:
    file = write(tmp_path, GOOD | {"acl_file": str(tmp_path / "none")})
    assert keys(file) == ["acl_file"]
    with pytest.raises(ConfigurationError, match="--broker-config"):
        check_configuration(tmp_path / "none.conf", MQTT)


def test_a_broker_that_runs_or_is_installed_names_its_file_or_none_does() -> None:
    found = find_file()
    assert found is None or found.name.endswith(".conf")
