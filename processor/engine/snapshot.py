"""A partition's memory as bytes, and back: versioned, tied to rules by id and detector, never by place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from processor.cases.casebook import Condition
from processor.cases.episode import Episode
from processor.detect.detector import Target
from processor.engine.bank import Array, Bank
from processor.engine.order import POOL
from processor.errors import StreamError
from processor.model import Counts

if TYPE_CHECKING:
    from processor.engine.index import Index
    from processor.engine.partition import Engine

#: What was taken in once is taken over, whatever the bound is now.
_UNBOUNDED = 1 << 31
#: Version of the format; raised with every change that older code cannot read.
VERSION = 2


class _Bank(msgspec.Struct, frozen=True):
    detector: str
    state: list[tuple[str, str]]
    rules: list[str]
    rows: bytes
    flags: bytes
    rule: bytes
    series: bytes


class _Memory(msgspec.Struct, frozen=True):
    version: int
    partition: int
    rules: str
    rule_ids: list[str]
    evidence: int
    clock: dict[str, Any]
    counts: tuple[int, ...]
    ids: list[str]
    shapes: list[tuple[str, ...]]
    shape: list[int]
    series: list[tuple[int, str, str]]
    assets: bytes
    samples: bytes
    recent: bytes
    places: bytes
    pool: bytes
    units: dict[int, str]
    banks: list[_Bank]
    episodes: list[tuple[int, int, Episode]]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Memory)


class _Head(msgspec.Struct, frozen=True):
    version: int


def dump(engine: Engine) -> bytes:
    """Everything `restore` needs to continue as if nothing had happened."""
    index = engine.index
    count, assets = index.series_count, len(index.ids)
    shapes: dict[tuple[str, ...], int] = {}
    rows = index.assets[:assets].copy()
    # Where the waiting samples lie is no state: they are written in their order and find new places.
    rows["head"], rows["held"] = -1, 0
    episodes = [(at.series, at.rule, episode) for at, episode in sorted(engine.casebook.episodes.items())]
    shape = [-1 if each is None else shapes.setdefault(each, len(shapes)) for each in index.shape]
    return _ENCODER.encode(
        _Memory(
            version=VERSION,
            partition=engine.partition,
            rules=engine.rules.hash,
            rule_ids=[rule.id for rule in engine.rules.rules],
            evidence=engine.limits.evidence,
            clock=engine.clock.dump(),
            counts=tuple(engine.counts),
            ids=index.ids,
            shapes=list(shapes),
            shape=shape,
            series=[(int(index.owner[at]), *_name(index, at)) for at in range(count)],
            assets=rows.tobytes(),
            samples=index.series[:count].tobytes(),
            recent=index.recent[:count].tobytes(),
            places=index.places[:count].tobytes(),
            pool=engine.waiting.tobytes(),
            units=index.units,
            banks=[
                _Bank(
                    detector=bank.kernel.detector.name,
                    state=_describe(bank.kernel.detector.state),
                    rules=[rule.id for _, rule in bank.rules],
                    rows=bank.state[: bank.rows].tobytes(),
                    flags=bank.flag[: bank.rows].tobytes(),
                    rule=bank.rule[: bank.rows].tobytes(),
                    series=bank.series[: bank.rows].tobytes(),
                )
                for bank in index.banks
            ],
            episodes=episodes,
        )
    )


def restore(engine: Engine, data: bytes) -> None:
    """Fill a fresh engine from a dump.

    Raises:
        StreamError: the dump is not one, is of another partition, or of a format this version cannot read.
    """
    memory = _read(engine, data)
    try:
        _take_over(engine, memory)
    except (ValueError, LookupError, TypeError) as error:
        raise StreamError(_damaged(engine, error)) from None


def _damaged(engine: Engine, error: Exception) -> str:
    return (
        f"the state of partition {engine.partition} is damaged ({error}): write a tombstone for its key in "
        "the state topic to start it from its committed offset with an empty memory"
    )


def _take_over(engine: Engine, memory: _Memory) -> None:
    index = engine.index
    renumbered = _rebuild_index(engine, memory)
    keep = np.array(renumbered, np.int64)
    _fill(index.series, keep, np.frombuffer(memory.samples, index.series.dtype))
    depth = memory.evidence
    recent = np.frombuffer(memory.recent, index.recent.dtype).reshape(-1, depth)
    places = np.frombuffer(memory.places, np.int64)
    if depth == engine.limits.evidence:
        _fill(index.recent, keep, recent)
        _fill(index.places, keep, places)
    _restore_assets(engine, memory, keep)
    index.units.update({renumbered[at]: unit for at, unit in memory.units.items()})
    engine.clock.load(memory.clock)
    engine.counts = Counts(*memory.counts)
    _restore_banks(engine, memory, renumbered)
    _restore_episodes(engine, memory, renumbered)


def _read(engine: Engine, data: bytes) -> _Memory:
    try:
        version = msgspec.msgpack.decode(data, type=_Head).version
    except msgspec.MsgspecError:
        raise StreamError(_damaged(engine, ValueError("not a dump of this program"))) from None
    if version != VERSION:
        raise StreamError(
            f"the state of partition {engine.partition} has format {version}, this version reads {VERSION}: "
            "run the version that wrote it"
        )
    try:
        memory = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise StreamError(_damaged(engine, error)) from None
    if memory.partition != engine.partition:
        raise StreamError(f"the state is of partition {memory.partition}, not of {engine.partition}")
    return memory


def _name(index: Index, at: int) -> tuple[str, str]:
    target, name = index.names[index.name[at]]
    return str(target), name


def _describe(dtype: np.dtype[Any]) -> list[tuple[str, str]]:
    return [(name, dtype[name].str) for name in dtype.names or ()]


def _fill(into: Array, rows: Array, old: Array) -> None:
    into[rows] = old[: len(rows)]


def _rebuild_index(engine: Engine, memory: _Memory) -> list[int]:
    """Assets and series under the rules of now; old series numbers → new ones.

    They are made in their old order, so that under the same rules every number stays what it was.
    """
    index = engine.index
    renumbered: list[int] = []
    for owner, target, name in memory.series:
        while len(index.ids) <= owner:
            _add_asset(engine, memory)
        shape = memory.shapes[memory.shape[owner]] if memory.shape[owner] >= 0 else ()
        if target == Target.METRIC and name in shape and index.shape[owner] is None:
            index.add_shape(owner, engine.intern(shape))
        whole = int(index.assets["whole"][owner]) if target == Target.ASSET else -1
        renumbered.append(whole if whole >= 0 else index.find(owner, Target(target), name, _UNBOUNDED))
    while len(index.ids) < len(memory.ids):
        _add_asset(engine, memory)
    return renumbered


def _add_asset(engine: Engine, memory: _Memory) -> None:
    asset = memory.ids[len(engine.index.ids)]
    engine.index.add_asset(asset.encode(), asset)


def _restore_assets(engine: Engine, memory: _Memory, keep: Array) -> None:
    """Rows of order, and the waiting samples of each asset as a list again."""
    index = engine.index
    old = np.frombuffer(memory.assets, index.assets.dtype)
    count = len(old)
    for field in ("newest", "mark", "top", "seen", "first"):
        index.assets[field][:count] = old[field]
    waiting = np.frombuffer(memory.pool, POOL).copy()
    waiting["series"] = keep[waiting["series"]]
    engine.wait(waiting)


def _restore_banks(engine: Engine, memory: _Memory, renumbered: list[int]) -> None:
    now = {bank.kernel.detector.name: bank for bank in engine.index.banks}
    same = memory.rules == engine.rules.hash and renumbered == list(range(len(renumbered)))
    for old in memory.banks:
        bank = now.get(old.detector)
        if bank is None or _describe(bank.kernel.detector.state) != [tuple(each) for each in old.state]:
            continue
        state = np.frombuffer(old.rows, bank.state.dtype)
        flags = np.frombuffer(old.flags, np.uint8)
        if same and len(state) == bank.rows:
            bank.state[: bank.rows], bank.flag[: bank.rows] = state, flags
            continue
        here = {place: row for row, place in enumerate(_places(bank))}
        rule, series = np.frombuffer(old.rule, np.int32), np.frombuffer(old.series, np.int32)
        for at in range(len(state)):
            row = here.get((renumbered[series[at]], old.rules[rule[at]]))
            if row is not None:
                bank.state[row], bank.flag[row] = state[at], flags[at]


def _places(bank: Bank) -> list[tuple[int, str]]:
    """Series and rule id of each row."""
    ids = [rule.id for _, rule in bank.rules]
    rows = zip(bank.series[: bank.rows].tolist(), bank.rule[: bank.rows].tolist(), strict=True)
    return [(series, ids[rule]) for series, rule in rows]


def _restore_episodes(engine: Engine, memory: _Memory, renumbered: list[int]) -> None:
    """Episodes of rules that still look at their series with the same detector; the others are forgotten."""
    detectors = {rule: bank.detector for bank in memory.banks for rule in bank.rules}
    numbers = {rule.id: number for number, rule in enumerate(engine.rules.rules)}
    watched = {
        place
        for bank in engine.index.banks
        for place in (_places(bank) if memory.episodes else ())
        if detectors.get(place[1]) == bank.kernel.detector.name
    }
    for series, rule, episode in memory.episodes:
        place = (renumbered[series], memory.rule_ids[rule])
        if place in watched:
            engine.casebook.restore(Condition(place[0], numbers[place[1]]), episode)
