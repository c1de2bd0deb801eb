"""SenML in both encodings: the same packs give the same readings (RFC 8428)."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from processor.codec.formats import Codec
from processor.codec.reading import Reading
from processor.errors import DeadLetter, DeadReason
from processor.limits import Limits
from tests.support.payloads import ASSET, RECEIVED, cbor, senml_cbor

ENCODINGS = {
    b"application/senml+json": lambda pack: json.dumps(pack).encode(),
    b"application/senml+cbor": senml_cbor,
}
DEVICE = "urn:dev:ow:10e2073a01080063:"


@pytest.fixture(params=ENCODINGS, ids=lambda each: each.decode()[-4:])
def encoding(request: pytest.FixtureRequest) -> bytes:
    found: bytes = request.param
    return found


def read(
    encoding: bytes, pack: object, tail: bytes = b"telemetry", asset: str = ASSET
) -> tuple[Reading, ...]:
    codec = Codec(Limits(messages=20, metrics=4))
    return codec.read(tail, ENCODINGS[encoding](pack), RECEIVED, asset, encoding)


def reason(encoding: bytes, pack: object, tail: bytes = b"telemetry") -> DeadReason:
    with pytest.raises(DeadLetter) as caught:
        read(encoding, pack, tail)
    return caught.value.reason


def told(readings: Sequence[Reading]) -> list[tuple[int, dict[str, float]]]:
    return [(each.t, dict(zip(each.names, each.values, strict=True))) for each in readings]


def test_base_fields_hold_for_the_records_after_them(encoding: bytes) -> None:
    found = read(
        encoding,
        [
            {"bn": DEVICE, "bt": 1699999000.5, "bu": "A", "bver": 10, "n": "voltage", "u": "V", "v": 120.1},
            {"n": "current", "v": 1.2},
            {"bu": "mA", "bv": 100, "bt": 1699999001, "n": "current", "v": 3},
        ],
    )
    assert found == (
        Reading(1699999000500, -1, ("voltage", "current"), (120.1, 1.2), ("V", "A")),
        Reading(1699999001000, -1, ("current",), (103.0,), ("mA",)),
    )


def test_times_below_two_to_the_28_are_relative_to_the_receipt(encoding: bytes) -> None:
    found = read(
        encoding, [{"n": "a", "v": 1}, {"n": "a", "v": 2, "t": -5.25}, {"n": "a", "v": 3, "bt": -60, "t": 1}]
    )
    assert told(found) == [(RECEIVED - 59000, {"a": 3}), (RECEIVED - 5250, {"a": 2}), (RECEIVED, {"a": 1})]


def test_a_series_in_one_pack_comes_in_order_of_time_with_those_of_one_time_together(encoding: bytes) -> None:
    pack = [{"bt": 1699999000, "n": n, "t": t, "v": t} for n in ("a", "b") for t in (2, 0, 1)]
    assert told(read(encoding, pack)) == [(1699999000000 + t * 1000, {"a": t, "b": t}) for t in range(3)]


def test_a_value_that_comes_twice_is_left_to_the_engine_to_call_duplicate_or_conflict(
    encoding: bytes,
) -> None:
    pack = [{"n": "a", "v": 1}, {"n": "b", "v": 1}, {"n": "a", "v": 2}]
    assert told(read(encoding, pack)) == [(RECEIVED, {"a": 1, "b": 1}), (RECEIVED, {"a": 2})]


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("temperature", "temperature"),
        ("line/3/temperature", "line.3.temperature"),
        ("/3303/0/5700", "3303.0.5700"),
        ("urn:dev:ow:10e2073a01080063:voltage", "voltage"),
        ("urn:dev:mac:0024befffe804ff1/a/b", "a.b"),
        ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6:t", "t"),
        (f"{ASSET}/temperature", "temperature"),
        (f"{ASSET[:15]}:temperature", "temperature"),
        (f"urn:dev:ops:{ASSET}:temperature", "temperature"),
        ("02iAB00000CdEfGYAVA/t", "02iAB00000CdEfGYAVA.t"),
        ("500AB00000CdEfG/t", "500AB00000CdEfG.t"),
    ],
)
def test_the_metric_is_the_name_without_the_device(encoding: bytes, name: str, metric: str) -> None:
    assert read(encoding, [{"n": name, "v": 1}])[0].names == (metric,)


def test_a_record_that_names_only_its_device_is_of_the_topics_metric(encoding: bytes) -> None:
    pack = [{"bn": DEVICE, "v": 1}]
    assert read(encoding, pack, b"telemetry/voltage")[0].names == ("voltage",)
    assert read(encoding, [{"v": 1}], b"telemetry/voltage")[0].names == ("voltage",)
    assert reason(encoding, pack) is DeadReason.METRIC_NAME


@pytest.mark.parametrize(
    "name",
    ["02iAB00000CdEfH/t", "02iAB00000CdEfH:t", "urn:dev:ops:02iAB00000CdEfH:t", "02iab00000cdefgAAA/t"],
)
def test_a_name_of_another_asset_is_an_identity_mismatch(encoding: bytes, name: str) -> None:
    assert reason(encoding, [{"n": name, "v": 1}]) is DeadReason.IDENTITY_MISMATCH


def test_a_pack_of_several_devices_is_an_identity_mismatch(encoding: bytes) -> None:
    pack = [{"bn": "urn:dev:ow:1:", "n": "a", "v": 1}, {"bn": "urn:dev:ow:2:", "n": "a", "v": 2}]
    assert reason(encoding, pack) is DeadReason.IDENTITY_MISMATCH


def test_booleans_count_as_numbers_and_what_is_none_is_passed_over_and_counted(encoding: bytes) -> None:
    codec = Codec(Limits())
    pack = [
        {"n": "open", "vb": True}, {"n": "name", "vs": "press"}, {"n": "blob", "vd": "aGk"},
        {"n": "energy", "s": 12.5}, {"bt": 0}, {"n": "t", "v": 1, "s": 2},
    ]  # fmt: skip
    found = codec.read(b"telemetry", ENCODINGS[encoding](pack), RECEIVED, ASSET, encoding)
    assert told(found) == [(RECEIVED, {"open": 1.0, "t": 1.0})]
    assert codec.passed_over == 3


def test_secondary_units_are_kept_as_they_are(encoding: bytes) -> None:
    assert read(encoding, [{"bver": 26, "n": "a", "u": "km/h", "v": 1}])[0].units == ("km/h",)


BAD: list[tuple[Any, DeadReason]] = [
    ({}, DeadReason.WRONG_TYPE),
    ([], DeadReason.WRONG_TYPE),
    ([7], DeadReason.WRONG_TYPE),
    ([{"n": "a"}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "vs": "only a text"}], DeadReason.WRONG_TYPE),
    ([{"bn": "a"}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": 1, "vb": True}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": "1"}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": True}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": None}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "vb": 1}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "vs": 1}], DeadReason.WRONG_TYPE),
    ([{"n": 1, "v": 1}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": 1, "u": "u" * 33}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": 1, "u": "\u0007"}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": 1, "t": "now"}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": 1, "s": "x"}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": 1, "bver": 11}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": 1, "bver": 10.0}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": 1, "unknown_": 1}], DeadReason.WRONG_TYPE),
    ([{"n": "a", "v": 1e308, "bv": 1e308}], DeadReason.NON_FINITE),
    ([{"n": "", "v": 1}], DeadReason.METRIC_NAME),
    ([{"n": "a b", "v": 1}], DeadReason.METRIC_NAME),
    ([{"n": "-a", "v": 1}], DeadReason.METRIC_NAME),
    ([{"n": "a" * 65, "v": 1}], DeadReason.METRIC_NAME),
    ([{"n": "a" * 600, "v": 1}], DeadReason.METRIC_NAME),
    ([{"n": "a", "v": 1, "t": 1_700_003_600}], DeadReason.CLOCK_AHEAD),
    ([{"n": "a", "v": 1, "t": 3600}], DeadReason.CLOCK_AHEAD),
    ([{"n": "a", "v": 1, "t": -1_700_000_001}], DeadReason.TIME_INVALID),
    ([{"n": "a", "v": 1, "t": 1e15}], DeadReason.TIME_INVALID),
    ([{"n": f"m{n}", "v": 1} for n in range(21)], DeadReason.OVERSIZE),
    ([{"n": f"m{n}", "v": 1} for n in range(5)], DeadReason.OVERSIZE),
]


@pytest.mark.parametrize(("pack", "expected"), BAD, ids=lambda each: str(each)[:50])
def test_a_pack_that_cannot_be_judged_is_refused_with_its_reason(
    encoding: bytes, pack: object, expected: DeadReason
) -> None:
    assert reason(encoding, pack) is expected


def test_an_unknown_field_that_need_not_be_understood_is_ignored(encoding: bytes) -> None:
    assert read(encoding, [{"n": "a", "v": 1, "vendor": [1, {"x": 2}]}])
    pack = [{"bn": "line/", "vendor": 1}, {"n": "a", "v": 1}]
    assert read(encoding, pack)[0].names == ("line.a",)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", DeadReason.MALFORMED),
        (b'[{"n":"a","v":1}', DeadReason.MALFORMED),
        (b'[{"n":"a","v":1,"v":2}]', DeadReason.MALFORMED),
        ('[{"n":"a","v":1}]'.encode("utf-16"), DeadReason.MALFORMED),
        (b"[" * 9000, DeadReason.MALFORMED),
        (b'[{"n":"a","v":' + b"1" * 5000 + b"}]", DeadReason.MALFORMED),
        (b'[{"n":"a","v":NaN}]', DeadReason.NON_FINITE),
        (b'[{"n":"a","v":1e999}]', DeadReason.NON_FINITE),
        (b'[{"n":"a","v":1' + b"0" * 400 + b"}]", DeadReason.NON_FINITE),
        (b'[{"n":"a","v":1,"u":"\\ud800"}]', DeadReason.WRONG_TYPE),
    ],
)
def test_json_that_is_no_pack_is_refused_with_its_reason(value: bytes, expected: DeadReason) -> None:
    with pytest.raises(DeadLetter) as caught:
        Codec(Limits()).read(b"telemetry", value, RECEIVED, ASSET, b"application/senml+json")
    assert caught.value.reason is expected


def cbor_reason(value: bytes) -> DeadReason | None:
    try:
        Codec(Limits()).read(b"telemetry", value, RECEIVED, ASSET, b"application/senml+cbor")
    except DeadLetter as letter:
        return letter.reason
    return None


def test_cbor_has_numbers_for_labels_and_bytes_for_data() -> None:
    assert cbor_reason(senml_cbor([{"n": "a", "v": 1}, {"n": "b", "vd": b"\x00"}])) is None
    assert cbor_reason(cbor([{"n": "a", "v": 1}])) is DeadReason.MALFORMED
    assert cbor_reason(cbor([{0: "a", "n": "b", 2: 1}])) is DeadReason.MALFORMED
    assert cbor_reason(cbor([{0: "a", 2: 1, "x_": 1}])) is DeadReason.WRONG_TYPE


def test_the_example_of_the_rfc_is_read() -> None:
    # RFC 8428, figure 1, with a time of its own.
    pack = bytes.fromhex(
        "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f6c"
        "7461676501615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e74062302"
        "fb3ff4cccccccccccda3006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00a300676375"
        "7272656e74062002fb3ff999999999999aa3006763757272656e74060002fb3ffb333333333333"
    )
    found = Codec(Limits()).read(b"telemetry", pack, RECEIVED, ASSET, b"application/senml+cbor")
    assert told(found)[-1] == (1276020076001, {"voltage": 120.1, "current": 1.7})
    assert [each.values for each in found[:-1]] == [(1.2,), (1.3,), (1.4,), (1.5,), (1.6,)]
