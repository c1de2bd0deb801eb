"""The reader of an asset's usual message takes nothing but that; the general road reads the rest the same."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.engine import Engine, Limits
from processor.model import Outcome
from processor.rules import parse_rules
from tests.support.telemetry import START, Written, rules_text

RULES = parse_rules(rules_text("{threshold: {above: 5}}"))
FIRST = b'{"ts":%d,"seq":1,"metrics":{"temperature":1,"pressure":2}}' % START
#: A format for a topic that nobody writes to: every payload takes the general road.
GENERAL = Limits(formats={"assets/nobody/telemetry": "text"})


def judge(payloads: list[bytes], limits: Limits | None = None) -> list[Outcome]:
    """What a first message and those after it lead to: quickly read are those of an asset that is known."""
    records = [
        Written(b"press-7", each, n, START + 10_000, [("t", b"telemetry")]) for n, each in enumerate(payloads)
    ]
    engine = Engine(RULES, partition=0, limits=limits, jit=False)
    return [engine.advance(records[:1]), engine.advance(records[1:])]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"ts":%d,"seq":2,"metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d,"metrics":{"temperature":9,"pressure":2}}',
        b'{"metrics":{"temperature":9,"pressure":2},"ts":%d}',
        b'{"metrics":{"pressure":2,"temperature":9},"ts":%d}',
        b' { "ts" : %d , "metrics" : { "temper\\u0061ture" : 9e0 , "pressure" : 2 } } ',
        b'{"ts":%d,"asset":"press-7","metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d,"asset":"press-8","metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d,"asset":"a:b","metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d,"asset":"","metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d,"ts":1,"metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d,"metrics":{"temperature":9,"temperature":1,"pressure":2}}',
        b'{"ts":%d,"metrics":{"temperature":1,"pressure":2},"metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d,"metrics":{"temperature":9,"temperature":1}}',
        b'{"ts":%d,"metrics":{"temperature":9}}',
        b'{"ts":%d,"metrics":{"temperature":9,"pressure":2,"flow":1}}',
        b'{"ts":%d,"metrics":{"temperature":{"v":9,"u":"Cel"},"pressure":2}}',
        b'{"ts":%d,"metrics":{"temperature":true,"pressure":2}}',
        b'{"ts":%d,"metrics":{"temperature":1e999,"pressure":2}}',
        b'{"ts":%d,"metrics":{"temperature":NaN,"pressure":2}}',
        b'{"ts":%d,"seq":-1,"metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d,"seq":null,"metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d,"model":"x","metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d.5,"metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":"%d","metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":9%d,"metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":%d00000000000,"metrics":{"temperature":9,"pressure":2}}',
        b'{"ts":-%d,"metrics":{"temperature":9,"pressure":2}}',
        b'[{"ts":%d,"metrics":{"temperature":9,"pressure":2}}]',
        b'{"ts":%d,"metrics":{"temperature":9,"pressure":2}}x',
        b"{%d",
    ],
)
def test_both_roads_read_the_same(payload: bytes) -> None:
    payloads = [FIRST, payload % (START + 1000)]
    assert judge(payloads) == judge(payloads, GENERAL)


@pytest.mark.parametrize("ts", [b"", b'"ts":-1,', b'"ts":-5,', b'"ts":0,', b'"ts":null,'])
@pytest.mark.parametrize("received", [START + 10_000, -1, 253_402_300_799_999, 253_402_300_800_000])
def test_both_roads_time_the_same(ts: bytes, received: int) -> None:
    payloads = [FIRST, b"{%b" % ts + b'"metrics":{"temperature":9,"pressure":2}}']
    records = [Written(b"press-7", FIRST, 0, START, [("t", b"telemetry")])]
    records += [Written(b"press-7", payloads[1], 1, received, [("t", b"telemetry")])]
    quick, general = (Engine(RULES, partition=0, limits=limits, jit=False) for limits in (None, GENERAL))
    for record in records:
        assert quick.advance([record]) == general.advance([record])


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_both_roads_read_mutilated_messages_the_same(seed: int) -> None:
    chance = random.Random(seed)
    payloads = [FIRST]
    for n in range(8):
        value = {
            "ts": START + n,
            "seq": n,
            "metrics": {"temperature": chance.choice([1, 9.5]), "pressure": 2},
        }
        text = bytearray(json.dumps(value).encode())
        for _ in range(chance.randrange(3)):
            text[chance.randrange(len(text))] = chance.choice(b'{}[]":,0123456789.e-nt \\ax\xff')
        payloads.append(bytes(text))
    assert judge(payloads) == judge(payloads, GENERAL)


def test_a_payload_beyond_the_bound_is_refused_though_it_is_of_the_usual_kind() -> None:
    _, outcome = judge([FIRST, FIRST[:-1] + b" " * 64 + b"}"], Limits(payload_bytes=100))
    assert [letter.reason.value for letter in outcome.dead] == ["oversize"]


def test_a_message_of_more_metrics_than_a_lowered_limit_allows_is_refused() -> None:
    values = (FIRST.replace(b'"seq":1', b'"seq":%d' % n) for n in (1, 2))
    first, later = (
        Written(b"press-7", each, n, START + 10_000, [("t", b"telemetry")]) for n, each in enumerate(values)
    )
    one = Engine(RULES, partition=0, jit=False)
    one.advance([first])
    lowered = Engine.load(one.dump(), RULES, partition=0, limits=Limits(metrics=1), jit=False)
    assert [dead.detail for dead in lowered.advance([later]).dead] == ["2 metrics, at most 1"]
