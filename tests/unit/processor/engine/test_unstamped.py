"""Samples that the device has not stamped: each is judged, however many share one time of receipt."""

import json
from typing import Any

import pytest

from processor.engine import Engine, Limits
from processor.model import Counts, Outcome
from processor.rules import parse_rules
from tests.support.payloads import metric, payload, senml_cbor
from tests.support.telemetry import START, Written, beat, rules_text, sent, unstamped

HOT = rules_text("{threshold: {above: 80}}")
SENML = b"application/senml+json"
CBOR = b"application/senml+cbor"
SPARKPLUG = b"application/x-protobuf"


def engine(text: str = HOT, *, jit: bool = False, **limits: Any) -> Engine:  # noqa: ANN401 - bounds of several types
    return Engine(parse_rules(text), partition=0, limits=Limits(**limits), jit=jit)


def judged(outcome: Outcome) -> tuple[int, int]:
    """Received and judged; the counts balance."""
    assert outcome.counts.balanced
    return outcome.counts.received, outcome.counts.judged


def times(outcome: Outcome) -> list[int]:
    """When cases opened and closed, milliseconds after `START`."""
    return [each.time - START for each in outcome.events]


def formats(v: int) -> list[tuple[bytes, bytes, bytes | None]]:
    """A value without a time in every format: payload, topic, content type."""
    one = [{"n": "temperature", "v": v}]
    return [
        (b'{"metrics":{"temperature":%d}}' % v, b"telemetry", None),
        (b'{"metrics":{"temperature":%d}}' % v, b"telemetry/temperature", None),
        (b'[{"metrics":{"temperature":{"v":%d,"u":"Cel"}}}]' % v, b"telemetry", None),
        (b"%d" % v, b"telemetry/temperature", None),
        (b'{"v":%d}' % v, b"telemetry/temperature", None),
        (b"%d" % v, b"telemetry/temperature", b"text/plain"),
        (json.dumps(one).encode(), b"telemetry", SENML),
        (senml_cbor(one), b"telemetry", CBOR),
        (payload([metric("temperature", double=float(v))]), b"telemetry", SPARKPLUG),
    ]


@pytest.mark.parametrize("form", range(len(formats(0))))
@pytest.mark.parametrize("lateness", [0, 3])
@pytest.mark.parametrize("jit", [True, False])
def test_of_any_format_all_that_one_receipt_brings_are_judged_in_order(
    form: int, lateness: int, *, jit: bool
) -> None:
    records = []
    for n in range(100):
        value, tail, content_type = formats(n)[form]
        headers = [("t", tail)] + ([] if content_type is None else [("ct", content_type)])
        records.append(Written(b"a", value, n, START, headers))
    one = engine(jit=jit, lateness=lateness)
    first, rest = one.advance(records[:1]), one.advance(records[1:])
    end = one.advance([sent("a", START + 60_000, temperature=0)])
    counts = first.counts.plus(rest.counts).plus(end.counts)
    assert counts == Counts(received=101, judged=101 - (lateness > 0), held=int(lateness > 0))
    assert times(rest) + times(end) == ([81] if lateness else [81, 60_000])


@pytest.mark.parametrize("value", [b"", b'{"data":{}}', b"{}"])
def test_a_devices_events_of_one_receipt_are_each_judged(value: bytes) -> None:
    record = Written(b"a", value or b"{}", 0, START, [("t", b"events/low")])
    assert judged(engine().advance([record] * 3)) == (3, 3)


def test_the_metrics_of_one_message_keep_one_time() -> None:
    text = rules_text("{threshold: {above: 80}}", select="{metric: b}")
    both = [unstamped("a", START, a=1), unstamped("a", START, a=1, b=90), unstamped("a", START, b=1)]
    outcome = engine(text).advance(both)
    assert judged(outcome) == (4, 4)
    assert times(outcome) == [1, 2]


def test_relative_times_of_packs_that_came_together_are_judged_in_order() -> None:
    pack = json.dumps([{"n": "temperature", "v": v, "t": t} for v, t in ((70, -2), (90, -1), (70, 0))])
    record = Written(b"a", pack.encode(), 0, START, [("t", b"telemetry"), ("ct", SENML)])
    outcome = engine().advance([record, record])
    assert judged(outcome) == (6, 6)
    assert times(outcome) == [-1000, 0, 2, 3]


def test_a_value_without_a_time_stands_behind_the_stamped_one_of_its_pack() -> None:
    pack = [{"n": "temperature", "v": 70}, {"n": "temperature", "v": 90, "t": START / 1000}]
    record = Written(b"a", json.dumps(pack).encode(), 0, START, [("t", b"telemetry"), ("ct", SENML)])
    outcome = engine().advance([record])
    assert judged(outcome) == (2, 2)
    assert times(outcome) == [0, 1]


@pytest.mark.parametrize("lateness", [0, 3])
def test_a_receipt_clock_that_goes_back_loses_none(lateness: int) -> None:
    one = engine(lateness=lateness)
    hour = 3_600_000
    received = [*range(START, START + 20_000, 1000), *range(START - hour, START - hour + 20_000, 1000)]
    one.advance([unstamped("a", at, temperature=90) for at in received])
    one.advance([sent("a", START + hour, temperature=90)])
    assert (one.counts.judged, one.counts.held) == (41 - (lateness > 0), int(lateness > 0))


def test_a_device_that_stamps_some_has_the_others_judged_behind_them() -> None:
    ahead = [sent("a", START + 60_000, received=START, temperature=70)]
    others = [unstamped("a", START + n * 1000, temperature=90) for n in range(3)]
    outcome = engine().advance(ahead + others)
    assert judged(outcome) == (4, 4)
    assert times(outcome) == [60_001]


def test_stamped_samples_keep_their_identity_between_those_that_have_none() -> None:
    one = engine()
    one.advance([unstamped("a", START, temperature=1), sent("a", START + 5, temperature=1)])
    again = one.advance([sent("a", START + 5, temperature=1), sent("a", START + 5, temperature=2)])
    assert (again.counts.duplicate, again.counts.conflict) == (1, 1)


def test_a_flood_carries_an_asset_no_further_than_what_may_come_at_once() -> None:
    one = engine(jit=True)
    flood = [unstamped("a", START, temperature=1)] * 1000
    for _ in range(301):
        one.advance(flood)
    assert int(one.index.assets["newest"][0]) == START + 300_000
    assert (one.counts.judged, one.counts.late) == (300_001, 999)
    # As time goes on, so do they.
    assert judged(one.advance([unstamped("a", START + 1000, temperature=1)] * 9)) == (9, 9)


def test_a_narrow_bound_on_devices_clocks_is_none_on_how_many_come_at_once() -> None:
    assert judged(engine(clock_ahead=0.001).advance([unstamped("a", START, temperature=1)] * 99)) == (99, 99)


def test_what_is_written_back_is_judged_in_its_place_and_never_as_if_it_were_new() -> None:
    one = engine()
    back = [unstamped("a", START + n, replay=True, temperature=90) for n in (0, 0, 1)]
    assert judged(one.advance(back)) == (3, 3)
    one.advance([unstamped("a", START + 60_000, temperature=70)])
    assert one.advance(back).counts == Counts(received=3, late=3)


def test_a_silent_device_is_found_from_its_last_unstamped_sample() -> None:
    text = rules_text("{silence: {after: 10s}}", select="{}")
    beats = [beat(START + n * 1000) for n in range(20)]
    records = [*beats[:2], *[unstamped("a", START + 1500, temperature=1)] * 3, *beats[2:]]
    assert times(engine(text).advance(records)) == [11_502]


def test_a_snapshot_in_the_middle_of_what_came_together_changes_nothing() -> None:
    records = [unstamped("a", START, temperature=v) for v in (70, 90, 70, 90, 70)]
    whole = engine().advance(records)
    first = engine()
    events = first.advance(records[:3]).events
    second = Engine.load(first.dump(), parse_rules(HOT), partition=0, jit=False)
    events += second.advance(records[3:]).events
    assert (events, second.counts) == (whole.events, whole.counts)
