"""The books: what Kafka holds against what was sent, what the workers told against a quiet run.

And against what was reckoned without any engine.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from processor.engine import Engine
from processor.flow.state import recall
from processor.model import Counts
from processor.rules import parse_rules
from processor.settings import load
from tests.durability.samples import METRICS, RULES, Sort, asset_id, turns
from tests.support.kafka import Kafka, Read, read_all

_GENERATION = re.compile(r"generation (\d+) of the group: judging")
_LONG = 300.0


class Seen(msgspec.Struct, frozen=True):
    """What must have happened for a run to count, and how often it did."""

    bridge_duplicates: int
    replays: int
    rebalances: int


class Book(msgspec.Struct, frozen=True):
    """What came out.

    Attributes:
        sent: samples that the broker accepted and that are to be judged.
        counts: of the workers' last snapshots; `quiet` of the quiet run's.
        in_kafka: samples in Kafka, repeats included, as parsed here.
        events: distinct case events.
        written: case events in Kafka, repeats included.
        evils: what was done.
        seen: what came of it.
        faults: what does not add up; a run is good when there is none.
    """

    sent: int
    in_kafka: int
    counts: dict[str, int]
    quiet: dict[str, int]
    events: int
    written: int
    seen: Seen
    evils: dict[str, int]
    faults: list[str]
    seconds: float = 0.0
    seed: int = 0


class Road(msgspec.Struct, frozen=True):
    """The way from the devices to Kafka.

    Attributes:
        telemetry: what Kafka holds.
        attempts: how often each message was handed to the broker, by (asset, payload).
        accepted: messages that the broker accepted.
    """

    telemetry: list[Read]
    attempts: Mapping[tuple[str, bytes], int]
    accepted: Mapping[Sort, int]


class Side(msgspec.Struct, frozen=True):
    """What one group of workers left: case events and memory, by partition."""

    cases: list[Read]
    memory: dict[int, bytes]
    dead: list[Read]


def read_side(kafka: Kafka, settings: Path) -> Side:
    """Everything that the workers of these settings left in Kafka."""
    found = load(settings)
    known = recall(found.kafka, found.topics, range(found.topics.partitions))
    memory = {}
    for number, one in known:
        if one.snapshot is None or one.snapshot.offset != one.end:
            raise AssertionError(f"partition {number}: {one.snapshot and one.snapshot.offset} of {one.end}")
        memory[number] = bytes(one.snapshot.memory)
    topics = found.topics
    return Side(
        read_all(kafka, topics.cases, timeout=_LONG), memory, read_all(kafka, topics.dead, timeout=_LONG)
    )


def _engines(side: Side, settings: Path) -> Iterator[Engine]:
    rules, limits = parse_rules(RULES), load(settings).engine
    for number, memory in side.memory.items():
        yield Engine.load(memory, rules, partition=number, limits=limits, jit=False)


def total(side: Side, settings: Path) -> Counts:
    """Samples by what became of them, all partitions together."""
    whole = Counts()
    for engine in _engines(side, settings):
        whole = whole.plus(engine.counts)
    return whole


def counters(side: Side, settings: Path) -> dict[tuple[str, str], int]:
    """Samples judged so far, by asset and metric: the counter that every series keeps for its evidence."""
    found: dict[tuple[str, str], int] = {}
    for engine in _engines(side, settings):
        index = engine.index
        for series in range(index.series_count):
            asset, target, name = index.of(series)
            if target == "metric":
                found[asset, name] = int(index.places[series])
    return found


def blocks_of_repeats(cases: Sequence[Read]) -> int:
    """How often work was repeated: stretches of a partition's case events that had been told before."""
    found, seen, inside = 0, set[bytes](), dict[int, bool]()
    for record in sorted(cases, key=lambda each: (each.partition, each.offset)):
        value = record.value or b""
        again = value in seen
        found += again and not inside.get(record.partition, False)
        inside[record.partition] = again
        seen.add(value)
    return found


def generations(logs: Sequence[Path]) -> set[int]:
    """Generations of the group in which a worker judged."""
    return {int(each) for log in logs for each in _GENERATION.findall(log.read_text(errors="replace"))}


def by_id(cases: Sequence[Read]) -> dict[str, set[bytes]]:
    """The bytes told under each event id; more than one is a fault."""
    found: dict[str, set[bytes]] = {}
    for record in cases:
        value = record.value or b""
        found.setdefault(msgspec.json.decode(value)["id"], set()).add(value)
    return found


def balance(
    *,
    road: Road,
    chaos: tuple[Side, Path],
    quiet: tuple[Side, Path],
    fleet: tuple[int, int],
    logs: Sequence[Path],
    evils: Mapping[str, int],
    least: Seen,
) -> Book:
    """Close the books.

    Args:
        road: what was sent and what came to Kafka.
        chaos: what the tormented workers left, and their settings.
        quiet: the same of one worker that was left alone.
        fleet: assets, and messages of each that are to be judged.
        logs: of the workers.
        evils: what was done to them.
        least: what must have been seen for the run to count.
    """
    assets, per_asset = fleet
    faults: list[str] = []

    def must(what: str, found: Any, expected: Any) -> None:  # noqa: ANN401 - whatever is compared
        if found != expected:
            faults.append(f"{what}: {_short(found)}, expected {_short(expected)}")

    held = Counter(((one.key or b"").decode(), one.value or b"") for one in road.telemetry if one.key)
    must("messages that never came to Kafka", sum(1 for each in road.attempts if each not in held), 0)
    must("messages in Kafka that nobody sent", sum(1 for each in held if each not in road.attempts), 0)
    duplicates = sum(max(0, count - road.attempts.get(each, 0)) for each, count in held.items())
    garbage = sum(count for (_, value), count in held.items() if value.endswith(b":"))
    in_kafka = METRICS * (sum(held.values()) - garbage) + garbage

    sent = road.accepted[Sort.SAMPLE] * METRICS
    must("messages that the broker accepted", road.accepted[Sort.SAMPLE], assets * per_asset)
    counts, calm = total(*chaos), total(*quiet)
    must("samples judged", counts.judged, sent)
    must("dead", counts.dead, garbage)
    must("received", counts.received, in_kafka)
    must("judged + dead + late + duplicate + conflict", sum(counts[1:]), in_kafka)
    must("still held", counts.held, 0)
    must("counts, against the quiet run", counts, calm)
    wrong = {name: n for name, n in counters(*chaos).items() if n != per_asset}
    must("counters of single series that are wrong", wrong, {})
    must("series", len(counters(*chaos)), assets * METRICS)
    for number, memory in quiet[0].memory.items():
        must(
            f"what in the memory of partition {number} is unlike",
            _unlike(chaos[0].memory[number], memory),
            [],
        )

    told, calmly = by_id(chaos[0].cases), by_id(quiet[0].cases)
    must(
        "event ids told with different bytes", [each for each, values in told.items() if len(values) > 1], []
    )
    must("events missing", sorted(set(calmly) - set(told)), [])
    must("events too many", sorted(set(told) - set(calmly)), [])
    must("events with other bytes", [each for each in told if told[each] != calmly.get(each)], [])
    must("events of `hot`, against what was reckoned", _told_of_hot(told), _reckoned(assets, per_asset))
    must("silence", [each for each in told.values() if b'"id":"silent"' in next(iter(each))], [])
    letters = {one.headers["origin"] for one in chaos[0].dead}
    must("records with a dead letter", len(letters), garbage)

    seen = Seen(duplicates, blocks_of_repeats(chaos[0].cases), max(0, len(generations(logs)) - 1))
    faults += [
        f"does not count: {name} {getattr(seen, name)}, at least {getattr(least, name)}"
        for name in Seen.__struct_fields__
        if getattr(seen, name) < getattr(least, name)
    ]
    return Book(
        sent, in_kafka, counts._asdict(), calm._asdict(), len(told), len(chaos[0].cases), seen,
        dict(sorted(evils.items())), faults,
    )  # fmt: skip


def _unlike(memory: bytes, other: bytes) -> list[str]:
    """Names of the parts of two memories that differ."""
    one, two = msgspec.msgpack.decode(memory), msgspec.msgpack.decode(other)
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def _told_of_hot(told: Mapping[str, set[bytes]]) -> set[tuple[str, str, int]]:
    found = set()
    for values in told.values():
        event = msgspec.json.decode(next(iter(values)))
        if event["data"]["rule"]["id"] == "hot":
            at = round(datetime.fromisoformat(event["time"]).timestamp() * 1000)
            found.add((event["subject"], event["type"].split(".")[2], at))
    return found


def _reckoned(assets: int, per_asset: int) -> set[tuple[str, str, int]]:
    return {(asset_id(asset), turn, t) for asset in range(assets) for turn, t in turns(asset, per_asset)}


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) < 300 else f"{len(value) if hasattr(value, '__len__') else ''} {shown[:300]}…"
