"""A partition's memory as bytes, and back: tied to rules by id and detector, never by place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from processor.cases.casebook import Condition
from processor.detect.detector import Target
from processor.engine.bank import SMALL, Array, Bank, copied, zeros
from processor.engine.index import BLOCK, RECENT
from processor.engine.memory import VERSION, BankMemory, Memory, decode, describe_damage, encode
from processor.engine.order import POOL
from processor.errors import StreamError
from processor.model import Counts

if TYPE_CHECKING:
    from processor.engine.index import Index
    from processor.engine.partition import Engine
    from processor.engine.pieces import Piece

#: What was taken in once is taken over, whatever the bound is now.
_UNBOUNDED = 1 << 31


def dump(engine: Engine) -> list[Piece]:
    """Everything `restore` needs to continue as if nothing had happened, in pieces that follow each other."""
    index = engine.index
    count, assets = index.series_count, len(index.keys)
    shapes: dict[tuple[str, ...], int] = {}
    rows = index.assets[:assets].copy()
    # Where the waiting samples lie is no state: they are written in their order and find new places.
    rows["head"], rows["held"] = -1, 0
    episodes = [(at.series, at.rule, episode) for at, episode in sorted(engine.casebook.episodes.items())]
    shape = [-1 if each is None else shapes.setdefault(each.names, len(shapes)) for each in index.shape]
    return encode(
        Memory(
            version=VERSION,
            partition=engine.partition,
            rules=engine.rules.hash,
            rule_ids=[rule.id for rule in engine.rules.rules],
            evidence=engine.limits.evidence,
            clock=engine.clock.dump(),
            counts=tuple(engine.counts),
            keys=index.keys,
            shapes=list(shapes),
            shape=_bytes(np.array(shape, np.int32)),
            names=index.names,
            blocks=_bytes(index.blocks[: index.block_count]),
            assets=_bytes(rows),
            samples=_bytes(index.series[:count]),
            recent=_bytes(index.recent[:count]),
            places=_bytes(index.places[:count]),
            pool=_bytes(engine.waiting),
            units=index.units,
            banks=[
                BankMemory(
                    detector=bank.kernel.detector.name,
                    state=_describe(bank.kernel.detector.state),
                    rules=[rule.id for _, rule in bank.rules],
                    rows=_bytes(bank.state[: bank.rows]),
                    flags=_bytes(bank.flag[: bank.rows]),
                    rule=_bytes(bank.layout.rule[: bank.rows]),
                    counts=_bytes(np.diff(bank.layout.first[: count + 1]).astype(np.uint16)),
                )
                for bank in index.banks
            ],
            episodes=episodes,
        )
    )


def _bytes(array: Array) -> memoryview:
    """An array's memory as it stands, not copied."""
    return array.reshape(-1).view(np.uint8).data


def restore(engine: Engine, data: bytes | memoryview) -> None:
    """Fill a fresh engine from a dump.

    Raises:
        StreamError: the dump is not one, is of another partition, or of a format this version cannot read.
    """
    memory = decode(data, engine.partition)
    try:
        _take_over(engine, memory)
    except (ValueError, LookupError, TypeError) as error:
        raise StreamError(describe_damage(engine.partition, error)) from None


def _take_over(engine: Engine, memory: Memory) -> None:
    index = engine.index
    assets = np.frombuffer(memory.assets, index.assets.dtype)
    blocks = np.frombuffer(memory.blocks, BLOCK)
    shape = np.frombuffer(memory.shape, np.int32)
    series = np.frombuffer(memory.samples, index.series.dtype)
    if not len(assets) == len(memory.keys) == len(shape):
        raise ValueError("not as many rows as assets")
    if memory.rules == engine.rules.hash and _same_rules(index, memory):
        _adopt(index, memory, assets, blocks, shape, len(series))
        keep = np.arange(len(series))
        all_rows: Array | slice = slice(None)
    else:
        all_rows = keep = _rebuild(index, memory, assets, blocks, shape, len(series))
        _restore_banks(index, memory, keep)
    index.series[all_rows] = series
    if memory.evidence < 1:
        raise ValueError("no evidence")
    recent = np.frombuffer(memory.recent, RECENT).reshape(len(series), memory.evidence - 1)
    if memory.evidence == engine.limits.evidence:
        index.recent[all_rows] = recent
        index.places[all_rows] = np.frombuffer(memory.places, np.uint32)
    waiting = np.frombuffer(memory.pool, POOL).copy()
    waiting["series"] = keep[waiting["series"]]
    engine.wait(waiting)
    index.units.update({int(keep[at]): unit for at, unit in memory.units.items()})
    engine.clock.load(memory.clock)
    engine.counts = Counts(*memory.counts)
    _restore_episodes(engine, memory, keep)


def _describe(dtype: np.dtype[Any]) -> list[tuple[str, str]]:
    return [(name, dtype[name].str) for name in dtype.names or ()]


def _same_rules(index: Index, memory: Memory) -> bool:
    """Whether each bank of now has its rows in the dump, in the same order."""
    now = [(bank.kernel.detector.name, [rule.id for _, rule in bank.rules]) for bank in index.banks]
    return now == [(bank.detector, bank.rules) for bank in memory.banks]


def _adopt(
    index: Index, memory: Memory, assets: Array, blocks: Array, shape: Array, series_count: int
) -> None:
    """The same rules: every row is where it was."""
    index.assets, index.blocks = copied(assets), copied(blocks)
    index.block_count, index.series_count = len(blocks), series_count
    # The last shape is none: its place is -1.
    shapes = [*(index.intern(names) for names in memory.shapes), None]
    index.adopt(memory.keys, [shapes[at] for at in shape.tolist()], memory.names)
    index.series = zeros((series_count,), index.series.dtype, filled=True)
    index.recent = zeros((series_count, *index.recent.shape[1:]), RECENT, filled=True)
    index.places = zeros((series_count,), index.places.dtype, filled=True)
    for bank, old in zip(index.banks, memory.banks, strict=True):
        layout = bank.layout
        if not layout.rows:
            counts = np.frombuffer(old.counts, np.uint16)
            if len(counts) != series_count:
                raise ValueError("not as many counts as series")
            layout.first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
            layout.rule = copied(np.frombuffer(old.rule, layout.rule.dtype))
            layout.rows = int(layout.first[-1])
        if _describe(bank.kernel.detector.state) == old.state:
            bank.state = copied(np.frombuffer(old.rows, bank.state.dtype))
            bank.flag = copied(np.frombuffer(old.flags, np.uint8))
        bank.fit()


def _rebuild(
    index: Index, memory: Memory, assets: Array, blocks: Array, shape: Array, series_count: int
) -> Array:
    """Assets and series under the rules of now, made in their old order; old series numbers → new ones."""
    for key, row in zip(memory.keys, assets, strict=True):
        at = index.add_asset(key)
        for field in ("newest", "mark", "top", "seen", "first"):
            index.assets[field][at] = row[field]
    keep = np.full(series_count, -1)
    for series, at, number in blocks.tolist():
        if number < 0:
            names = memory.shapes[shape[at]]
            index.add_shape(at, names)
            base = int(index.assets["begin"][at])
            keep[series : series + len(names)] = np.arange(base, base + len(names))
            continue
        target, name = memory.names[number]
        whole = int(index.assets["whole"][at]) if target is Target.ASSET else -1
        keep[series] = whole if whole >= 0 else index.find(at, target, name, _UNBOUNDED)
    return keep


def _restore_banks(index: Index, memory: Memory, keep: Array) -> None:
    """State of the rows whose rule and detector are still there."""
    now = {bank.kernel.detector.name: bank for bank in index.banks}
    for old in memory.banks:
        bank = now.get(old.detector)
        if bank is None or _describe(bank.kernel.detector.state) != old.state:
            continue
        state, flags = np.frombuffer(old.rows, bank.state.dtype), np.frombuffer(old.flags, np.uint8)
        rule = np.frombuffer(old.rule, np.uint8 if len(old.rules) <= SMALL else np.uint16)
        owners = np.repeat(keep, np.frombuffer(old.counts, np.uint16))
        here = {place: row for row, place in enumerate(_places(index, bank))}
        for at in range(len(state)):
            row = here.get((int(owners[at]), old.rules[rule[at]]))
            if row is not None:
                bank.state[row], bank.flag[row] = state[at], flags[at]


def _places(index: Index, bank: Bank) -> list[tuple[int, str]]:
    """Series and rule id of each row."""
    ids = [rule.id for _, rule in bank.rules]
    layout = bank.layout
    rules = layout.rule[: layout.rows].tolist()
    rows = zip(layout.owners(index.series_count).tolist(), rules, strict=True)
    return [(series, ids[rule]) for series, rule in rows]


def _restore_episodes(engine: Engine, memory: Memory, keep: Array) -> None:
    """Episodes of rules that still look at their series with the same detector; the others are forgotten."""
    if not memory.episodes:
        return
    detectors = {rule: bank.detector for bank in memory.banks for rule in bank.rules}
    numbers = {rule.id: number for number, rule in enumerate(engine.rules.rules)}
    watched = {
        place
        for bank in engine.index.banks
        for place in _places(engine.index, bank)
        if detectors.get(place[1]) == bank.kernel.detector.name
    }
    for series, rule, episode in memory.episodes:
        place = (int(keep[series]), memory.rule_ids[rule])
        if place in watched:
            engine.casebook.restore(Condition(place[0], numbers[place[1]]), episode)
