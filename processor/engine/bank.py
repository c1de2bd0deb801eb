"""The memory of one detector: a row for each (series, rule), in typed columns that double when full."""

import math
import mmap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processor.detect.detector import Target
from processor.detect.kernel import Kernel
from processor.model import Explanation
from processor.rules.ruleset import Rule

Array = NDArray[Any]

#: Arrays of at least this many bytes have pages of their own.
_PAGES = 1 << 18
#: Rules of a bank whose places fit into a byte.
SMALL = 256
#: Names of an asset's metrics whose rows are remembered; others are found anew for each asset.
_PLANS = 4096


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any], *, filled: bool = False) -> Array:
    """Rows of zeros; many of them lie in pages of their own.

    No such page is used before it is written to, and all go back to the system at once: the C library's heap
    does neither. What is about to be `filled` gets its pages at once, which is cheaper than one by one.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < _PAGES:
        return np.zeros(shape, dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    pages = mmap.mmap(-1, size, flags=flags | mmap.MAP_POPULATE if filled else flags)
    return np.frombuffer(pages, dtype).reshape(shape)


def grown(array: Array, size: int) -> Array:
    """An array of at least `size` rows with the old ones first: the same one while it is large enough."""
    if len(array) >= size:
        return array
    larger = zeros((max(size, 2 * len(array), 64), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def copied(rows: Array) -> Array:
    """The same rows in memory of their own, to be written to."""
    own = zeros(rows.shape, rows.dtype, filled=True)
    own[:] = rows
    return own


class Change(NamedTuple):
    """A flag of one row that turned: `sample` is its place in the run, -1 when the clock turned it."""

    sample: int
    rule: int
    series: int
    on: bool
    state: Any
    bank: "Bank"


class Layout:
    """Which rows are a series': those from ``first[series]`` to ``first[series + 1]``, one for each rule.

    Banks whose rules select alike share one layout.

    Args:
        rules: of a bank.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.first = np.zeros(1, np.int32)
        #: Each row's rule: its place among the rules.
        self.rule = np.zeros(0, np.uint8 if len(rules) <= SMALL else np.uint16)
        self.rows = 0
        self._picky = any(rule.assets != ("*",) for rule in rules)
        self._plans: dict[tuple[Target, tuple[str, ...]], tuple[Array, Array]] = {}

    def attach(self, series: int, asset: str, target: Target, names: tuple[str, ...]) -> None:
        """Give series that follow each other their rows."""
        plan = None if self._picky else self._plans.get((target, names))
        if plan is None:
            plan = self._make_plan(asset, target, names)
            if not self._picky and len(self._plans) < _PLANS:
                self._plans[target, names] = plan
        ends, places = plan
        start, end = self.rows, self.rows + len(places)
        self.first = grown(self.first, series + len(names) + 1)
        self.first[series + 1 : series + 1 + len(names)] = ends + start
        self.rule = grown(self.rule, end)
        self.rule[start:end] = places
        self.rows = end

    def count(self, series: Array) -> int:
        """How many rules look at these samples."""
        return int((self.first[series + 1] - self.first[series]).sum())

    def series_of(self, row: int, series_count: int) -> int:
        """The series that a row is of."""
        return int(np.searchsorted(self.first[: series_count + 1], row, "right")) - 1

    def owners(self, series_count: int) -> Array:
        """The series of every row."""
        return np.repeat(np.arange(series_count), np.diff(self.first[: series_count + 1]))

    def _make_plan(self, asset: str, target: Target, names: tuple[str, ...]) -> tuple[Array, Array]:
        found = [
            [at for at, rule in enumerate(self.rules) if rule.selects(asset, target, name)] for name in names
        ]
        places = np.array([place for each in found for place in each], self.rule.dtype)
        return np.cumsum([len(each) for each in found], dtype=np.int32), places


class Bank:
    """Rows of one detector.

    Args:
        kernel: the detector's passes.
        rules: the rules that use it, with their places in the rule set.
        layout: of rules that select like these.
    """

    def __init__(self, kernel: Kernel, rules: Sequence[tuple[int, Rule]], layout: Layout) -> None:
        self.kernel = kernel
        self.rules = tuple(rules)
        self.layout = layout
        self.params = np.zeros(len(rules), kernel.detector.params)
        for place, (_, rule) in enumerate(rules):
            for field, value in rule.params.items():
                self.params[field][place] = value
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

    def sweep(self, series: Array, t: Array, v: Array, asked: int) -> Iterator[Change]:
        """Judge samples in order; `asked` is how many rules look at them."""
        layout = self.layout
        if not asked:
            return iter(())
        self.evaluations += asked
        out = np.empty(asked, self.kernel.out)
        columns = (layout.first, layout.rule, self.params, self.state, self.flag, out)
        return self._changes(out, self.kernel.sweep(series, t, v, *columns), series)

    def tick(self, clock: int, gap: int, series_count: int) -> Iterator[Change]:
        """Let the clock speak to every row."""
        if self.kernel.tick is None or not self.rows:
            return iter(())
        out = np.empty(self.rows, self.kernel.out)
        columns = (self.rows, self.layout.rule, self.params, self.state, self.flag, out)
        found = self.kernel.tick(clock, gap, *columns)
        series = [self.layout.series_of(row, series_count) for row in out["row"][:found].tolist()]
        return self._changes(out, found, series)

    def _changes(self, out: Array, count: int, series: Sequence[int] | Array) -> Iterator[Change]:
        """`series`: of each sample, or of each change when the clock made it."""
        for at, each in enumerate(out[:count].view(np.recarray)):
            place = self.layout.rule[each.row]
            yield Change(
                sample=int(each.sample),
                rule=self.rules[place][0],
                series=int(series[each.sample if each.sample >= 0 else at]),
                on=bool(each.on),
                state=each.state,
                bank=self,
            )

    def explain(self, change: Change, t: int, v: float) -> Explanation:
        """Why the detector spoke."""
        return self.kernel.detector.explain(change.state, self._parameters(change), t, v)

    def onset(self, change: Change) -> int:
        """Event time of a change that the clock made."""
        onset = self.kernel.detector.onset
        if onset is None:  # pragma: no cover - a Detector has both or neither
            raise TypeError(f"{self.kernel.detector.name} has no onset")
        return onset(change.state, self._parameters(change))

    def _parameters(self, change: Change) -> Any:  # noqa: ANN401 - a row of a dtype known at run time
        place = next(place for place, (rule, _) in enumerate(self.rules) if rule == change.rule)
        return self.params.view(np.recarray)[place]
