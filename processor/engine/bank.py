"""The memory of one detector: a row for each (series, rule), in typed columns that double when full."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processor.detect.kernel import Kernel
from processor.model import Explanation
from processor.rules.ruleset import Rule

Array = NDArray[Any]


def grown(array: Array, size: int, fill: int = 0) -> Array:
    """An array of at least `size` rows with the old ones first: the same one while it is large enough."""
    if len(array) >= size:
        return array
    larger = np.zeros((max(size, 2 * len(array), 64), *array.shape[1:]), array.dtype)
    if fill:
        larger[:] = fill
    larger[: len(array)] = array
    return larger


class Change(NamedTuple):
    """A flag of one row that turned: `sample` is its place in the run, -1 when the clock turned it."""

    sample: int
    rule: int
    series: int
    on: bool
    state: Any
    bank: "Bank"


class Bank:
    """Rows of one detector.

    Args:
        kernel: the detector's passes.
        rules: the rules that use it, with their places in the rule set.
    """

    def __init__(self, kernel: Kernel, rules: Sequence[tuple[int, Rule]]) -> None:
        self.kernel = kernel
        self.rules = tuple(rules)
        self.params = np.zeros(len(rules), kernel.detector.params)
        for place, (_, rule) in enumerate(rules):
            for field, value in rule.params.items():
                self.params[field][place] = value
        self.rows = 0
        #: Rules asked about samples so far.
        self.evaluations = 0
        self.state = np.zeros(0, kernel.detector.state)
        self.flag = np.zeros(0, np.uint8)
        self.rule = np.zeros(0, np.int32)
        self.series = np.zeros(0, np.int32)
        self.first = np.zeros(0, np.int32)
        self.count = np.zeros(0, np.uint16)

    def attach(self, series: int, places: Sequence[int]) -> None:
        """Give a series one row for each of its rules (places in this bank)."""
        self.first = grown(self.first, series + 1)
        self.count = grown(self.count, series + 1)
        if not places:
            return
        start, end = self.rows, self.rows + len(places)
        self.state, self.flag = grown(self.state, end), grown(self.flag, end)
        self.rule, self.series = grown(self.rule, end), grown(self.series, end)
        self.rule[start:end] = places
        self.series[start:end] = series
        self.first[series], self.count[series] = start, len(places)
        self.rows = end

    def sweep(self, series: Array, t: Array, v: Array) -> Iterator[Change]:
        """Judge samples in order."""
        out = np.empty(int(self.count[series].sum()), self.kernel.out)
        if not len(out):
            return iter(())
        self.evaluations += len(out)
        columns = (self.first, self.count, self.rule, self.params, self.state, self.flag, out)
        return self._changes(out, self.kernel.sweep(series, t, v, *columns))

    def tick(self, clock: int, gap: int) -> Iterator[Change]:
        """Let the clock speak to every row."""
        if self.kernel.tick is None or not self.rows:
            return iter(())
        out = np.empty(self.rows, self.kernel.out)
        columns = (self.rows, self.rule, self.params, self.state, self.flag, out)
        return self._changes(out, self.kernel.tick(clock, gap, *columns))

    def _changes(self, out: Array, count: int) -> Iterator[Change]:
        for each in out[:count].view(np.recarray):
            place = self.rule[each.row]
            yield Change(
                sample=int(each.sample),
                rule=self.rules[place][0],
                series=int(self.series[each.row]),
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
