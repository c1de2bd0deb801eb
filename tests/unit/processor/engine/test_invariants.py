"""What must hold for any stream: cuts, order, crashes and compilation change nothing; no sample is lost."""

import itertools
import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.engine import Engine, Limits
from processor.flow.snapshot import Encoder, decode
from processor.model import CaseEvent, Counts
from processor.rules import RuleSet, parse_rules
from tests.support.telemetry import START, Written, beat, event, payload, sent, unstamped

TEXT = """
rules:
  - {id: hot, kind: case, severity: high, title: t, select: {metric: a}, for: 3s, clear: 2s,
     detect: {threshold: {above: 5, hysteresis: 2}}}
  - {id: quick, kind: case, severity: low, title: t, select: {metric: a}, detect: {threshold: {below: 2}}}
  - {id: stuck, kind: case, severity: low, title: t, select: {metric: b}, detect: {stuck: {over: 4s}}}
  - {id: rate, kind: case, severity: low, title: t, select: {metric: b},
     detect: {rate: {rising: 3, per: 1s, window: 4s}}}
  - {id: odd, kind: case, severity: low, title: t, select: {metric: b},
     detect: {ewma: {deviations: 2, window: 8s, samples: 4}}}
  - {id: empty, kind: opportunity, severity: low, title: t, select: {metric: a},
     detect: {forecast: {reaches: 0, within: 10s, window: 5s, samples: 4}}}
  - {id: silent, kind: case, severity: low, title: t, for: 1s, clear: 1s, detect: {silence: {after: 4s}}}
  - {id: says, kind: opportunity, severity: low, title: t, select: {event: low}, detect: {event: {quiet: 5s}}}
"""
RULES = parse_rules(TEXT)
#: Another rule in front: rows and series lie elsewhere, and the rules after it have other numbers.
MORE = parse_rules(
    TEXT.replace(
        "rules:",
        "rules:\n  - {id: more, kind: case, severity: low, title: t, select: {metric: b, assets: [x]},\n"
        "     detect: {threshold: {above: 100}}}",
    )
)
LATENESS = 3


def without_time(chance: random.Random, asset: str, second: int) -> Written:
    """One of several with one time of receipt, which at times goes back; at times written back."""
    received = START + (second - chance.choice([0, 0, 0, 2, 9])) * 1000
    if chance.random() < 0.2:
        return payload(asset, b"%d" % chance.randrange(9), received=received, tail=b"telemetry/a")
    metrics = {name: chance.choice([0, 1, 4, 6, 9]) for name in chance.choice(["ab", "ba", "a", "abc"])}
    seq = chance.randrange(100) if chance.random() < 0.5 else None
    return unstamped(asset, received, seq=seq, replay=chance.random() < 0.1, **metrics)


@st.composite
def streams(draw: st.DrawFn) -> list[Written]:
    """Two assets that report about once a second, with repeats, gaps, events, garbage and heartbeats.

    Some samples have no time of their own; the bridge's clock may be set on the way, and set back.
    """
    chance = random.Random(draw(st.integers(0, 2**32)))
    records: list[Written] = []
    wrong = 0
    for second in range(draw(st.integers(1, 25))):
        if chance.random() < 0.1:
            wrong = chance.choice([0, 5_000, 600_000])
        for asset in ("x", "y"):
            if chance.random() < 0.3:
                continue
            t = START + second * 1000 + chance.randrange(0, 900, 100)
            metrics = {
                name: chance.choice([0, 1, 4, 6, 9]) for name in chance.choice(["ab", "ba", "a", "abc"])
            }
            records.append(
                sent(asset, t, seq=second if chance.random() < 0.5 else None, received=t, **metrics)
            )
            if chance.random() < 0.3:
                records += [without_time(chance, asset, second) for _ in range(chance.randrange(1, 6))]
            if chance.random() < 0.1:
                records.append(event(asset, t, "low"))
            if chance.random() < 0.1:
                records.append(payload(asset, b"garbage"))
            if chance.random() < 0.2:
                records.append(records[chance.randrange(len(records))])
        if chance.random() < 0.9:
            records.append(beat(START + second * 1000 + 950 + wrong))
    return records


def run(
    records: Sequence[Written], cuts: Sequence[int], *, rules: RuleSet = RULES, crash: bool = False,
    jit: bool = True, lateness: float = LATENESS,
) -> tuple[list[CaseEvent], Counts, bytes]:  # fmt: skip
    limits = Limits(lateness=lateness)
    engine = Engine(rules, partition=0, limits=limits, jit=jit)
    events: list[CaseEvent] = []
    edges = [0, *sorted(cut % (len(records) + 1) for cut in cuts), len(records)]
    for turn, (start, end) in enumerate(itertools.pairwise(edges)):
        if crash:
            # What came in a snapshot is taken over where it lies; what cannot be written to is copied.
            kept = engine.dump() if turn % 2 else decode(Encoder().encode(0, "", engine.pieces()), "").memory
            engine = Engine.load(kept, rules, partition=0, limits=limits, jit=jit)
        outcome = engine.advance(records[start:end])
        assert outcome.counts.balanced
        events += outcome.events
    assert engine.counts.balanced
    assert engine.rows["held"] == engine.counts.held >= 0
    return sorted(events), engine.counts, engine.dump()


cutting = st.lists(st.integers(0, 200), max_size=6)


@settings(max_examples=80, deadline=None)
@given(records=streams(), cuts=cutting, lateness=st.sampled_from([0, 1, LATENESS]))
def test_cutting_a_stream_into_runs_changes_nothing(
    records: list[Written], cuts: list[int], lateness: int
) -> None:
    assert run(records, cuts, lateness=lateness) == run(records, [], lateness=lateness)


@settings(max_examples=60, deadline=None)
@given(records=streams(), cuts=cutting)
def test_a_crash_between_runs_changes_nothing(records: list[Written], cuts: list[int]) -> None:
    assert run(records, cuts, crash=True) == run(records, cuts)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), cuts=cutting, lateness=st.sampled_from([0, 1, LATENESS]), crash=st.booleans()
)
def test_of_what_has_no_time_of_its_own_nothing_is_set_aside(
    seed: int, cuts: list[int], lateness: int, *, crash: bool
) -> None:
    chance = random.Random(seed)
    records = []
    for second in range(20):
        records += [without_time(chance, chance.choice("xy"), second) for _ in range(chance.randrange(9))]
        records.append(beat(START + second * 1000))
    records = [each for each in records if ("replay", b"dead/0/1") not in each.headers]
    _, counts, _ = run(records, cuts, lateness=lateness, crash=crash)
    assert counts.received == counts.judged + counts.held


@settings(max_examples=40, deadline=None)
@given(records=streams(), cut=st.integers(0, 200))
def test_a_rule_that_joins_changes_nothing_for_those_that_stay(records: list[Written], cut: int) -> None:
    limits = Limits(lateness=LATENESS)
    first = Engine(RULES, partition=0, limits=limits)
    at = cut % (len(records) + 1)
    events = first.advance(records[:at]).events
    joined = Engine.load(first.dump(), MORE, partition=0, limits=limits)
    events += joined.advance(records[at:]).events
    assert (sorted(events), joined.counts) == run(records, [])[:2]


@settings(max_examples=40, deadline=None)
@given(records=streams(), cuts=cutting)
def test_compiled_and_plain_engines_tell_the_same(records: list[Written], cuts: list[int]) -> None:
    compiled, plain = (run(records, cuts, jit=jit) for jit in (True, False))
    assert compiled[:2] == plain[:2]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), lateness=st.integers(1, 4))
def test_any_order_of_arrival_within_the_lateness_tells_the_same(seed: int, lateness: int) -> None:
    chance = random.Random(seed)
    times = sorted({START + chance.randrange(40_000) for _ in range(40)})
    inside = [
        sent("x", t, received=START + 60_000, a=chance.choice([0, 4, 6, 9]), b=chance.random()) for t in times
    ]
    # Each record is moved by less than the lateness: it still comes before anything that much newer.
    moved = sorted(
        zip(times, inside, strict=True), key=lambda pair: pair[0] + chance.uniform(0, lateness * 999)
    )
    end = [sent("x", times[-1] + 60_000, received=START + 120_000, a=3, b=0.5)]
    shuffled = run([record for _, record in moved] + end, [], lateness=lateness)
    assert shuffled[:2] == run(inside + end, [], lateness=lateness)[:2]
    assert shuffled[1].late == 0


@settings(max_examples=80, deadline=None)
@given(records=streams())
def test_every_case_is_opened_once_and_closed_at_most_once_after_it(records: list[Written]) -> None:
    events, _, _ = run(records, [])
    assert len({event.id for event in events}) == len(events)
    opened: dict[bytes, int] = {}
    closed: dict[bytes, int] = {}
    for each in events:
        case = each.value.split(b'"caseId":"')[1][:36]
        told = opened if ".opened." in each.type else closed
        assert case not in told
        told[case] = each.time
    assert all(case in opened and opened[case] <= t for case, t in closed.items())


HOSTILE = st.builds(
    Written,
    key=st.none() | st.sampled_from([b"x", b"y", b"", b"bad key", b"\xff" * 70]),
    value=st.none()
    | st.binary(max_size=40)
    | st.sampled_from(
        [
            b'{"metrics":{"a":1e308}}',
            b'{"metrics":{"a":-1e308,"b":1}}',
            b'[{"ts":0,"metrics":{"c":true}}]',
            b'{"ts":1}',
            b'{"ts":253402300799999,"metrics":{"a":9}}',
        ]
    ),
    offset=st.just(0),
    timestamp=st.sampled_from([START, START + 1000, 0, -1, 253_402_300_799_999, 2**63 - 1]),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["t", "hb", "x"]), st.sampled_from([b"telemetry", b"events/low", b"", b"\xff"])
        ),
        max_size=2,
    ),
)


@settings(max_examples=300, deadline=None)
@given(records=st.lists(HOSTILE, max_size=20))
def test_no_input_stops_the_engine_and_every_record_is_accounted_for(records: list[Written]) -> None:
    outcome = Engine(RULES, partition=0).advance(records)
    assert outcome.counts.balanced
