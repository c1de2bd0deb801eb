import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.codec.formats import Codec
from processor.codec.identity import extend
from processor.codec.reading import Reading
from processor.errors import DeadLetter, DeadReason
from processor.limits import Limits

RECEIVED = 1_700_000_000_000
ASSET = "02iAB00000CdEfGYAV"


def codec() -> Codec:
    return Codec(Limits(payload_bytes=4096, messages=3, metrics=4, clock_ahead=300))


def read(value: bytes, tail: bytes = b"telemetry", asset: str = ASSET) -> tuple[Reading, ...]:
    return codec().read(tail, value, RECEIVED, asset)


def reason(value: bytes | None, tail: bytes = b"telemetry") -> DeadReason:
    with pytest.raises(DeadLetter) as caught:
        codec().read(tail, value, RECEIVED, ASSET)
    return caught.value.reason


def test_the_contract_example_is_read_with_its_units() -> None:
    found = read(b'{"ts":1700000000123,"seq":7,"metrics":{"temperature":71.5,"toner":{"v":12,"u":"%"}}}')
    assert found == (Reading(1700000000123, 7, ("temperature", "toner"), (71.5, 12.0), ("", "%")),)


def test_a_batch_gives_a_reading_for_each_message_and_booleans_count_as_numbers() -> None:
    found = read(b'[{"ts":1,"metrics":{"a":true}},{"ts":2,"metrics":{"a":false}}]')
    assert [(each.t, each.values) for each in found] == [(1, (1.0,)), (2, (0.0,))]


def test_equal_shapes_are_one_object() -> None:
    one = codec()
    first, second = (one.read(b"telemetry", b'{"metrics":{"a":1,"b":2}}', RECEIVED, ASSET) for _ in range(2))
    assert first[0].names is second[0].names


def test_devices_that_invent_names_fill_no_memory_with_them() -> None:
    one = Codec(Limits(payload_bytes=65_536, messages=1, metrics=1000, clock_ahead=1))

    def is_kept(shape: int) -> bool:
        value = json.dumps({"metrics": dict.fromkeys((f"m{shape}.{n}" for n in range(1000)), 1)}).encode()
        first, second = (one.read(b"telemetry", value, RECEIVED, ASSET) for _ in range(2))
        return first[0].names is second[0].names

    assert [is_kept(shape) for shape in range(110)].count(True) == 100


@pytest.mark.parametrize(
    ("ts", "t"),
    [
        (b"1700000000123", 1_700_000_000_123),
        (b'"2023-11-14T22:13:20Z"', 1_700_000_000_000),
        (b'"2023-11-14T23:13:20.125+01:00"', 1_700_000_000_125),
        (b'"2023-11-14T22:13:20.123456789Z"', 1_700_000_000_123),
        (b"0", 0),
    ],
)
def test_time_is_milliseconds_or_rfc_3339_with_a_zone(ts: bytes, t: int) -> None:
    assert read(b'{"ts":' + ts + b',"metrics":{"a":1}}')[0].t == t


def test_without_a_time_it_is_the_time_of_receipt() -> None:
    assert read(b'{"metrics":{"a":1}}')[0].t == RECEIVED


@pytest.mark.parametrize("claimed", [ASSET, ASSET[:15]])
def test_an_asset_in_either_form_of_the_topics_own_is_accepted(claimed: str) -> None:
    assert read(json.dumps({"asset": claimed, "metrics": {"a": 1}}).encode())


def test_the_long_form_of_an_id_carries_the_checksum_of_its_capitals() -> None:
    assert extend(ASSET[:15]) == ASSET
    assert extend("press-7") == "press-7"


def test_a_topic_of_one_metric_takes_its_value_or_a_whole_message() -> None:
    assert read(b"21.5", b"telemetry/temperature")[0].values == (21.5,)
    assert read(b'{"v":21.5,"u":"Cel"}', b"telemetry/temperature")[0].units == ("Cel",)
    assert read(b'{"metrics":{"x":1}}', b"telemetry/temperature")[0].names == ("x",)


def test_a_device_event_is_named_by_its_topic() -> None:
    found = read(b'{"ts":1700000000123,"data":{"level":8}}', b"events/supply_low")
    assert found == (Reading(1700000000123, -1, ("supply_low",), (1.0,), None, "supply_low"),)


def test_status_is_no_telemetry() -> None:
    assert read(b"offline", b"status") == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, DeadReason.MALFORMED),
        (b"", DeadReason.MALFORMED),
        (b"\xff\xfe", DeadReason.MALFORMED),
        (b'{"metrics":{"a":1}', DeadReason.MALFORMED),
        (b'{"metrics":{"a":1}} x', DeadReason.MALFORMED),
        (b'{"metrics":{"a":1,"a":2}}', DeadReason.MALFORMED),
        (b'{"metrics":{"a":1},"metrics":{"b":2}}', DeadReason.MALFORMED),
        (b'{"ts":1,"ts":2,"metrics":{"a":1}}', DeadReason.MALFORMED),
        (b'{"x":' * 700, DeadReason.MALFORMED),
        (b'{"metrics":{"a":1}}' + b" " * 5000, DeadReason.OVERSIZE),
        (
            b'[{"metrics":{"a":1}},{"metrics":{"a":1}},{"metrics":{"a":1}},{"metrics":{"a":1}}]',
            DeadReason.OVERSIZE,
        ),
        (b'{"metrics":{"a":1,"b":1,"c":1,"d":1,"e":1}}', DeadReason.OVERSIZE),
        (b'{"metrics":{"a":NaN}}', DeadReason.NON_FINITE),
        (b'{"metrics":{"a":-Infinity}}', DeadReason.NON_FINITE),
        (b'{"metrics":{"a":1e999}}', DeadReason.NON_FINITE),
        (b'{"metrics":{"a":{"v":1e999}}}', DeadReason.NON_FINITE),
        (b'{"metrics":{"a":"1"}}', DeadReason.WRONG_TYPE),
        (b'{"metrics":{"a":null}}', DeadReason.WRONG_TYPE),
        (b'{"metrics":{"a":[1]}}', DeadReason.WRONG_TYPE),
        (b'{"metrics":{"a":{"v":1,"x":2}}}', DeadReason.WRONG_TYPE),
        (b'{"metrics":{}}', DeadReason.WRONG_TYPE),
        (b"{}", DeadReason.WRONG_TYPE),
        (b"[]", DeadReason.WRONG_TYPE),
        (b"7", DeadReason.WRONG_TYPE),
        (b'{"seq":-1,"metrics":{"a":1}}', DeadReason.WRONG_TYPE),
        (b'{"seq":"1","metrics":{"a":1}}', DeadReason.WRONG_TYPE),
        (b'{"asset":7,"metrics":{"a":1}}', DeadReason.WRONG_TYPE),
        (b'{"metrics":{"":1}}', DeadReason.METRIC_NAME),
        (b'{"metrics":{"a b":1}}', DeadReason.METRIC_NAME),
        ('{"metrics":{"ä":1}}'.encode(), DeadReason.METRIC_NAME),
        (json.dumps({"metrics": {"a" * 65: 1}}).encode(), DeadReason.METRIC_NAME),
        (b'{"ts":-1,"metrics":{"a":1}}', DeadReason.TIME_INVALID),
        (b'{"ts":true,"metrics":{"a":1}}', DeadReason.TIME_INVALID),
        (b'{"ts":1.5,"metrics":{"a":1}}', DeadReason.TIME_INVALID),
        (b'{"ts":null,"metrics":{"a":1}}', DeadReason.TIME_INVALID),
        (b'{"ts":"2023-11-14T22:13:20","metrics":{"a":1}}', DeadReason.TIME_INVALID),
        (b'{"ts":"yesterday","metrics":{"a":1}}', DeadReason.TIME_INVALID),
        (b'{"ts":99999999999999999,"metrics":{"a":1}}', DeadReason.TIME_INVALID),
        (b'{"ts":1700003600000,"metrics":{"a":1}}', DeadReason.CLOCK_AHEAD),
        (b'{"asset":"02iAB00000CdEfH","metrics":{"a":1}}', DeadReason.IDENTITY_MISMATCH),
        (b'{"asset":"02iab00000cdefgyav","metrics":{"a":1}}', DeadReason.IDENTITY_MISMATCH),
    ],
)
def test_what_cannot_be_judged_is_refused_with_its_reason(value: bytes | None, expected: DeadReason) -> None:
    assert reason(value) is expected


@pytest.mark.parametrize(
    "tail", [b"", b"commands/x", b"telemetry/", b"telemetry/a/b", b"events", b"events/\xff"]
)
def test_a_topic_that_is_none_of_ours_is_refused(tail: bytes) -> None:
    assert reason(b"1", tail) is DeadReason.TOPIC_INVALID


def test_one_bad_message_refuses_the_batch_it_came_in() -> None:
    assert reason(b'[{"metrics":{"a":1}},{"metrics":{"a":"x"}}]') is DeadReason.WRONG_TYPE


def test_what_a_device_wrote_is_never_in_the_detail() -> None:
    for value in (b'{"metrics":{"secret word":1}}', b'{"asset":"secret","metrics":{"a":1}}'):
        with pytest.raises(DeadLetter) as caught:
            read(value)
        assert "secret" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ts", "seq", "metrics", "asset", "v", "u", "a"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(
    value=st.binary(max_size=60) | JSON.map(lambda each: json.dumps(each).encode()),
    tail=st.sampled_from([b"telemetry", b"telemetry/a", b"events/a"]),
)
def test_any_payload_is_either_read_or_refused(value: bytes, tail: bytes) -> None:
    try:
        found = read(value, tail)
    except DeadLetter:
        return
    for each in found:
        assert len(each.names) == len(each.values) > 0
        assert all(isinstance(number, float) and number - number == 0 for number in each.values)
        assert 0 <= each.t <= RECEIVED + 300_000
