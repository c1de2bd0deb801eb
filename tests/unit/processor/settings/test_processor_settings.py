import json
import re
from pathlib import Path

import pytest

from processor.errors import ConfigurationError
from processor.settings import ProcessorSettings, Secret, SettingsRefused, load
from processor.settings.reference import render

_ROOT = Path(__file__).parents[4]


def written(directory: Path, text: str) -> Path:
    file = directory / "processor.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[mqtt]\nport = "x"\n', ":2: mqtt.port: found 'x', expected int"),
        ('[mqtt]\nhost = "a"\nport = 0\n', ":3: mqtt.port: found 0, expected int >= 1"),
        ("[mqtt]\nprot = 3\n", ":2: mqtt.prot: found an unknown key, expected one of host, port"),
        ("[nope]\na = 1\n", ":1: nope: found an unknown key, expected one of mqtt, kafka"),
        ('[kafka]\nsecurity_protocol = "TLS"\n', "expected one of PLAINTEXT, SASL_PLAINTEXT, SASL_SSL, SSL"),
        ("[mqtt]\nfilters = [\n  3,\n]\n", ":4: mqtt.filters: found [3], expected str"),
        ("[mqtt\n", ":1: (syntax): found Expected ']'"),
        ("mqtt = 3\n", ":1: mqtt: found 3, expected object"),
        (
            '[engine.formats]\n"assets/a/#" = "json"\n"assets/v1.2/#" = "json"\n',
            ":3: engine.formats: found {'assets/v1.2/#': 'json'}, expected str matching",
        ),
    ],
)
def test_a_wrong_setting_names_its_file_line_key_what_was_found_and_what_is_expected(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(SettingsRefused, match=re.escape(said)) as caught:
        load(written(tmp_path, text), {})
    assert str(caught.value).startswith(str(tmp_path / "processor.toml"))


def test_every_mistake_is_named_at_once_each_with_its_place(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '[mqtt]\nport = 70000\nhots = "a"\n[kafak]\na = 1\nb = 2\n[worker]\nrun_size = "x"\n'
        '[engine.formats]\n"assets/+/telemetry" = "xml"\n"asset" = "json"\n',
    )
    with pytest.raises(SettingsRefused) as caught:
        load(file, {"PROCESSOR_TOPICS__PARTITIONS": "0", "PROCESSOR_MQTT_PORT": "1"})
    assert [(error.file.removeprefix(str(file)), error.line, error.key) for error in caught.value.errors] == [
        ("PROCESSOR_MQTT_PORT", None, "mqtt.port"),
        ("PROCESSOR_TOPICS__PARTITIONS", None, "topics.partitions"),
        ("", 2, "mqtt.port"),
        ("", 3, "mqtt.hots"),
        ("", 4, "kafak"),
        ("", 8, "worker.run_size"),
        ("", 10, "engine.formats"),
        ("", 11, "engine.formats"),
    ]
    assert all(error.found and error.expected for error in caught.value.errors)


def test_one_topic_for_two_purposes_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, '[topics]\ntelemetry = "a"\ncases = "a"\ndead = "asset.auth.v1"\n')
    with pytest.raises(SettingsRefused) as caught:
        load(file, {})
    assert [str(error) for error in caught.value.errors] == [
        f"{file}:3: topics.cases: found 'a', which topics.telemetry is too, expected a name of its own",
        f"{file}:4: topics.dead: found 'asset.auth.v1', which topics.auth is too, expected a name of its own",
    ]


def test_a_variable_counts_before_the_file_and_is_named_when_wrong(tmp_path: Path) -> None:
    file = written(tmp_path, "[mqtt]\nport = 1\n")
    settings = load(
        file, {"PROCESSOR_MQTT__PORT": "1999", "PROCESSOR_MQTT__TLS": "true", "OTHER__THING": "1"}
    )
    assert (settings.mqtt.port, settings.mqtt.tls) == (1999, True)
    with pytest.raises(SettingsRefused, match=r"^PROCESSOR_MQTT__PORT: mqtt\.port: found 'abc'"):
        load(file, {"PROCESSOR_MQTT__PORT": "abc"})


def test_a_byte_order_mark_that_an_editor_wrote_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "processor.toml"
    file.write_text("[mqtt]\r\nport = 1999\r\n", encoding="utf-8-sig")
    assert load(file, {}).mqtt.port == 1999
    file.write_text('[mqtt]\nport = "x"\n', encoding="utf-8-sig")
    with pytest.raises(SettingsRefused, match=r"processor\.toml:2: mqtt\.port: found 'x'"):
        load(file, {})


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("PROCESSOR_KAFAK__BOOTSTRAP", "PROCESSOR_KAFAK__BOOTSTRAP: kafak: found an unknown key"),
        ("PROCESSOR_KAFKA__BOOTSTRA", "PROCESSOR_KAFKA__BOOTSTRA: kafka.bootstra: found an unknown key"),
        ("PROCESSOR_KAFKA_BOOTSTRAP", "expected two: PROCESSOR_KAFKA__BOOTSTRAP"),
        ("PROCESSOR_MQTT_PASSWORD", "expected two: PROCESSOR_MQTT__PASSWORD"),
    ],
)
def test_a_misspelt_variable_is_named_and_its_value_is_not(variable: str, said: str) -> None:
    with pytest.raises(SettingsRefused, match=re.escape(said)) as caught:
        load(None, {variable: "hunter2"})
    assert str(caught.value).startswith(variable)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "one", ["", "assets/#/x", "assets/a+/x", "a#", "##", "a\0b", "$share/g/assets/+/telemetry", "x" * 65_536]
)
def test_what_is_no_topic_filter_is_refused_with_its_line(tmp_path: Path, one: str) -> None:
    file = written(tmp_path, f"[mqtt]\nport = 1\nfilters = {json.dumps(['assets/+/telemetry/#', one])}\n")
    with pytest.raises(SettingsRefused) as caught:
        load(file, {})
    (error,) = caught.value.errors
    assert (error.file, error.line, error.key, error.found) == (str(file), 3, "mqtt.filters", repr(one))
    assert "a topic filter" in error.expected


@pytest.mark.parametrize("one", ["assetgate/+", "assetgate/#", "a\0b", "$SYS/heartbeat"])
def test_a_heartbeat_needs_one_topic(one: str) -> None:
    said = r"PROCESSOR_MQTT__HEARTBEAT_TOPIC: mqtt.heartbeat_topic: found .*, expected a topic without"
    with pytest.raises(SettingsRefused, match=said):
        load(None, {"PROCESSOR_MQTT__HEARTBEAT_TOPIC": one})


def test_a_client_id_has_no_control_characters(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match=r":2: mqtt\.client_id: found 'a\\x00b'"):
        load(written(tmp_path, '[mqtt]\nclient_id = "a\\u0000b"\n'), {})


@pytest.mark.parametrize("one", ["#", "+", "+/+/telemetry", "/", "assets/+/telemetry/#", "x" * 65_535])
def test_every_topic_filter_is_taken(tmp_path: Path, one: str) -> None:
    text = f"[mqtt]\nfilters = {json.dumps([one])}\n"
    assert load(written(tmp_path, text), {}).mqtt.filters == (one,)


def test_a_text_from_the_environment_stays_text() -> None:
    assert load(None, {"PROCESSOR_MQTT__PASSWORD": "123"}).mqtt.password == Secret("123")


def test_a_secret_shows_itself_nowhere(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[mqtt]\npassword = "hunter2"\n'), {})
    assert "hunter2" not in repr(settings)
    assert settings.mqtt.read_password() == "hunter2"
    with pytest.raises(SettingsRefused) as caught:
        load(written(tmp_path, "[mqtt]\npassword = 77001\n"), {})
    assert "77001" not in str(caught.value)


def test_a_password_file_is_read_at_each_use_and_stands_on_the_files_directory(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[mqtt]\npassword_file = "secret"\n'), {})
    with pytest.raises(ConfigurationError, match=r"mqtt\.password_file: found No such file"):
        settings.mqtt.read_password()
    (tmp_path / "secret").write_text("first\n")
    assert settings.mqtt.read_password() == "first"
    (tmp_path / "secret").write_text("second\n")
    assert settings.mqtt.read_password() == "second"


def test_no_file_and_no_variables_are_the_defaults() -> None:
    assert load(None, {}).kafka == ProcessorSettings().kafka


def test_the_reference_page_is_made_of_the_model() -> None:
    page = (_ROOT / "docs" / "reference" / "processor-settings.md").read_text()
    assert page == render(), "run: make reference"
