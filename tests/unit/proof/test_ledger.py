"""The books of ``make test-durability`` notice what they are kept for."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from processor.engine import Engine
from processor.flow.letters import dead_record
from processor.rules import parse_rules
from processor.settings import load
from tests.durability.ledger import Book, Road, Seen, Side, balance, blocks_of_repeats
from tests.durability.samples import RULES, Sort, asset_id, messages
from tests.support.kafka import Read

ASSETS, PER_ASSET = 7, 40
NOTHING = Seen(0, 0, 0)


class Taken(NamedTuple):
    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int
    headers: list[tuple[str, bytes]]


def sent() -> tuple[list[Read], Counter[tuple[str, bytes]], Counter[Sort]]:
    """What the fleet sends, in Kafka without any repeat."""
    held: list[Read] = []
    attempts: Counter[tuple[str, bytes]] = Counter()
    accepted: Counter[Sort] = Counter()
    for seq in range(PER_ASSET):
        for asset in range(ASSETS):
            for each in messages(asset, seq):
                key = each.asset.encode()
                held.append(Read(0, len(held), 1_790_000_000_000, key, each.payload, {"t": b"telemetry"}))
                attempts[each.asset, each.payload] += 1
                accepted[each.sort] += 1
    return held, attempts, accepted


def judge(telemetry: list[Read], settings: Path) -> Side:
    """What a worker makes of it."""
    engine, topics = Engine(parse_rules(RULES), partition=0, jit=False), load(settings).topics
    outcome = engine.advance(
        [Taken(r.key, r.value, r.offset, r.timestamp, list(r.headers.items())) for r in telemetry]
    )
    cases = [Read(0, n, 0, event.key, event.value, {}) for n, event in enumerate(outcome.events)]
    letters = [dead_record(topics, 0, one.record, one.reason, one.detail) for one in outcome.dead]
    dead = [Read(0, n, 0, one.key, one.value, dict(one.headers or [])) for n, one in enumerate(letters)]
    return Side(cases, {0: engine.dump()}, dead)


def keep(telemetry: list[Read], chaos: Callable[[Side], Side], tmp_path: Path, least: Seen = NOTHING) -> Book:
    settings = tmp_path / "processor.toml"
    settings.write_text("")
    _, attempts, accepted = sent()
    quiet = judge(telemetry, settings)
    return balance(
        road=Road(telemetry, attempts, accepted), chaos=(chaos(quiet), settings), quiet=(quiet, settings),
        fleet=(ASSETS, PER_ASSET), logs=[], evils={}, least=least,
    )  # fmt: skip


def same(side: Side) -> Side:
    return side


def tell_again(side: Side) -> Side:
    """The first nine events once more."""
    more = [Read(0, len(side.cases) + n, 0, one.key, one.value, {}) for n, one in enumerate(side.cases[:9])]
    return Side(side.cases + more, side.memory, side.dead)


def test_books_of_what_was_told_once_or_told_again_balance(tmp_path: Path) -> None:
    telemetry, _, accepted = sent()
    assert all(accepted[sort] for sort in Sort)
    assert keep(telemetry, same, tmp_path).faults == []
    again = keep(telemetry, tell_again, tmp_path)
    assert again.faults == []
    assert again.written - again.events == 9
    assert again.seen.replays == 1


def test_a_record_that_came_to_kafka_twice_is_a_duplicate_of_the_bridge(tmp_path: Path) -> None:
    telemetry, _, _ = sent()
    book = keep(telemetry + telemetry[-1:], same, tmp_path)
    assert book.faults == []
    assert book.seen.bridge_duplicates == 1


def test_a_lost_message_a_lost_event_another_byte_and_another_count_are_faults(tmp_path: Path) -> None:
    telemetry, _, _ = sent()
    lost = keep(telemetry[:50] + telemetry[51:], same, tmp_path)
    assert any(fault.startswith("messages that never came") for fault in lost.faults)

    def forget(side: Side) -> Side:
        return Side(side.cases[1:], side.memory, side.dead)

    def twist(side: Side) -> Side:
        first = side.cases[0]
        value = (first.value or b"").replace(b'"severity":"', b'"severity":"x')
        return Side([Read(0, 0, 0, first.key, value, {}), *side.cases[1:]], side.memory, side.dead)

    def count_twice(side: Side) -> Side:
        settings = tmp_path / "processor.toml"
        return Side(side.cases, judge(telemetry + telemetry[:1], settings).memory, side.dead)

    def bury_nothing(side: Side) -> Side:
        return Side(side.cases, side.memory, [])

    for spoil, found in (
        (forget, "events missing"),
        (twist, "events with other bytes"),
        (count_twice, "counts, against the quiet run"),
        (bury_nothing, "records with a dead letter"),
    ):
        assert any(fault.startswith(found) for fault in keep(telemetry, spoil, tmp_path).faults), found


def test_a_run_in_which_too_little_went_wrong_does_not_count(tmp_path: Path) -> None:
    telemetry, _, _ = sent()
    book = keep(telemetry, same, tmp_path, least=Seen(20, 3, 3))
    assert [fault.split(" ")[3] for fault in book.faults] == ["bridge_duplicates", "replays", "rebalances"]


@pytest.mark.parametrize(("told", "blocks"), [("abc", 0), ("abcbc", 1), ("abcbcdbcd", 2), ("aaa", 1)])
def test_a_stretch_of_repeats_is_one_replay(told: str, blocks: int) -> None:
    assert blocks_of_repeats([Read(0, n, 0, None, c.encode(), {}) for n, c in enumerate(told)]) == blocks


def test_assets_have_ids_of_the_issuers_form() -> None:
    assert len(asset_id(1999)) == 18
