"""The memory of one detector: a row for each (series, rule), in typed columns that double when full."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processor.detect.detector import Target
from processor.detect.kernel import Kernel
from processor.engine.pages import map_pages
from processor.model import Explanation
from processor.rules.schedule import Term

Array = NDArray[Any]

#: Arrays of at least this many bytes have pages of their own.
_PAGES = 1 << 18
#: Rules of a bank whose places fit into a byte.
SMALL = 256
#: Names of an asset's metrics whose rows are remembered; others are found anew for each asset.
_PLANS = 4096


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any], *, filled: int = 0) -> Array:
    """Rows of zeros, many in pages of their own; the first `filled` are about to be written to."""
    row = math.prod(shape[1:]) * dtype.itemsize
    if shape[0] * row < _PAGES:
        return np.zeros(shape, dtype)
    return np.frombuffer(map_pages(shape[0] * row, filled=filled * row), dtype).reshape(shape)


def grown(array: Array, size: int) -> Array:
    """An array of at least `size` rows with the old ones first: the same one while it is large enough."""
    if len(array) >= size:
        return array
    larger = zeros((max(size, 2 * len(array), 64), *array.shape[1:]), array.dtype, filled=len(array))
    larger[: len(array)] = array
    return larger


def owned(rows: Array) -> Array:
    """The same rows, to be written to: where they lie if that can be, else in memory of their own."""
    if rows.flags.writeable and rows.flags.aligned:
        return rows
    own = zeros(rows.shape, rows.dtype, filled=len(rows))
    own[:] = rows
    return own


class Change(NamedTuple):
    """A flag of one row that turned: `sample` is its place in the run, -1 when the clock turned it."""

    sample: int
    rule: int
    series: int
    on: bool
    state: Any
    params: Any
    bank: "Bank"


class Span(NamedTuple):
    """Of each sample its series' first row and the one after its last; and how many rows that is in all."""

    begin: Array
    end: Array
    asked: int


class Layout:
    """Which rows are a series': those from ``first[series]`` to ``first[series + 1]``, one for each rule.

    Banks whose rules select alike share one layout.

    Args:
        rules: of a bank.
        eras: how many rule sets there are.
    """

    def __init__(self, rules: Sequence[Term], eras: int) -> None:
        self.rules = tuple(rules)
        self._eras = eras
        self.first = np.zeros(1, np.int32)
        #: Each row's rule: its place among the rules.
        self.rule = np.zeros(0, np.uint8 if len(rules) <= SMALL else np.uint16)
        #: The eras in which each row is judged, as bits; not kept while there is only one.
        self.masks = np.zeros(0, np.uint8)
        self.rows = 0
        self._picky = any(rule.assets != ("*",) for term in rules for rule in term.nearest)
        self._plans: dict[tuple[Target, tuple[str, ...]], tuple[Array, Array, Array]] = {}

    def attach(self, series: int, asset: str, target: Target, names: tuple[str, ...]) -> None:
        """Give series that follow each other their rows."""
        plan = None if self._picky else self._plans.get((target, names))
        if plan is None:
            plan = self._make_plan(asset, target, names)
            if not self._picky and len(self._plans) < _PLANS:
                self._plans[target, names] = plan
        ends, places, masks = plan
        start, end = self.rows, self.rows + len(places)
        self.first = grown(self.first, series + len(names) + 1)
        self.first[series + 1 : series + 1 + len(names)] = ends + start
        self.rule = grown(self.rule, end)
        self.rule[start:end] = places
        if self._eras > 1:
            self.masks = grown(self.masks, end)
            self.masks[start:end] = masks
        self.rows = end

    def span(self, series: Array) -> Span:
        """The rows of samples' series."""
        begin, end = self.first[series], self.first[series + 1]
        return Span(begin, end, int((end - begin).sum()))

    def judged(self, rows: Array, era: int) -> Array:
        """Which of the rows are judged in an era."""
        bits: Array = self.masks[rows] & np.uint8(1 << era)
        return bits.astype(bool)

    def pairs(self, series: Array, era: int) -> tuple[Array, Array]:
        """Each sample with each of the rows that judge it in an era: places among the samples, and rows."""
        begin, end, asked = self.span(series)
        counts = end - begin
        samples = np.repeat(np.arange(len(series)), counts)
        rows = np.arange(asked) + np.repeat(begin - np.cumsum(counts) + counts, counts)
        judged = self.judged(rows, era)
        return samples[judged], rows[judged].astype(np.int32)

    def series_of(self, row: int, series_count: int) -> int:
        """The series that a row is of."""
        return int(np.searchsorted(self.first[: series_count + 1], row, "right")) - 1

    def owners(self, series_count: int) -> Array:
        """The series of every row."""
        return np.repeat(np.arange(series_count), np.diff(self.first[: series_count + 1]))

    def _make_plan(self, asset: str, target: Target, names: tuple[str, ...]) -> tuple[Array, Array, Array]:
        found = [
            [(at, mask) for at, term in enumerate(self.rules) if (mask := term.mask(asset, target, name))]
            for name in names
        ]
        places = np.array([place for each in found for place, _ in each], self.rule.dtype)
        masks = np.array([mask for each in found for _, mask in each], np.uint8)
        return np.cumsum([len(each) for each in found], dtype=np.int32), places, masks


class Bank:
    """Rows of one detector.

    Args:
        kernel: the detector's passes.
        rules: the terms that use it, with their places in the schedule.
        layout: of terms that select like these.
        eras: how many rule sets there are.
    """

    def __init__(self, kernel: Kernel, rules: Sequence[tuple[int, Term]], layout: Layout, eras: int) -> None:
        self.kernel = kernel
        self.rules = tuple(rules)
        self.layout = layout
        #: Of each era and rule.
        self.params = np.zeros((eras, len(rules)), kernel.detector.params)
        for place, (_, term) in enumerate(rules):
            for era, rule in enumerate(term.nearest):
                for field, value in rule.params.items():
                    self.params[field][era, place] = value
        self._metric = np.array([term.series[0] is Target.METRIC for _, term in rules], np.bool_)
        #: Rules asked about samples so far.
        self.evaluations = 0
        self.state = np.zeros(0, kernel.detector.state)
        self.flag = np.zeros(0, np.uint8)

    @property
    def rows(self) -> int:
        """Rows in use."""
        return self.layout.rows

    def fit(self) -> None:
        """Make room for the layout's rows."""
        self.state, self.flag = grown(self.state, self.rows), grown(self.flag, self.rows)

    def sweep(self, series: Array, t: Array, v: Array, span: Span) -> Iterator[Change]:
        """Judge samples in order by the one rule set that there is."""
        if not span.asked:
            return iter(())
        self.evaluations += span.asked
        out = np.empty(span.asked, self.kernel.out)
        columns = (self.layout.rule, self.params[0], self.state, self.flag, out)
        found = self.kernel.sweep(span.begin, span.end, t, v, *columns)
        return self._changes(out[:found], series[out["sample"][:found]], 0)

    def sweep_era(self, samples: Array, series: Array, t: Array, v: Array, era: int) -> Iterator[Change]:
        """Judge those of the samples at the places `samples`, which are of one era."""
        which, rows = self.layout.pairs(series[samples], era)
        if not len(rows):
            return iter(())
        self.evaluations += len(rows)
        out = np.empty(len(rows), self.kernel.out)
        columns = (self.layout.rule, self.params[era], self.state, self.flag, out)
        places = samples[which]
        found = self.kernel.sweep(rows, rows + np.int32(1), t[places], v[places], *columns)
        out["sample"][:found] = places[out["sample"][:found]]
        return self._changes(out[:found], series[out["sample"][:found]], era)

    def tick(self, clock: int, gap: int, series_count: int, era: int, latest: int) -> Iterator[Change]:
        """Let the clock speak to every row; no sample could be received yet of a time behind `latest`."""
        if self.kernel.tick is None or not self.rows:
            return iter(())
        layout = self.layout
        out = np.empty(self.rows, self.kernel.out)
        columns = (self.rows, layout.rule, self.params[era], self.state, self.flag, out)
        changes = out[: self.kernel.tick(clock, gap, *columns)]
        if not len(changes):
            return iter(())
        # A metric whose last sample lies behind what can have been received came by a clock that has been set
        # back since: its newer samples are late, and it is not silent. An asset's late samples do count.
        early = changes["on"].astype(bool) & self._metric[layout.rule[changes["row"]]]
        early &= changes["state"]["t"] > latest
        judged = ~early
        if len(self.params) > 1:
            # The clock may speak to a row that is not judged now: it has ended, or it has yet to begin.
            judged &= layout.judged(changes["row"], era)
        # Those are told again when they count.
        self.flag[changes["row"][~judged]] ^= 1
        changes = changes[judged]
        series = [layout.series_of(row, series_count) for row in changes["row"].tolist()]
        return self._changes(changes, series, era)

    def _changes(self, changes: Array, series: Sequence[int] | Array, era: int) -> Iterator[Change]:
        """`series`: of each change."""
        params = self.params[era].view(np.recarray)
        for at, each in enumerate(changes.view(np.recarray)):
            place = self.layout.rule[each.row]
            yield Change(
                sample=int(each.sample),
                rule=self.rules[place][0],
                series=int(series[at]),
                on=bool(each.on),
                state=each.state,
                params=params[place],
                bank=self,
            )

    def explain(self, change: Change, t: int, v: float) -> Explanation:
        """Why the detector spoke."""
        return self.kernel.detector.explain(change.state, change.params, t, v)

    def onset(self, change: Change) -> int:
        """Event time of a change that the clock made."""
        onset = self.kernel.detector.onset
        if onset is None:  # pragma: no cover - a Detector has both or neither
            raise TypeError(f"{self.kernel.detector.name} has no onset")
        return onset(change.state, change.params)
