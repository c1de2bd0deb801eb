"""A partition's memory as bytes, and back: tied to rules by their set and id, never by place."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from processor.cases.casebook import Casebook, Condition
from processor.detect.detector import Target
from processor.engine.bank import SMALL, Array, owned, zeros
from processor.engine.directory import split
from processor.engine.heartbeat import PartitionClock
from processor.engine.index import BLOCK, Index
from processor.engine.memory import VERSION, BankMemory, LayoutMemory, Memory, describe_damage, encode
from processor.engine.order import ASSET, POOL, RECENT
from processor.engine.pieces import Piece
from processor.errors import StreamError
from processor.limits import Limits
from processor.model import Counts
from processor.rules.record import read_schedule, write_schedule
from processor.rules.ruleset import RuleSet
from processor.rules.schedule import Schedule

#: What was taken in once is taken over, whatever the bound is now.
_UNBOUNDED = 1 << 31


class Owner(Protocol):
    """Whose memory it is; the one there is is `processor.engine.partition.Engine`."""

    schedule: Schedule
    partition: int
    limits: Limits
    counts: Counts
    clock: PartitionClock
    index: Index
    casebook: Casebook

    @property
    def waiting(self) -> Array:
        """The samples that wait to be put in order."""

    def wait(self, samples: Array) -> None:
        """Let samples of an earlier life wait again."""


_Owner = TypeVar("_Owner", bound=Owner)


def dump(engine: Owner) -> list[Piece]:
    """Everything `restore` needs to continue as if nothing had happened, in pieces that follow each other."""
    index = engine.index
    count, assets = index.series_count, len(index.keys)
    rows = index.assets[:assets].copy()
    # Where the waiting samples lie is no state: they are written in their order and find new places.
    rows["head"], rows["held"] = -1, 0
    episodes = [(at.series, at.rule, episode) for at, episode in sorted(engine.casebook.episodes.items())]
    keys = index.keys
    return encode(
        Memory(
            version=VERSION,
            partition=engine.partition,
            rules=engine.schedule.name,
            eras=write_schedule(engine.schedule),
            evidence=engine.limits.evidence,
            clock=engine.clock.dump(),
            counts=tuple(engine.counts),
            letters=_bytes(keys.letters[: keys.ends[assets]]),
            lengths=_bytes(np.diff(keys.ends[: assets + 1]).astype(np.uint8)),
            shapes=[each.names for each in keys.shapes],
            shape=_bytes(keys.number[:assets]),
            names=index.names,
            blocks=_bytes(index.blocks[: index.block_count]),
            assets=_bytes(rows),
            samples=_bytes(index.series[:count]),
            recent=_bytes(index.recent[:count]),
            places=_bytes(index.places[:count]),
            pool=_bytes(engine.waiting),
            units=index.units,
            layouts=[
                LayoutMemory(
                    counts=_bytes(np.diff(layout.first[: count + 1]).astype(np.uint16)),
                    rule=_bytes(layout.rule[: layout.rows]),
                )
                for layout in index.layouts
            ],
            banks=[
                BankMemory(
                    detector=bank.kernel.detector.name,
                    state=_describe(bank.kernel.detector.state),
                    rules=[term.nearest[0].id for _, term in bank.rules],
                    layout=index.layouts.index(bank.layout),
                    rows=_bytes(bank.state[: bank.rows]),
                    flags=_bytes(bank.flag[: bank.rows]),
                )
                for bank in index.banks
            ],
            episodes=episodes,
        )
    )


def _bytes(array: Array) -> memoryview:
    """An array's memory as it stands, not copied."""
    return array.reshape(-1).view(np.uint8).data


def restore(
    memory: Memory, rules: RuleSet | Schedule, make: Callable[[Schedule], _Owner], *, begun: int = 0
) -> _Owner:
    """The engine that a dump was made of, under the rules of now: a file's, or the very schedule.

    Args:
        memory: the dump.
        rules: of now.
        make: an empty engine under a schedule.
        begun: an event time that may have been met since, see `Engine.load`.

    Raises:
        StreamError: the dump does not fit together.
    """
    try:
        schedule = old = read_schedule(memory.eras)
        if isinstance(rules, Schedule):
            schedule = rules
        else:
            newest = int(np.frombuffer(memory.assets, ASSET)["newest"].max(initial=0))
            reached, now = reach(newest, int(memory.clock["at"]))
            schedule, _ = old.adopt(rules, max(reached, begun), now)
        engine = make(schedule)
        _take_over(engine, memory, old)
    except (ValueError, LookupError, TypeError) as error:
        raise StreamError(describe_damage(memory.partition, error)) from None
    return engine


def reach(newest: int, at: int) -> tuple[int, int]:
    """The newest event time met, and the time that a partition stands at, from its samples and its clock."""
    return max(newest, at), at or max(newest, 0)


def _take_over(engine: Owner, memory: Memory, old: Schedule) -> None:
    index = engine.index
    assets = np.frombuffer(memory.assets, index.assets.dtype)
    blocks = np.frombuffer(memory.blocks, BLOCK)
    shape = np.frombuffer(memory.shape, np.int32)
    series = np.frombuffer(memory.samples, index.series.dtype)
    if not len(assets) == memory.asset_count == len(shape):
        raise ValueError("not as many rows as assets")
    if memory.evidence < 1:
        raise ValueError("no evidence")
    recent = np.frombuffer(memory.recent, RECENT).reshape(len(series), memory.evidence - 1)
    places = np.frombuffer(memory.places, np.uint32)
    if len(places) != len(series):
        raise ValueError("not as many rings as series")
    _check(memory, assets, blocks, shape, len(series))
    if memory.evidence != engine.limits.evidence:
        recent = zeros((len(series), engine.limits.evidence - 1), RECENT)
        places = zeros((len(series),), places.dtype)
    if not old.starts and engine.schedule.eras == old.eras:
        _adopt(index, memory, assets, blocks, shape)
        index.series, index.recent, index.places = owned(series), owned(recent), owned(places)
        keep = np.arange(len(series))
    else:
        keep = _rebuild(index, memory, assets, blocks, shape, len(series))
        _restore_banks(engine, memory, old, keep)
        index.series[keep], index.recent[keep], index.places[keep] = series, recent, places
    waiting = np.frombuffer(memory.pool, POOL).copy()
    _within("samples that wait for no asset or series", waiting["asset"], 0, len(assets))
    _within("samples that wait for no asset or series", waiting["series"], 0, len(series))
    waiting["series"] = keep[waiting["series"]]
    engine.wait(waiting)
    index.units.update({int(keep[at]): unit for at, unit in memory.units.items()})
    engine.clock.load(memory.clock)
    engine.counts = Counts(*memory.counts)
    _restore_episodes(engine, memory, old, keep)


def _check(memory: Memory, assets: Array, blocks: Array, shape: Array, series_count: int) -> None:
    """Whether rows name only rows that there are: the compiled passes look at whatever they name.

    Raises:
        ValueError: they do not.
    """
    _within("a shape that there is not", shape, -1, len(memory.shapes))
    widths = np.array([*map(len, memory.shapes), 0])[shape]
    _within("shapes beyond the series", assets["begin"] + widths, -1, series_count + 1)
    if not ((assets["width"] == widths) & ((assets["begin"] >= 0) == (shape >= 0))).all():
        raise ValueError("series that are not of their asset's shape")
    _within("a series that there is not", assets["whole"], -1, series_count)
    if (assets["head"] != -1).any() or assets["held"].any():
        raise ValueError("samples wait that there are not")
    _within("a block of no asset", blocks["asset"], 0, len(assets))
    _within("a block of no name", blocks["name"], -1, len(memory.names))
    _within("a block of no series", blocks["series"], 0, series_count)


def _within(wrong: str, numbers: Array, least: int, end: int) -> None:
    """Refuse numbers below `least`, or at `end` or above."""
    if len(numbers) and not (least <= int(numbers.min()) and int(numbers.max()) < end):
        raise ValueError(wrong)


def _describe(dtype: np.dtype[Any]) -> list[tuple[str, str]]:
    return [(name, dtype[name].str) for name in dtype.names or ()]


def _adopt(index: Index, memory: Memory, assets: Array, blocks: Array, shape: Array) -> None:
    """The same rules: every row is where it was."""
    series_count = len(memory.samples) // index.series.itemsize
    index.assets, index.blocks = owned(assets), owned(blocks)
    index.block_count, index.series_count = len(blocks), series_count
    letters, lengths = np.frombuffer(memory.letters, np.uint8), np.frombuffer(memory.lengths, np.uint8)
    index.keys.adopt(owned(letters), lengths, owned(shape), memory.shapes)
    index.adopt(memory.names)
    for layout, rows in zip(index.layouts, memory.layouts, strict=True):
        layout.first = zeros((series_count + 1,), layout.first.dtype, filled=series_count + 1)
        counts = np.frombuffer(rows.counts, np.uint16)
        np.cumsum(counts, out=layout.first[1:])
        layout.rule = owned(np.frombuffer(rows.rule, layout.rule.dtype))
        layout.rows = int(counts.sum(dtype=np.int64))
        if layout.rows != len(layout.rule):
            raise ValueError("not as many rows as the series have")
        _within("a rule that there is not", layout.rule, 0, len(layout.rules))
    for bank, old in zip(index.banks, memory.banks, strict=True):
        if _describe(bank.kernel.detector.state) == old.state:
            bank.state = owned(np.frombuffer(old.rows, bank.state.dtype))
            bank.flag = owned(np.frombuffer(old.flags, np.uint8))
            if not len(bank.state) == len(bank.flag) == bank.rows:
                raise ValueError("not as many states as rows")
        bank.fit()


def _rebuild(
    index: Index, memory: Memory, assets: Array, blocks: Array, shape: Array, series_count: int
) -> Array:
    """Assets and series under the rules of now, made in their old order; old series numbers → new ones."""
    for key, row in zip(split(memory.letters, memory.lengths), assets, strict=True):
        at = index.add_asset(key)
        for field in ("newest", "mark", "heard", "top", "seen", "first"):
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


def _restore_banks(engine: Owner, memory: Memory, old: Schedule, keep: Array) -> None:
    """State of the rows whose rule lives on."""
    terms = len(engine.schedule.terms)
    heirs = np.array([*old.successors(engine.schedule), -1])
    now = {bank.kernel.detector.name: bank for bank in engine.index.banks}
    for own in memory.banks:
        bank = now.get(own.detector)
        if bank is None or _describe(bank.kernel.detector.state) != own.state:
            continue
        numbers = [at for at, term in enumerate(old.terms) if term.detector.name == own.detector]
        lain = memory.layouts[own.layout]
        place = np.frombuffer(lain.rule, np.uint8 if len(own.rules) <= SMALL else np.uint16)
        heir = heirs[np.array(numbers)[place]]
        series = np.repeat(keep, np.frombuffer(lain.counts, np.uint16))
        # The rows of now lie in the order of their series, and of the terms within each.
        layout = bank.layout
        mine = np.array([number for number, _ in bank.rules])[layout.rule[: layout.rows]]
        here = layout.owners(engine.index.series_count) * terms + mine
        wanted = series * terms + heir
        row = np.minimum(np.searchsorted(here, wanted), max(len(here) - 1, 0))
        found = (heir >= 0) & (here[row] == wanted) if len(here) else np.zeros(len(wanted), bool)
        bank.state[row[found]] = np.frombuffer(own.rows, bank.state.dtype)[found]
        bank.flag[row[found]] = np.frombuffer(own.flags, np.uint8)[found]


def _restore_episodes(engine: Owner, memory: Memory, old: Schedule, keep: Array) -> None:
    """Episodes of rules that live on; the others are forgotten."""
    heirs = old.successors(engine.schedule)
    for series, term, episode in memory.episodes:
        if heirs[term] >= 0:
            engine.casebook.restore(Condition(int(keep[series]), heirs[term]), episode)
