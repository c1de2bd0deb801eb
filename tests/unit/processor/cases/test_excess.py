import json

import pytest

from processor.cases.excess import DEAD_LETTERS, SERIES, Excess
from processor.engine import Engine, Limits
from processor.errors import DeadReason
from processor.model import Dead
from processor.rules import parse_rules
from tests.support.contracts import holds
from tests.support.telemetry import START, payload, rules_text, sent

DAY = 86_400_000
RULES = parse_rules(rules_text("{threshold: {above: 80}}"))


def excess(dead_letters: int = 3) -> Excess:
    return Excess(series=4, dead_letters=dead_letters)


def garbage(asset: str, received: int) -> Dead:
    return Dead(payload(asset, b"garbage", received=received), DeadReason.MALFORMED, "")


def test_an_asset_that_invents_metrics_is_found_once_and_no_other_asset_is() -> None:
    engine = Engine(RULES, partition=0, limits=Limits(series=4), jit=False)
    records = [sent("a", START + n * 1000, temperature=1, **{f"m{n}": 1}) for n in range(9)]
    outcome = engine.advance([*records, sent("b", START, temperature=1)])
    (found,) = excess(dead_letters=9).find(outcome.dead)
    event = json.loads(found.value)
    assert (event["subject"], event["data"]["rule"]["id"], event["data"]["expected"]) == ("a", SERIES, 4)
    assert event["type"] == "assetgate.security.opened.v1"
    assert holds("case-event", event)


def test_a_flood_of_dead_letters_within_an_hour_is_found_and_as_many_over_a_day_are_not() -> None:
    start = START // DAY * DAY
    hourly = [garbage("a", start + n * 3_600_000) for n in range(20)]
    assert excess().find(hourly) == []
    (found,) = excess().find([garbage("a", start + n) for n in range(20)] + [garbage("b", start)])
    assert (found.key, found.rule) == (b"a", DEAD_LETTERS)
    assert holds("case-event", json.loads(found.value))


@pytest.mark.parametrize("cut", [4, 5, 9, 19])
def test_a_replay_raises_the_same_event_whenever_it_begins(cut: int) -> None:
    letters = [garbage("a", START + n) for n in range(20)]
    whole = excess().find(letters)
    one = excess()
    assert one.find(letters[:cut]) + one.find(letters[cut:]) == whole
    assert excess().find(letters[:4] + letters) == whole


def test_the_next_day_it_is_told_again_as_another_case() -> None:
    one = excess()
    first = one.find([garbage("a", START + n) for n in range(4)])
    second = one.find([garbage("a", START + DAY + n) for n in range(4)])
    assert len(first) == len(second) == 1
    assert json.loads(first[0].value)["data"]["caseId"] != json.loads(second[0].value)["data"]["caseId"]


def test_a_record_without_a_good_key_is_nobodys_excess() -> None:
    letters = [
        Dead(payload("a", b"", received=START), DeadReason.KEY_MISSING, ""),
        Dead(payload("a", b"", received=START)._replace(key=None), DeadReason.MALFORMED, ""),
    ]
    assert excess().find(letters * 9) == []
