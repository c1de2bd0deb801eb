"""Memories of partitions dealt out anew: every asset, with all that is known of it, to its new partition.

An asset's rows are its own, wherever they lie; what assets share is their partition's clock. Clocks of
different partitions count from different moments, so the new partitions get one clock, and each time that an
asset keeps of its old one is moved by what lies between the two: how long it has waited stays the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np

from processor.cases.episode import Episode
from processor.detect.catalog import DETECTORS
from processor.detect.detector import Target
from processor.engine.bank import SMALL, Array
from processor.engine.directory import split
from processor.engine.heartbeat import LONGEST
from processor.engine.index import BLOCK
from processor.engine.memory import LayoutMemory, Memory
from processor.engine.order import ASSET, NEVER, POOL, RECENT, SERIES
from processor.model import Counts


class _Layout(NamedTuple):
    """What banks share; see `LayoutMemory`, whose fields these are."""

    counts: Array
    rule: Array


class _Bank(NamedTuple):
    """Rows of one detector in one old partition; see `BankMemory`."""

    rows: Array
    flags: Array


class _Clock(NamedTuple):
    """An old partition's clock by the new one: what to add to a time of it, and its last held gap."""

    shift: int
    gap: int


@dataclass(frozen=True, slots=True)
class _Old:
    """One old partition.

    Attributes:
        memory: what it knew.
        keys: of its assets.
        owner: the new partition of each of its assets.
        series_asset: the asset of each series.
        clock: its clock by the new one.
    """

    memory: Memory
    keys: list[bytes]
    owner: Array
    assets: Array
    shape: Array
    blocks: Array
    series_asset: Array
    samples: Array
    recent: Array
    places: Array
    pool: Array
    layouts: tuple[_Layout, ...]
    banks: tuple[_Bank, ...]
    clock: _Clock


def deal(memories: Sequence[Memory], partitions: int, choose: Callable[[bytes], int]) -> Iterator[Memory]:
    """The memories of the new partitions, in their order.

    What is counted for a partition as a whole goes to the first new one, so that the sum stays what it was.

    Args:
        memories: of all old partitions, at least one, written under the same rules and limits.
        partitions: how many there shall be.
        choose: a key → its new partition.

    Raises:
        ValueError: a memory is damaged, or they do not belong together.
    """
    if len({_describe(each) for each in memories}) != 1:
        raise ValueError("memories of different rules")
    clock, own_clocks = _join_clocks([each.clock for each in memories])
    olds = [_open(*each, choose) for each in zip(memories, own_clocks, strict=True)]
    counts = Counts(*(sum(column) for column in zip(*(each.counts for each in memories), strict=True)))
    for number in range(partitions):
        yield _join(olds, number, clock, counts)


def _describe(memory: Memory) -> tuple[object, ...]:
    """What is the same of all that belong together."""
    return memory.rules, memory.evidence, *((bank.detector, bank.layout) for bank in memory.banks)


def _join_clocks(clocks: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[_Clock]]:
    """The one clock, and each of these by it."""
    now, at = max(each["now"] for each in clocks), max(each["at"] for each in clocks)
    beats: dict[str, int] = {}
    for each in clocks:
        for bridge, beat in each["beats"].items():
            beats[bridge] = max(beat, beats.get(bridge, beat))
    shifts = [now - each["now"] for each in clocks]
    # A partition that missed heartbeats had a gap, which its next one would have told it.
    gaps = [
        now if at - each["at"] > LONGEST else each["gap"] + shift
        for each, shift in zip(clocks, shifts, strict=True)
    ]
    # The earliest gap: what was in a partition whose gap was later keeps that in its own time, see `_move`.
    joined = {"now": now, "gap": min(gaps), "at": at, "beats": beats}
    return joined, [_Clock(*each) for each in zip(shifts, gaps, strict=True)]


def _open(memory: Memory, clock: _Clock, choose: Callable[[bytes], int]) -> _Old:
    """The columns of a memory."""
    blocks = np.frombuffer(memory.blocks, BLOCK)
    samples = np.frombuffer(memory.samples, SERIES)
    lengths = np.diff(np.append(blocks["series"], len(samples)))
    rules = {bank.layout: len(bank.rules) for bank in memory.banks}
    layouts = tuple(
        _Layout(
            np.frombuffer(layout.counts, np.uint16),
            np.frombuffer(layout.rule, np.uint8 if rules[at] <= SMALL else np.uint16),
        )
        for at, layout in enumerate(memory.layouts)
    )
    banks = tuple(
        _Bank(np.frombuffer(bank.rows, DETECTORS[bank.detector].state), np.frombuffer(bank.flags, np.uint8))
        for bank in memory.banks
    )
    keys = split(memory.letters, memory.lengths)
    return _Old(
        memory=memory,
        keys=keys,
        owner=np.fromiter((choose(key) for key in keys), np.int64, len(keys)),
        assets=np.frombuffer(memory.assets, ASSET),
        shape=np.frombuffer(memory.shape, np.int32),
        blocks=blocks,
        series_asset=np.repeat(blocks["asset"], lengths),
        samples=samples,
        recent=np.frombuffer(memory.recent, RECENT).reshape(len(samples), memory.evidence - 1),
        places=np.frombuffer(memory.places, np.uint32),
        pool=np.frombuffer(memory.pool, POOL),
        layouts=layouts,
        banks=banks,
        clock=clock,
    )


class _New:
    """One new partition while it is put together; numbers of assets and series count on from part to part."""

    def __init__(self, clock: dict[str, Any]) -> None:
        self.clock = clock
        self.keys: list[bytes] = []
        self.series_count = 0
        self.shapes: dict[tuple[str, ...], int] = {}
        self.names: dict[tuple[Target, str], int] = {}
        self.units: dict[int, str] = {}
        self.episodes: list[tuple[int, int, Episode]] = []
        self.columns: list[tuple[Array, ...]] = []
        self.layouts: list[list[_Layout]] = []
        self.banks: list[list[_Bank]] = []

    def take(self, old: _Old, number: int) -> None:
        """The assets of an old partition that belong to this one."""
        chosen = old.owner == number
        kept = chosen[old.series_asset]
        # Old numbers → new ones; only those of what is kept mean anything.
        asset = np.cumsum(chosen) - 1 + len(self.keys)
        series = np.cumsum(kept) - 1 + self.series_count
        assets = old.assets[chosen]
        for field in ("whole", "begin"):
            has = assets[field] >= 0
            assets[field][has] = series[assets[field][has]]
        shape = old.shape[chosen]
        for at in np.unique(shape[shape >= 0]).tolist():
            names = old.memory.shapes[at]
            shape[old.shape[chosen] == at] = self.shapes.setdefault(names, len(self.shapes))
        blocks = old.blocks[chosen[old.blocks["asset"]]]
        named = blocks["name"].copy()
        for at in np.unique(named[named >= 0]).tolist():
            blocks["name"][named == at] = self.names.setdefault(old.memory.names[at], len(self.names))
        blocks["asset"], blocks["series"] = asset[blocks["asset"]], series[blocks["series"]]
        pool = old.pool[chosen[old.pool["asset"]]]
        pool["asset"], pool["series"] = asset[pool["asset"]], series[pool["series"]]
        pool["clock"][pool["clock"] != NEVER] += old.clock.shift
        self.columns.append(
            (assets, shape, blocks, old.samples[kept], old.recent[kept], old.places[kept], pool)
        )
        mine = [np.repeat(kept, layout.counts) for layout in old.layouts]
        self.layouts.append(
            [_Layout(each.counts[kept], each.rule[own]) for each, own in zip(old.layouts, mine, strict=True)]
        )
        self.banks.append(
            [
                self._move(old, bank, mine[known.layout])
                for bank, known in zip(old.banks, old.memory.banks, strict=True)
            ]
        )
        self.units |= {int(series[at]): unit for at, unit in old.memory.units.items() if kept[at]}
        self.episodes += [
            (int(series[at]), rule, _moved(episode, old.clock.shift))
            for at, rule, episode in old.memory.episodes
            if kept[at]
        ]
        self.keys += [key for key, mine in zip(old.keys, chosen.tolist(), strict=True) if mine]
        self.series_count += int(kept.sum())

    def _move(self, old: _Old, bank: _Bank, mine: Array) -> _Bank:
        """A bank's rows of the series that are kept, their times by the new clock."""
        rows = bank.rows[mine]
        if "seen" in (rows.dtype.names or ()):
            rows["seen"] += old.clock.shift
            if old.clock.gap > self.clock["gap"]:
                rows["seen"] = np.maximum(rows["seen"], old.clock.gap)
        return _Bank(rows, bank.flags[mine])


def _join(olds: Sequence[_Old], number: int, clock: dict[str, Any], counts: Counts) -> Memory:
    new = _New(clock)
    for old in olds:
        new.take(old, number)
    assets, shape, blocks, samples, recent, places, pool = (
        np.concatenate(column) for column in zip(*new.columns, strict=True)
    )
    held = len(pool)
    own = Counts(received=held, held=held)
    if number == 0:
        own = counts._replace(received=counts.received - counts.held + held, held=held)
    first = olds[0].memory
    return msgspec.structs.replace(
        first,
        partition=number,
        clock=clock,
        counts=tuple(own),
        letters=memoryview(b"".join(new.keys)),
        lengths=memoryview(bytes(map(len, new.keys))),
        shapes=list(new.shapes),
        shape=_bytes(shape),
        names=list(new.names),
        blocks=_bytes(blocks),
        assets=_bytes(assets),
        samples=_bytes(samples),
        recent=_bytes(recent),
        places=_bytes(places),
        pool=_bytes(pool),
        units=new.units,
        layouts=[LayoutMemory(*_concatenate(parts)) for parts in zip(*new.layouts, strict=True)],
        banks=[
            msgspec.structs.replace(bank, **dict(zip(_Bank._fields, _concatenate(parts), strict=True)))
            for bank, parts in zip(first.banks, zip(*new.banks, strict=True), strict=True)
        ],
        episodes=sorted(new.episodes, key=lambda one: one[:2]),
    )


def _moved(episode: Episode, shift: int) -> Episode:
    return episode if episode.clock is None else msgspec.structs.replace(episode, clock=episode.clock + shift)


def _concatenate(parts: Iterable[tuple[Array, ...]]) -> list[memoryview]:
    """Column by column."""
    return [_bytes(np.concatenate(column)) for column in zip(*parts, strict=True)]


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
