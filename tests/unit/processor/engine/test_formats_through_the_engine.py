"""Payloads of every format through the engine: from a record's headers to counts and units."""

import json

from processor.engine import Engine, Limits
from processor.errors import DeadReason
from processor.rules import parse_rules
from tests.support.payloads import metric, payload
from tests.support.telemetry import START, Written, rules_text

HOT = rules_text("{threshold: {above: 80}}")


def written(value: bytes, content_type: bytes | None, *, received: int = START) -> Written:
    headers = [("t", b"telemetry")] + ([] if content_type is None else [("ct", content_type)])
    return Written(b"press-7", value, 0, received, headers)


def test_one_asset_may_speak_in_several_formats_and_its_unit_is_in_the_finding() -> None:
    engine = Engine(parse_rules(HOT), partition=0, jit=False)
    pack = [{"n": "temperature", "u": "Cel", "v": 70, "t": START / 1000}]
    outcome = engine.advance(
        [
            written(json.dumps(pack).encode(), b"application/senml+json"),
            written(b'{"ts":%d,"metrics":{"temperature":75}}' % (START + 1000), None, received=START + 1000),
            written(
                payload([metric("temperature", double=85.0)], timestamp=START + 2000),
                b"application/x-protobuf",
                received=START + 2000,
            ),
        ]
    )
    data = json.loads(outcome.events[0].value)["data"]
    assert (data["seen"], data["unit"]) == (85, "Cel")
    assert [each["v"] for each in data["evidence"]] == [70, 75, 85]
    assert (outcome.counts.received, outcome.counts.judged) == (3, 3)


def test_a_topics_format_is_read_from_the_settings() -> None:
    limits = Limits(formats={"assets/+/telemetry": "sparkplug"})
    engine = Engine(parse_rules(HOT), partition=0, limits=limits, jit=False)
    good = written(payload([metric("temperature", double=85.0)]), None)
    bad = written(payload([metric(alias=7, double=85.0)]), None)
    outcome = engine.advance([good, bad])
    assert len(outcome.events) == 1
    assert [(one.record, one.reason) for one in outcome.dead] == [(bad, DeadReason.ALIAS_ONLY)]


def test_a_content_type_without_a_value_is_none() -> None:
    record = Written(b"a", b'{"metrics":{"x":1}}', 0, START, [("t", b"telemetry"), ("ct", None)])  # type: ignore[list-item] # Kafka's headers may have none
    assert Engine(parse_rules(HOT), partition=0, jit=False).advance([record]).counts.judged == 1


def test_packs_account_for_every_sample_and_repeats_are_duplicates() -> None:
    engine = Engine(parse_rules(HOT), partition=0, jit=False)
    value = payload(
        [metric("temperature", timestamp=START - n * 1000, double=float(n)) for n in range(5)]
        + [metric("temperature", timestamp=START, double=9.0), metric("note", string="x")],
        seq=3,
    )
    first, second = (engine.advance([written(value, b"application/protobuf")]).counts for _ in range(2))
    assert (first.received, first.judged, first.conflict) == (6, 5, 1)
    assert (second.received, second.judged) == (6, 0)
    assert first.balanced
    assert second.balanced
