"""The watch keeps to the contracts it shares with devices, the gate and consumers."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor.cases.episode import Episode, Phase, Turn
from processor.cases.event import make_event
from processor.cases.finding import Evidence, Finding
from processor.codec.formats import Codec
from processor.errors import DeadLetter
from processor.limits import Limits
from processor.rules import load_rules
from processor.rules.ruleset import Rule
from tests.support.contracts import CONTRACTS, TOPICS, holds

ASSET = "02iAB00000CdEfGYAV"
RECEIVED = 1_772_359_205_250
RULES = load_rules(CONTRACTS.parent / "demo" / "rules.yaml").rules
CODEC = Codec(Limits(payload_bytes=100_000, messages=100, metrics=100, clock_ahead=5))

NAMES = st.one_of(
    st.from_regex(TOPICS["identifiers"]["metric"]["pattern"], fullmatch=True),
    st.sampled_from([*TOPICS["identifiers"]["metric"]["bad"], "x" * 64, "x" * 65]),
)
NUMBERS = st.one_of(
    st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)
ANYTHING = st.one_of(NUMBERS, st.none(), st.text(max_size=3), st.lists(st.integers(), max_size=1))
VALUES = st.one_of(
    NUMBERS,
    ANYTHING,
    st.fixed_dictionaries(
        {"v": ANYTHING}, optional={"u": st.sampled_from(["%", "", "u" * 32, "u" * 33, 7, None])}
    ),
    st.fixed_dictionaries({"v": NUMBERS, "unit": st.just("%")}),
)
TIMES = st.one_of(
    st.integers(-1, RECEIVED),
    st.sampled_from(
        ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00.250+01:00", "2026-03-01T10:00:00", "noon", 1.5, None]
    ),
)
MESSAGES = st.fixed_dictionaries(
    {"metrics": st.dictionaries(NAMES, VALUES, max_size=3)},
    optional={
        "ts": TIMES,
        "seq": st.sampled_from([0, 7, -1, 2**53 - 1, 2**53, 1.5, "7", None]),
        "asset": st.one_of(st.just(ASSET), st.integers()),
        "firmware": ANYTHING,
    },
)


def reads(tail: bytes, payload: object) -> bool:
    try:
        CODEC.read(tail, json.dumps(payload).encode(), RECEIVED, ASSET)
    except DeadLetter:
        return False
    return True


@given(st.one_of(MESSAGES, st.lists(MESSAGES, max_size=2), ANYTHING))
@example({"metrics": {"x" * 64: 1}})
@example({"metrics": {"x" * 65: 1}})
@example({"metrics": {"toner": {"v": 1, "u": "u" * 32}}})
@example({"metrics": {"toner": {"v": 1, "u": "u" * 33}}})
@example([{"metrics": {"toner": 1}}, {"metrics": {}}])
def test_telemetry_is_read_exactly_when_it_is_as_the_contract_says(payload: object) -> None:
    assert reads(b"telemetry", payload) == holds("telemetry", payload)


@given(st.one_of(VALUES, MESSAGES))
@example({"v": 1, "u": "u" * 32})
@example({"v": 1, "u": "u" * 33})
def test_a_metrics_own_topic_is_read_exactly_when_it_is_as_the_contract_says(payload: object) -> None:
    assert reads(b"telemetry/toner", payload) == holds("telemetry", payload, "/$defs/metricMessage")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "ts": TIMES,
            "data": st.one_of(st.dictionaries(st.text(max_size=3), ANYTHING, max_size=2), ANYTHING),
            "seq": st.sampled_from([0, -1, 2**53 - 1, 2**53]),
        },
    )
)
def test_a_device_event_is_read_exactly_when_it_is_as_the_contract_says(payload: object) -> None:
    assert reads(b"events/supply_low", payload) == holds("device-event", payload)


@pytest.mark.parametrize("name", TOPICS["identifiers"]["eventType"]["good"])
def test_an_events_type_of_the_grammar_is_read(name: str) -> None:
    assert reads(b"events/" + name.encode(), {})


@pytest.mark.parametrize("name", TOPICS["identifiers"]["eventType"]["bad"])
def test_an_events_type_outside_the_grammar_is_not(name: str) -> None:
    assert not reads(b"events/" + name.encode(), {})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
@pytest.mark.parametrize("turn", Turn)
def test_every_case_event_is_as_the_contract_says(rule: Rule, turn: Turn) -> None:
    evidence = (Evidence("temperature", RECEIVED - 500, 93.5),)
    finding = Finding("temperature", 93.5, 85.0, 8.5, "°C", "above its limit", evidence)
    episode = Episode(RECEIVED - 500, Phase.OPEN, RECEIVED, RECEIVED, finding)
    event = make_event(ASSET, rule, turn, RECEIVED, episode)
    assert holds("case-event", json.loads(event.value))
    assert event.key == ASSET.encode()
