"""Sparkplug B payloads with named metrics."""

import json
import math
from typing import Any

import pytest

from processor.codec.formats import Codec
from processor.codec.reading import Reading
from processor.errors import DeadLetter, DeadReason
from processor.limits import Limits
from tests.support.payloads import ASSET, RECEIVED, field, metric, payload, varint

CODEC = Limits(messages=20, metrics=4)


def read(value: bytes) -> tuple[Reading, ...]:
    return Codec(CODEC).read(b"telemetry", value, RECEIVED, ASSET, b"application/x-protobuf")


def reason(value: bytes) -> DeadReason:
    with pytest.raises(DeadLetter) as caught:
        read(value)
    return caught.value.reason


def test_named_metrics_are_read_with_their_units_times_and_the_payloads_number() -> None:
    value = payload(
        [
            metric("Inlet/Water Temperature", datatype=10, double=71.5, properties={"engLow": "0",
            "engUnit": "°C"}),
            metric("running", datatype=11, boolean=True),
            metric("rpm", timestamp=RECEIVED - 5000, datatype=9, single=0.5),
        ],
        timestamp=RECEIVED - 1000, seq=7,
    )  # fmt: skip
    assert read(value) == (
        Reading(RECEIVED - 5000, -1, ("rpm",), (0.5,)),
        Reading(
            RECEIVED - 1000, 7, ("Inlet.Water_Temperature", "running"), (71.5, 1.0), ("°C", ""), cyclic=True
        ),
    )


def test_without_any_time_it_is_the_time_of_receipt() -> None:
    assert read(payload([metric("a", double=1.0)])) == (Reading(RECEIVED, -1, ("a",), (1.0,), stamped=False),)


@pytest.mark.parametrize(
    ("datatype", "value", "v"),
    [
        (1, {"integer": 200}, -56), (1, {"integer": 2**32 - 56}, -56), (1, {"integer": -56}, -56),
        (2, {"integer": 2**16 - 1}, -1), (3, {"integer": 2**32 - 1}, -1),
        (3, {"integer": 2**31 - 1}, 2**31 - 1),
        (4, {"long": -7}, -7), (5, {"integer": 255}, 255), (7, {"integer": 2**32 - 1}, 2**32 - 1),
        (7, {"long": 2**32 - 1}, 2**32 - 1), (8, {"long": 2**64 - 1}, 2.0**64), (9, {"single": 0.25}, 0.25),
        (10, {"double": -1.5}, -1.5), (11, {"boolean": False}, 0), (None, {"integer": 7}, 7),
        (None, {"boolean": True}, 1),
    ],
)  # fmt: skip
def test_a_number_is_what_its_datatype_says(datatype: int | None, value: dict[str, Any], v: float) -> None:
    assert read(payload([metric("a", datatype=datatype, **value)]))[0].values == (v,)


def test_what_is_no_number_is_passed_over_and_counted_beside_numbers() -> None:
    codec = Codec(CODEC)
    value = payload(
        [
            metric("a", double=1.0), metric("b", datatype=12, string="x"), metric("c", datatype=13, long=5),
            metric("d", datatype=10, null=True), metric("e", datatype=16, dataset=b"\x00\xff"),
            metric("f", datatype=17, data=b"\x00"),
        ]
    )  # fmt: skip
    found = codec.read(b"telemetry", value, RECEIVED, ASSET, b"application/protobuf")
    assert [each.names for each in found] == [("a",)]
    assert codec.passed_over == 5


def test_a_metric_with_an_alias_and_no_name_is_a_dead_letter_that_says_so() -> None:
    value = payload([metric("a", alias=1, double=1.0), metric(alias=2, double=1.0)])
    assert reason(value) is DeadReason.ALIAS_ONLY
    assert read(payload([metric("a", alias=1, double=1.0)]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", DeadReason.WRONG_TYPE),
        (payload([], timestamp=1), DeadReason.WRONG_TYPE),
        (field(4, "SPBV1.0_COMPRESSED") + field(5, b"\x1f\x8b"), DeadReason.WRONG_TYPE),
        (payload([metric("a")]), DeadReason.WRONG_TYPE),
        (payload([metric("a", double=1.0, boolean=True)]), DeadReason.WRONG_TYPE),
        (payload([metric("a", datatype=12, string="only a text")]), DeadReason.WRONG_TYPE),
        (payload([metric("a", datatype=3, double=1.0)]), DeadReason.WRONG_TYPE),
        (payload([metric("a", datatype=10, integer=1)]), DeadReason.WRONG_TYPE),
        (payload([metric("a", datatype=11, string="true")]), DeadReason.WRONG_TYPE),
        (payload([metric("a", datatype=5, integer=256)]), DeadReason.WRONG_TYPE),
        (payload([metric("a", datatype=1, integer=2**32 - 129)]), DeadReason.WRONG_TYPE),
        (payload([metric("a", integer=2**31)]), DeadReason.WRONG_TYPE),
        (payload([metric("a", double=1.0, properties={"engUnit": "u" * 33})]), DeadReason.WRONG_TYPE),
        (payload([metric("a", double=1.0)], seq=2**60), DeadReason.WRONG_TYPE),
        (payload([metric("a", datatype=10, double=math.nan)]), DeadReason.NON_FINITE),
        (payload([metric("a", datatype=9, single=math.inf)]), DeadReason.NON_FINITE),
        (payload([metric(double=1.0)]), DeadReason.METRIC_NAME),
        (payload([metric("", double=1.0)]), DeadReason.METRIC_NAME),
        (payload([metric("ä", double=1.0)]), DeadReason.METRIC_NAME),
        (payload([metric("a" * 65, double=1.0)]), DeadReason.METRIC_NAME),
        (payload([metric("a", double=1.0)], timestamp=RECEIVED + 3_600_000), DeadReason.CLOCK_AHEAD),
        (payload([metric("a", double=1.0)], timestamp=2**63), DeadReason.TIME_INVALID),
        (payload([metric(f"m{n}", double=1.0) for n in range(21)]), DeadReason.OVERSIZE),
        (payload([metric(f"m{n}", double=1.0) for n in range(5)]), DeadReason.OVERSIZE),
        (field(99, 1) * 5000 + payload([metric("a", double=1.0)]), DeadReason.OVERSIZE),
        (json.dumps({"metrics": {"a": 1}}).encode(), DeadReason.MALFORMED),
        (b"\x12", DeadReason.MALFORMED),
        (b"\x12\x7f", DeadReason.MALFORMED),
        (b"\x00\x00", DeadReason.MALFORMED),
        (b"\xff" * 11, DeadReason.MALFORMED),
        (b"\x08" + b"\xff" * 9 + b"\x02", DeadReason.MALFORMED),
        (b"\x0b\x0c", DeadReason.MALFORMED),
        (varint(2 << 3) + varint(1), DeadReason.MALFORMED),
        (payload([metric("a", double=1.0)], timestamp=1) + field(1, 2), DeadReason.MALFORMED),
        (payload([field(1, b"\xff") + field(13, 1.0)]), DeadReason.MALFORMED),
        (payload([field(1, "a") + field(13, 1.0) + field(9, field(1, "engUnit"))]), DeadReason.MALFORMED),
    ],
    ids=lambda each: repr(each)[:40],
)
def test_a_payload_that_cannot_be_judged_is_refused_with_its_reason(
    value: bytes, expected: DeadReason
) -> None:
    assert reason(value) is expected


def test_fields_of_a_later_version_are_ignored() -> None:
    assert read(field(77, b"new") + payload([metric("a", double=1.0) + field(88, 1)]))[0].values == (1.0,)
