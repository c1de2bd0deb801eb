"""Which format reads a payload: the setting for its topic, then its content type, then JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from processor.codec.formats import CONTENT_TYPES, Codec
from processor.codec.reading import Reading
from processor.errors import DeadLetter, DeadReason
from processor.limits import Limits
from processor.settings import SettingsRefused, load
from tests.support.payloads import ASSET, RECEIVED, metric, payload

NUMBER = b"21.5"
PACK = json.dumps([{"bn": "press/", "n": "a", "v": 1}]).encode()


def read(
    value: bytes,
    tail: bytes = b"telemetry",
    content_type: bytes = b"",
    **limits: Any,  # noqa: ANN401 - bounds of several types
) -> tuple[Reading, ...]:
    return Codec(Limits(**limits)).read(tail, value, RECEIVED, ASSET, content_type)


def test_json_is_what_nothing_says_otherwise() -> None:
    assert read(b'{"metrics":{"a":1}}')[0].names == ("a",)


@pytest.mark.parametrize(
    "content_type",
    [b"application/senml+json", b"Application/SenML+JSON; charset=utf-8", b"application/sensml+json"],
)
def test_the_content_type_chooses_whatever_its_case_and_parameters(content_type: bytes) -> None:
    assert read(PACK, content_type=content_type)[0].names == ("press.a",)


def test_the_setting_for_the_topic_counts_more_than_the_content_type() -> None:
    found = read(
        payload([metric("a", double=2.5)]),
        content_type=b"application/json",
        formats={"assets/+/telemetry": "sparkplug"},
    )
    assert found[0].values == (2.5,)


@pytest.mark.parametrize(
    ("topic_filter", "tail", "chosen"),
    [
        ("assets/+/telemetry", b"telemetry", True),
        ("assets/+/telemetry", b"telemetry/a", False),
        ("assets/+/telemetry/a", b"telemetry/a", True),
        ("assets/+/telemetry/a", b"telemetry/b", False),
        ("assets/+/telemetry/+", b"telemetry/b", True),
        ("assets/+/telemetry/+", b"telemetry", False),
        ("assets/+/telemetry/#", b"telemetry", True),
        ("assets/+/telemetry/#", b"telemetry/b", True),
        ("assets/+/#", b"telemetry/b", True),
        (f"assets/{ASSET}/telemetry", b"telemetry", True),
        ("assets/press-7/telemetry", b"telemetry", False),
    ],
)
def test_a_filter_matches_as_in_mqtt(topic_filter: str, tail: bytes, chosen: bool) -> None:  # noqa: FBT001 - a row of the table
    codec = Codec(Limits(formats={topic_filter: "senml+json"}))
    if chosen:
        assert codec.read(tail, PACK, RECEIVED, ASSET)[0].names == ("press.a",)
    else:
        with pytest.raises(DeadLetter):
            codec.read(tail, PACK, RECEIVED, ASSET)


def test_the_first_filter_that_matches_counts() -> None:
    formats = {"assets/+/telemetry/a": "text", "assets/+/telemetry/#": "senml+json"}
    assert read(NUMBER, b"telemetry/a", formats=formats)[0].values == (21.5,)
    assert read(PACK, b"telemetry/b", formats=formats)[0].names == ("press.a",)


def test_an_event_is_json_whatever_the_setting() -> None:
    assert read(b"{}", b"events/door", formats={"assets/+/#": "sparkplug"})[0].event == "door"


def test_formats_of_two_assets_do_not_mix() -> None:
    codec = Codec(Limits(formats={f"assets/{ASSET}/telemetry": "senml+json"}))
    assert codec.read(b"telemetry", PACK, RECEIVED, ASSET)
    assert codec.read(b"telemetry", b'{"metrics":{"a":1}}', RECEIVED, "press-7")


def test_devices_that_invent_content_types_fill_no_memory() -> None:
    codec = Codec(Limits())
    for number in range(17_000):
        codec.read(b"telemetry/a", b"1", RECEIVED, ASSET, b"x/%d" % number)
    assert 0 < codec.remembered < 16_385


def test_long_content_types_and_topics_that_name_no_metric_are_not_remembered() -> None:
    codec = Codec(Limits())
    assert codec.read(b"telemetry/a", PACK, RECEIVED, ASSET, b"application/senml+json;" + b" " * 8000)
    for name in (b"x" * 60_000, b"a b", b""):
        with pytest.raises(DeadLetter):
            codec.read(b"telemetry/" + name, NUMBER, RECEIVED, ASSET)
    assert codec.remembered == 0


@pytest.mark.parametrize(
    ("value", "v"),
    [(b"21.5", 21.5), (b" -7\r\n", -7.0), (b"+.5e-1", 0.05), (b"007", 7.0), (b"1.", 1.0)],
)
def test_one_number_as_text_is_the_metric_that_its_topic_names(value: bytes, v: float) -> None:
    assert read(value, b"telemetry/temperature", b"text/plain") == (
        Reading(RECEIVED, -1, ("temperature",), (v,), stamped=False),
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", DeadReason.MALFORMED),
        (b"21,5", DeadReason.MALFORMED),
        (b"1_000", DeadReason.MALFORMED),
        (b"0x10", DeadReason.MALFORMED),
        (b"1 2", DeadReason.MALFORMED),
        (b"e", DeadReason.MALFORMED),
        (b"1" * 65, DeadReason.MALFORMED),
        ("٣".encode(), DeadReason.MALFORMED),
        (b"NaN", DeadReason.NON_FINITE),
        (b"-Infinity", DeadReason.NON_FINITE),
        (b"1e999", DeadReason.NON_FINITE),
    ],
)
def test_a_text_that_is_not_one_finite_number_is_refused(value: bytes, reason: DeadReason) -> None:
    with pytest.raises(DeadLetter) as caught:
        read(value, b"telemetry/temperature", b"text/plain")
    assert caught.value.reason is reason


def test_a_text_on_a_topic_without_a_metric_is_json_unless_the_setting_insists() -> None:
    assert read(b'{"metrics":{"a":1}}', content_type=b"text/plain")
    with pytest.raises(DeadLetter) as caught:
        read(NUMBER, formats={"assets/+/telemetry": "text"})
    assert caught.value.reason is DeadReason.WRONG_TYPE


def test_every_format_has_a_content_type() -> None:
    assert set(CONTENT_TYPES.values()) == {"json", "senml+json", "senml+cbor", "sparkplug", "text"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('"telemetry/x" = "text"', "matching regex"),
        ('"assets/+/events/x" = "text"', "matching regex"),
        ('"assets/a/b/telemetry" = "text"', "matching regex"),
        ('"assets/+/telemetry" = "xml"', "one of json, senml"),
    ],
)
def test_a_filter_or_a_format_that_is_none_is_an_error_with_its_line(
    tmp_path: Path, line: str, expected: str
) -> None:
    file = tmp_path / "processor.toml"
    file.write_text(f"[engine]\nlateness = 1.0\n[engine.formats]\n{line}\n")
    with pytest.raises(SettingsRefused) as caught:
        load(file, {})
    (error,) = caught.value.errors
    assert (error.key, error.line) == ("engine.formats", 4)
    assert expected in error.expected.replace("senml+cbor, ", "")
