"""Events of one sample come in the order of the rules' ids, whatever has been restarted or forgotten."""

from collections.abc import Sequence

from processor.engine import Engine
from processor.model import CaseEvent
from processor.rules import parse_rules
from processor.rules.schedule import GRACE
from tests.support.telemetry import START, beat, sent

RULE = (
    "  - {{id: {id}, kind: case, severity: low, title: t, select: {select}, {more} detect: {{{detect}}}}}\n"
)


def rules(*ids: str, detect: str = "threshold: {above: 50}", more: str = "") -> str:
    whole = detect.startswith("silence")
    select = '{assets: ["*"]}' if whole else "{metric: m}"
    return "rules:\n" + "".join(RULE.format(id=i, select=select, more=more, detect=detect) for i in ids)


def told(events: Sequence[CaseEvent]) -> list[str]:
    return [f"{event.rule} {event.type.split('.')[2]}" for event in events]


def restarted(engine: Engine) -> Engine:
    return Engine.load(engine.dump(), engine.schedule, partition=0, jit=False)


def test_of_one_sample_by_the_id_of_the_rule_not_by_its_place_in_the_file() -> None:
    engine = Engine(parse_rules(rules("z", "b", "a")), partition=0, jit=False)
    assert told(engine.advance([sent("x", START, m=90)]).events) == ["a opened", "b opened", "z opened"]
    assert told(engine.advance([sent("x", START + 1, m=9)]).events) == ["a closed", "b closed", "z closed"]


def test_the_same_while_there_is_an_older_set_and_after_it_is_forgotten() -> None:
    engine = Engine(parse_rules(rules("m")), partition=0, jit=False)
    engine.advance([sent("x", START, m=9)])
    engine = engine.under(engine.plan(parse_rules(rules("z", "a", "m")))[0])
    order = ["a", "m", "z"]
    for step in (1, 2):
        t = START + step * 10_000
        opened = engine.advance([sent("x", t, m=90)]).events
        closed = engine.advance([sent("x", t + 1, m=9)]).events
        assert [event.rule for event in opened] == [event.rule for event in closed] == order
        assert len(engine.schedule.eras) == 3 - step
        engine = engine.under(engine.schedule.since(START + GRACE))


def test_what_had_to_hold_comes_in_that_order_too_whichever_began_first_and_after_a_restart() -> None:
    text = rules("z", more="for: 5s,") + RULE.format(
        id="a", select="{metric: m}", more="for: 4s,", detect="threshold: {above: 60}"
    )
    for again in (False, True):
        engine = Engine(parse_rules(text), partition=0, jit=False)
        engine.advance([sent("x", START, m=55), sent("x", START + 1000, m=90)])
        engine = restarted(engine) if again else engine
        assert told(engine.advance([sent("x", START + 9000, m=90)]).events) == ["a opened", "z opened"]


def test_what_ends_with_an_older_set_is_closed_in_that_order() -> None:
    for again in (False, True):
        engine = Engine(parse_rules(rules("z", "b", "a")), partition=0, jit=False)
        engine.advance([sent("x", START, m=90)])
        engine = engine.under(engine.plan(parse_rules(rules("new")))[0])
        engine = restarted(engine) if again else engine
        closed = engine.advance([sent("x", START + 10_000, m=9)]).events
        assert told(closed) == ["a closed", "b closed", "z closed"]


def test_what_the_clock_finds_comes_in_that_order() -> None:
    text = rules("z", "b", "a", detect="silence: {after: 3s}")
    engine = Engine(parse_rules(text), partition=0, jit=False)
    engine.advance([beat(START), sent("x", START, m=1), sent("y", START, m=1)])
    events = engine.advance([beat(START + second * 1000) for second in range(1, 9)]).events
    for asset in (b"x", b"y"):
        opened = [event for event in events if event.key == asset]
        assert told(opened) == ["a opened", "b opened", "z opened"]
