"""One partition's memory: records in, case events out, everything between in event time.

The straight line of a run of records::

    decode ─▶ columns of the run ─▶ put in order (late, duplicate, conflict; the rest judged or held)
       ─▶ one compiled pass per detector ─▶ changes of flags ─▶ episodes ─▶ case events

A heartbeat ends the run before it, then moves the partition's clock: what waited long enough is judged,
timers settle, and the detectors that no sample wakes have their turn. Cutting the records into other runs
changes neither events nor counts.

Long, because the whole of a run stands here in the order in which it happens; how each step is done
stands elsewhere (codec, order, bank, casebook, snapshot).
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple, Self

import msgspec
import numpy as np

from processor.cases.casebook import Casebook, Condition, merge
from processor.cases.finding import Evidence, Finding, make_finding
from processor.codec.formats import Codec
from processor.codec.instant import LATEST
from processor.codec.reading import Reading
from processor.detect import kernel
from processor.detect.detector import Target
from processor.engine import memory, order, passes, snapshot
from processor.engine.bank import Array, Change
from processor.engine.heartbeat import PartitionClock, read_beat
from processor.engine.index import Index
from processor.engine.order import LONGEST, RECENT
from processor.engine.pieces import Piece
from processor.errors import DeadLetter, DeadReason
from processor.limits import Limits
from processor.model import (
    CONTENT_TYPE,
    HEARTBEAT,
    REPLAY,
    TAIL,
    CaseEvent,
    Counts,
    Dead,
    Notes,
    Outcome,
    Record,
)
from processor.rules.ruleset import RuleSet
from processor.rules.schedule import GRACE, Schedule
from processor.run import Run, write_headers

_LONGEST_ID = 64
_NO_RUNS = np.empty(0, order.RUN)
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class _Whole(NamedTuple):
    """How far a run is judged for good: records, and what of the dead letters and counts is theirs."""

    records: int
    dead: int
    unjudged: int
    untold: int
    tally: Array


class Engine:
    """Judges the telemetry of one Kafka partition.

    Args:
        rules: the rules in force; or rule sets, with the event time from which each is.
        partition: number of the partition; a dump of another one is refused.
        limits: bounds of memory and patience.
        jit: False runs the detectors as plain Python: for tests and debugging.
    """

    def __init__(
        self,
        rules: RuleSet | Schedule,
        *,
        partition: int,
        limits: Limits | None = None,
        jit: bool = True,
    ) -> None:
        self.schedule = rules if isinstance(rules, Schedule) else Schedule.begin(rules)
        self._jit = jit
        self.partition = partition
        self.limits = Limits() if limits is None else limits
        self.counts = Counts()
        self.clock = PartitionClock()
        self._lateness = round(self.limits.lateness * 1000)
        self._ahead = round(self.limits.clock_ahead * 1000)
        self._furthest = round(self.limits.furthest * 1000)
        self._codec = Codec(self.limits)
        usual = self._codec.usual
        self._header = np.frombuffer(b"" if usual is None else write_headers([usual]), np.uint8)
        self.index = Index(self.schedule, jit=jit, evidence=self.limits.evidence)
        self.casebook = Casebook(
            self.schedule, self._lateness, lambda series: self.index.of(series)[0], self._era_of
        )
        self._passes = passes.ordering(jit=jit)
        self._pool = np.zeros(0, order.POOL)
        self._free = np.full(1, -1, np.int64)
        self._held = 0
        # Rows of order.RECORD and order.RUN, one number after the other.
        self._records: list[int] = []
        self._runs: list[int] = []
        self._values: list[float] = []
        #: What stands before those: rows, and the values of all of them.
        self._parts: list[tuple[Array, Array]] = []
        self._events: list[CaseEvent] = []
        self._dead: list[Dead] = []
        self._unjudged = 0
        self._untold = 0
        # Of the record that is being read: samples of metrics that no rule selects, or beyond the limit.
        self._unknown = self._crowded = 0
        self._tally = np.zeros(order.COUNTS, np.int64)
        self._transitions = 0
        self._whole = _Whole(0, 0, 0, 0, self._tally)
        self._before = 0, 0

    def advance(self, records: Sequence[Record]) -> Outcome:
        """Judge a run of records in the order of their offsets; never raises on any input."""
        self._events, self._dead = [], []
        self._unjudged = self._untold = 0
        self._tally[:] = 0
        self._transitions = 0
        self._keep(0)
        self._before = self._evaluations, self._codec.passed_over
        # What a fault left of the run before is judged again by who met it.
        self._begin()
        run = records if isinstance(records, Run) else Run.of(records)
        taken, rows, values = self._take_usual(run)
        # Of the records that are left, each stands behind those before it.
        at = done = 0
        for n in np.flatnonzero(taken < 0).tolist():
            if n > at:
                upto = int(taken[n - 1])
                self._append(rows[at:n], values[done:upto])
                done = upto
            at = n + 1
            self._read(run[n], int(rows["asset"][n]), n)
        if at < len(run):
            self._append(rows[at:], values[done : int(taken[-1])])
        self._flush()
        return self._sum_up()

    def salvage(self) -> tuple[int, Outcome]:
        """After a fault in `advance`: how many of its records are judged for good, and what came of the run.

        Those are the records before its last heartbeat. Events are all that were made: the memory that would
        make them again has moved on.
        """
        whole = self._whole
        del self._dead[whole.dead :]
        self._unjudged, self._untold = whole.unjudged, whole.untold
        self._tally[:] = whole.tally
        return whole.records, self._sum_up()

    def _sum_up(self) -> Outcome:
        """What the run led to."""
        evaluations, passed_over = self._before
        tally = self._tally.tolist()
        counts = Counts(
            received=tally[order.RECEIVED] + self._unjudged + self._untold,
            judged=tally[order.TAKEN] + self._untold,
            dead=self._unjudged,
            late=tally[order.LATE],
            duplicate=tally[order.DUPLICATE],
            conflict=tally[order.CONFLICT],
            held=tally[order.HELD],
        )
        self.counts = self.counts.plus(counts)
        notes = Notes(
            skipped=tally[order.SKIPPED],
            filled=tally[order.FILLED],
            restarted=tally[order.RESTARTED],
            passed_over=self._codec.passed_over - passed_over,
            evaluations=self._evaluations - evaluations,
            transitions=self._transitions,
        )
        return Outcome(self._events, self._dead, counts, notes)

    def _take_usual(self, run: Run) -> tuple[Array, Array, Array]:
        """What `intake.take` reads of a run: how many values up to each record or -1, rows, values."""
        count = len(run)
        taken, rows = np.empty(count, np.int64), np.empty(count, order.RECORD)
        # A metric takes five bytes at least.
        values = np.empty(len(run.buffer) // 5 + self.limits.metrics)
        self._passes.take(
            np.frombuffer(run.buffer, np.uint8), run.columns, self._header, self.limits.payload_bytes,
            self.limits.metrics, LATEST, self._ahead, self.index.keys.columns, rows, values, taken,
        )  # fmt: skip
        return taken, rows, values

    def _append(self, rows: Array, values: Array) -> None:
        """Rows of `order.RECORD` behind those that were read before them."""
        self._close()
        self._parts.append((rows, values))

    def _close(self) -> None:
        """What was read one by one becomes a part."""
        if self._records:
            rows = np.frombuffer(array("q", self._records), order.RECORD)
            self._parts.append((rows, np.frombuffer(array("d", self._values))))
            self._records, self._values = [], []

    def _read(self, record: Record, at: int, place: int) -> None:
        """A record that is not of the usual kind.

        Args:
            record: itself.
            at: its asset, -1 when the run began without it.
            place: in the run.
        """
        key = record.key
        try:
            if key is None:
                self._pulse(record, place)
                return
            if at < 0:
                at = self.index.keys.recall(key)
            asset = key.decode("ascii") if at >= 0 else _asset_id(key)
            tail, content_type, replayed = _read_headers(record.headers)
            readings = self._codec.read(tail, record.value, record.timestamp, asset, content_type)
            if at < 0 and readings:
                at = self.index.add_asset(key)
            if not readings:
                self._untold += 1
            for reading in readings:
                kind = 0 if reading.stamped else order.UNSTAMPED | replayed
                self._take(at, reading, kind | order.CYCLIC if reading.cyclic else kind)
            if self._unknown or self._crowded:
                self._set_aside(record)
        except DeadLetter as letter:
            self._bury(record, letter.reason, letter.detail)

    @property
    def _evaluations(self) -> int:
        return sum(bank.evaluations for bank in self.index.banks)

    @property
    def rows(self) -> dict[str, int]:
        """Rows in use by what they are (assets, series, each detector), open episodes, waiting samples."""
        return {**self.index.rows(), "episode": len(self.casebook), "held": self._held}

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return sum(array.nbytes for array in self.index.arrays()) + self._pool.nbytes

    @property
    def waiting(self) -> Array:
        """The samples that wait to be put in order, asset by asset, each asset's in their order."""
        found: list[int] = []
        for at in self.index.assets["head"][: len(self.index.keys)].tolist():
            place = at
            while place >= 0:
                found.append(place)
                place = int(self._pool["next"][place])
        samples = self._pool[found]
        samples["next"] = -1
        return samples

    def wait(self, samples: Array) -> None:
        """Let samples of an earlier life wait again, each after those of its asset that came before it."""
        self._make_room(len(samples))
        index, last = self.index, dict[int, int]()
        for sample in samples:
            place = int(self._free[0])
            self._free[0] = self._pool["next"][place]
            self._pool[place] = sample
            self._pool["next"][place] = -1
            asset = int(sample["asset"])
            if asset in last:
                self._pool["next"][last[asset]] = place
            else:
                index.assets["head"][asset] = place
            index.assets["held"][asset] += 1
            last[asset] = place
        self._held = len(samples)

    def dump(self) -> bytes:
        """The whole memory, with the version of its format and the hash of the rules."""
        return b"".join(self.pieces())

    def pieces(self) -> list[Piece]:
        """`dump` in pieces that follow each other; some are this memory itself: good until the next run."""
        return snapshot.dump(self)

    @classmethod
    def load(
        cls,
        dump: bytes | memoryview,
        rules: RuleSet | Schedule,
        *,
        partition: int,
        limits: Limits | None = None,
        jit: bool = True,
        begun: int = 0,
    ) -> Self:
        """Continue from a dump, under a file's rules (`plan`) or the very schedule.

        Args:
            dump: from `dump`; one that can be written to becomes the engine's own memory.
            rules: of now.
            partition: the dump's.
            limits: as for a new engine.
            jit: the same.
            begun: an event time that may have been met since the dump, milliseconds: whoever judged on and
                was killed may have told events by a set that starts there or before, so it has begun.

        Raises:
            StreamError: the dump is of another partition, or of a format this version does not know.
        """
        return snapshot.restore(
            memory.decode(dump, partition),
            rules,
            lambda schedule: cls(schedule, partition=partition, limits=limits, jit=jit),
            begun=begun,
        )

    @property
    def rules(self) -> RuleSet:
        """The rule set that comes to be in force last."""
        return self.schedule.newest

    def plan(self, rules: RuleSet, *, begun: int = 0) -> tuple[Schedule, str]:
        """The schedule with a file's rules, and why not, "" when they are taken; `begun` as in `load`."""
        newest = self.index.assets["newest"][: len(self.index.keys)].max(initial=0)
        reached, now = snapshot.reach(int(newest), self.clock.at)
        return self.schedule.adopt(rules, max(reached, begun), now)

    @property
    def remaining(self) -> Schedule:
        """The schedule without the rule sets that judge nothing any more."""
        return self.schedule.since(self.clock.at - GRACE)

    def under(self, schedule: Schedule) -> Self:
        """An engine with this memory under another schedule; the state of rules that live on is kept."""
        return self.load(self.dump(), schedule, partition=self.partition, limits=self.limits, jit=self._jit)

    def _begin(self) -> None:
        self._records, self._runs, self._values, self._parts = [], [], [], []
        self._unknown = self._crowded = 0

    def _bury(self, record: Record, reason: DeadReason, detail: str, samples: int = 1) -> None:
        self._dead.append(Dead(record, reason, detail))
        self._unjudged += samples

    def _set_aside(self, record: Record) -> None:
        """Samples that no series takes: one dead letter a reason, however many messages the record holds.

        A letter carries the whole payload, so that one a message would be a thousand times what was sent.
        """
        if self._unknown:
            detail = f"{self._unknown} metrics that no rule selects"
            self._bury(record, DeadReason.UNKNOWN_METRIC, detail, self._unknown)
        if self._crowded:
            detail = f"{self._crowded} metrics beyond the asset's {self.limits.series} series"
            self._bury(record, DeadReason.SERIES_LIMIT, detail, self._crowded)
        self._unknown = self._crowded = 0

    def _take(self, at: int, reading: Reading, kind: int) -> None:
        """One message into the columns of the run; `kind` as in `order.RECORD`."""
        index = self.index
        names, shape = reading.names, index.keys.shape(at)
        if shape is not None and shape.names == names and not reading.event:
            self._records.extend((at, reading.t, reading.seq, 0, kind))
            self._values.extend(reading.values)
        elif shape is not None and not reading.event and shape.covers(names):
            # In the shape's order, as the compiled reader gives them.
            values = dict(zip(names, reading.values, strict=True))
            self._records.extend((at, reading.t, reading.seq, 0, kind))
            self._values.extend(values[name] for name in shape.names)
        else:
            self._take_apart(at, reading, kind)
        if reading.units is not None:
            for name, unit in zip(names, reading.units, strict=True):
                series = index.find(at, Target.METRIC, name, 0)
                if unit and series >= 0:
                    index.units.setdefault(series, unit)

    def _take_apart(self, at: int, reading: Reading, kind: int) -> None:
        """A message whose shape is not the asset's own: each name is looked up."""
        index, limits = self.index, self.limits
        target = Target.EVENT if reading.event else Target.METRIC
        picky = limits.unknown_metrics == "dead" and target is Target.METRIC
        era = self._era_of(reading.t)
        if (
            index.keys.shape(at) is None
            and target is Target.METRIC
            and self._fits(at, reading.names, era if picky else None)
        ):
            index.add_shape(at, reading.names)
            self._take(at, reading, kind)
            return
        taken = 0
        for name, value in zip(reading.names, reading.values, strict=True):
            if picky and not index.known(target, name, era):
                self._unknown += 1
                continue
            series = index.find(at, target, name, limits.series)
            if series < 0:
                self._crowded += 1
                continue
            self._runs.extend((series, 1))
            self._values.append(value)
            taken += 1
        if taken:
            self._records.extend((at, reading.t, reading.seq, taken, kind))

    def _fits(self, at: int, names: tuple[str, ...], era: int | None) -> bool:
        """Whether these names can become the asset's shape: room for all, none of them met before.

        With an era, its rules must know them all.
        """
        index = self.index
        return int(index.assets["owned"][at]) + len(names) <= self.limits.series and all(
            index.find(at, Target.METRIC, name, 0) < 0
            and (era is None or index.known(Target.METRIC, name, era))
            for name in names
        )

    def _keep(self, records: int) -> None:
        """So many records of the run are judged for good."""
        self._whole = _Whole(records, len(self._dead), self._unjudged, self._untold, self._tally.copy())

    def _pulse(self, record: Record, place: int) -> None:
        """A record without a key is a heartbeat, or nothing we know; `place`: in the run."""
        if not any(name == HEARTBEAT for name, _ in record.headers):
            raise DeadLetter(DeadReason.KEY_MISSING, "neither a key nor a heartbeat")
        try:
            beat = read_beat(record.value, record.timestamp)
        except msgspec.MsgspecError:
            raise DeadLetter(DeadReason.MALFORMED, "not a heartbeat") from None
        self._flush()
        self._keep(place)
        if beat.gone:
            self.clock.forget(beat.bridge)
            return
        if not self.clock.beat(beat.ts, beat.bridge, record.timestamp):
            self._cut()
            return
        now = self.clock.now
        if self._held:
            out = np.empty(self._held, order.JUDGED)
            index = self.index
            columns = (index.assets, index.series, self._pool, self._free, out, self._tally)
            before = int(self._tally[order.HELD])
            count = self._passes.expire(self._lateness, now, *columns)
            self._held += int(self._tally[order.HELD]) - before
            self._judge(out[:count])
        self._settle(now)
        nothing = np.empty(0, order.JUDGED)
        gap, count, era = self.clock.gap, self.index.series_count, self.schedule.era(self.clock.at)
        latest = self.clock.at + self._ahead
        changes = [change for bank in self.index.banks for change in bank.tick(now, gap, count, era, latest)]
        ranks = self.schedule.ranks
        for change in sorted(changes, key=lambda change: (change.series, ranks[change.rule])):
            self._turn(change, nothing)

    def _flush(self) -> None:
        """Order and judge the run so far."""
        self._close()
        if not self._parts:
            return
        records, values = self._parts[0]
        if len(self._parts) > 1:
            records, values = (np.concatenate(each) for each in zip(*self._parts, strict=True))
        runs = np.frombuffer(array("q", self._runs), order.RUN) if self._runs else _NO_RUNS
        self._begin()
        if self._lateness:
            self._make_room(self._held + len(values))
        index = self.index
        out = np.empty(len(values) + self._held + len(records), order.JUDGED)
        before = int(self._tally[order.HELD])
        patience = (self._lateness, self.limits.held, self._furthest)
        columns = (index.assets, index.series, self._pool, self._free, out, self._tally)
        count = self._passes.admit(records, runs, values, *patience, *columns)
        self._held += int(self._tally[order.HELD]) - before
        self._judge(out[:count])
        self._settle()

    def _make_room(self, size: int) -> None:
        """Room for that many waiting samples, the new places chained into the free list."""
        old = len(self._pool)
        if old >= size:
            return
        self._pool = np.concatenate([self._pool, np.zeros(max(size, 2 * old) - old, order.POOL)])
        self._pool["next"][old:] = np.arange(old + 1, len(self._pool) + 1)
        self._pool["next"][-1] = self._free[0]
        self._free[0] = old

    def _judge(self, judged: Array) -> None:
        """One pass per detector; only what changed is looked at in Python."""
        if not len(judged):
            return
        series, t, v = (np.ascontiguousarray(judged[name]) for name in ("series", "t", "v"))
        banks = self.index.banks
        if self.schedule.starts:
            eras = self._eras_of(t)
            parts = [(int(era), np.flatnonzero(eras == era)) for era in np.unique(eras)]
            changes = [
                change
                for era, samples in parts
                for bank in banks
                for change in bank.sweep_era(samples, series, t, v, era)
            ]
        else:
            spans = {layout: layout.span(series) for layout in self.index.layouts}
            changes = [change for bank in banks for change in bank.sweep(series, t, v, spans[bank.layout])]
        ranks = self.schedule.ranks
        changes.sort(key=lambda change: (change.sample, ranks[change.rule]))
        for change in changes:
            self._turn(change, judged)
        if self.casebook.ends:
            self._cut_at(judged[self._eras_of(judged["previous"]) < eras])
        self._passes.remember(judged, len(judged), self.index.recent, self.index.places)

    def _settle(self, moved: int | None = None) -> None:
        series = self.index.series
        self._cut()
        self._events += self.casebook.settle(moved, lambda row: int(series["t"][row]))

    def _era_of(self, t: int) -> int:
        """Number of the rule set that judges an event time."""
        return self.schedule.era(max(t, self.clock.at - GRACE)) if self.schedule.starts else 0

    def _eras_of(self, t: Array) -> Array:
        """The same of many."""
        return np.searchsorted(self.schedule.starts, np.maximum(t, self.clock.at - GRACE), "right")

    def _cut_at(self, crossing: Array) -> None:
        """End what ended with an older rule set, of series that have now crossed into a newer one."""
        ends, ranks = self.casebook.ends, self.schedule.ranks
        for series, t, previous in crossing[["series", "t", "previous"]].tolist():
            over = [each for each in ends if each.series == series and ends[each] <= t]
            for condition in sorted(over, key=lambda each: ranks[each.rule]):
                self._events += self.casebook.cut(condition, previous=previous)

    def _cut(self) -> None:
        """The same of series that have sent nothing newer, once the clock has proven that it is time."""
        ends, told = self.casebook.ends, []
        for condition, end in list(ends.items()):
            t = int(self.index.series["t"][condition.series])
            if max(t, self.clock.at - GRACE) >= end:
                told.append(self.casebook.cut(condition, previous=t))
        self._events += merge(told)

    def _turn(self, change: Change, judged: Array) -> None:
        """A condition came true or ended: tell the casebook."""
        self._transitions += 1
        condition = Condition(change.series, change.rule)
        if change.sample >= 0:
            sample = judged[change.sample]
            t, v, previous = int(sample["t"]), float(sample["v"]), int(sample["previous"])
        else:
            row = self.index.series[change.series]
            t, v, previous = self._onset(change, condition), float(row["v"]), int(row["t"])
        if change.on:
            find = lambda: self._find(change, t, v, judged)  # noqa: E731 - asked only when an episode begins
            self._events += self.casebook.rise(condition, t=t, previous=previous, find=find)
        else:
            self._events += self.casebook.fall(condition, t=t, previous=previous)

    def _onset(self, change: Change, condition: Condition) -> int:
        """Event time of a change that the clock made."""
        onset, at = change.bank.onset(change), self.clock.at
        if change.on:
            # Not before the rule set that says so.
            return max(onset, self.schedule.eras[self.schedule.era(at)].start)
        # Where a new set's longer time takes a finding back, the onset is yet to come.
        episode = self.casebook.episodes.get(condition)
        return onset if episode is None else min(onset, max(at, episode.since))

    def _find(self, change: Change, t: int, v: float, judged: Array) -> Finding:
        """Why, with the samples that led there."""
        _, target, name = self.index.of(change.series)
        whole = target is Target.ASSET
        evidence = self._asset_evidence(change) if whole else self._evidence(change, judged, name)
        why = change.bank.explain(change, t, v)
        unit = self.index.units.get(change.series, "")
        return make_finding(why, metric=name, unit=unit, evidence=tuple(evidence))

    def _evidence(self, change: Change, judged: Array, name: str) -> list[Evidence]:
        """The series' last samples up to the finding: those of this run, then those remembered."""
        index, depth = self.index, self.limits.evidence
        run = judged[: change.sample + 1]
        own = run[run["series"] == change.series]
        ring, place = index.recent[change.series], int(index.places[change.series])
        past = []
        if place:
            newest = own[0][["previous", "before"]] if len(own) else index.series[change.series]
            past.append(newest.item())
            for back in range(1, min(place - 1, len(ring)) + 1):
                gap, value = ring[(place - 1 - back) % len(ring)].item()
                if gap == LONGEST:
                    break
                past.append((past[-1][0] - gap, value))
        found = [*past[::-1], *own[["t", "v"]].tolist()][-depth:]
        # What a ring cannot tell is not told either where the run itself still knows it.
        far = [at for at in range(1, len(found)) if found[at][0] - found[at - 1][0] >= LONGEST]
        return [Evidence(name, t, v) for t, v in found[far[-1] if far else 0 :]]

    def _asset_evidence(self, change: Change) -> list[Evidence]:
        """The last sample of each metric, for a finding about the whole asset."""
        index = self.index
        rows = index.metrics(change.series, self.limits.evidence)
        met = [(index.of(row)[2], index.series[row]) for row in rows]
        return [Evidence(name, int(at["t"]), float(at["v"])) for name, at in met if at["t"] != order.NEVER]


def warm(rules: RuleSet) -> None:
    """Compile every pass that these rules need, or read it from the cache, before the first record."""
    for bank in Index(Schedule.begin(rules), jit=True, evidence=1).banks:
        kernel.warm(bank.kernel.detector, bank.layout.rule.dtype)
    passes.warm(RECENT)


def _asset_id(key: bytes) -> str:
    if not 0 < len(key) <= _LONGEST_ID or not _LETTERS.issuperset(key):
        raise DeadLetter(DeadReason.KEY_MISSING, "the key is not an asset id")
    return key.decode("ascii")


def _read_headers(headers: Sequence[tuple[str, bytes]]) -> tuple[bytes, bytes, int]:
    """Tail of the topic, content type, `order.REPLAYED` or 0; values may be None, whatever the type says."""
    found = dict(reversed(headers))
    if TAIL not in found:
        raise DeadLetter(DeadReason.TOPIC_INVALID, f"no header {TAIL!r}")
    return found[TAIL] or b"", found.get(CONTENT_TYPE) or b"", order.REPLAYED if REPLAY in found else 0
