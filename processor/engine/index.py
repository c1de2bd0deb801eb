"""Who is who: asset ids and metric names to rows, with bounds; the rows that order and evidence need."""

from collections.abc import Mapping, Sequence

import numpy as np

from processor.detect.detector import Target
from processor.detect.kernel import build
from processor.engine.bank import Array, Bank, grown
from processor.engine.order import ASSET, NEVER, SERIES
from processor.rules.ruleset import RuleSet

#: One sample remembered as evidence.
RECENT = np.dtype([("t", np.int64), ("v", np.float64)], align=True)


class Index:
    """Assets, their series, and the detectors' rows behind each series.

    The names of an asset's first message are its *shape*: their series lie side by side, so a message of
    that shape needs no look-up per metric. Whatever else the asset sends is found one by one.
    """

    def __init__(self, rules: RuleSet, *, jit: bool, evidence: int) -> None:
        self.rules = rules
        self.ids: list[str] = []
        self.shape: list[tuple[str, ...] | None] = []
        self.base: list[int] = []
        self.size: list[int] = []
        self.by_key: dict[bytes, int] = {}
        self.series_count = 0
        self.names: list[tuple[Target, str]] = []
        self.assets = np.zeros(0, ASSET)
        self.series = np.zeros(0, SERIES)
        self.owner = np.zeros(0, np.int32)
        self.name = np.zeros(0, np.int32)
        self.recent = np.zeros((0, evidence), RECENT)
        self.places = np.zeros(0, np.int64)
        self.units: dict[int, str] = {}
        self._more: dict[tuple[int, int], int] = {}
        self._name_of: dict[tuple[Target, str], int] = {}
        used: dict[str, list[int]] = {}
        for place, rule in enumerate(rules.rules):
            used.setdefault(rule.detector.name, []).append(place)
        self.banks = [
            Bank(build(rules.rules[places[0]].detector, jit=jit), [(p, rules.rules[p]) for p in places])
            for places in used.values()
        ]
        self._selected = {(rule.target, rule.select) for rule in rules.rules}

    def add_asset(self, key: bytes, asset: str) -> int:
        """A row for an asset not met before."""
        at = len(self.ids)
        self.by_key[key] = at
        self.ids.append(asset)
        self.shape.append(None)
        self.base.append(-1)
        self.size.append(0)
        self.assets = grown(self.assets, at + 1)
        row = self.assets[at]
        row["newest"] = row["mark"] = NEVER
        row["top"] = row["head"] = row["whole"] = -1
        if (Target.ASSET, "") in self._selected:
            row["whole"] = self._add(at, Target.ASSET, "")
        return at

    def known(self, target: Target, name: str) -> bool:
        """Whether any rule looks at series of this name."""
        return (target, name) in self._selected

    def add_shape(self, at: int, names: tuple[str, ...]) -> None:
        """Series side by side for the metrics of an asset's first message."""
        self.shape[at] = names
        self.base[at] = self.series_count
        for name in names:
            self._add(at, Target.METRIC, name)
        self.size[at] += len(names)

    def find(self, at: int, target: Target, name: str, most: int) -> int:
        """The series of a name, made when it is new; -1 when the asset has `most` already."""
        shape = self.shape[at]
        if shape is not None and target is Target.METRIC and name in shape:
            return self.base[at] + shape.index(name)
        number = self._number(target, name) if (target, name) in self._name_of else -1
        found = self._more.get((at, number), -1)
        if found < 0 and self.size[at] < most:
            found = self._add(at, target, name)
            self._more[at, self._number(target, name)] = found
            self.size[at] += 1
        return found

    def _number(self, target: Target, name: str) -> int:
        known = self._name_of.get((target, name))
        if known is None:
            known = self._name_of[target, name] = len(self.names)
            self.names.append((target, name))
        return known

    def _add(self, at: int, target: Target, name: str) -> int:
        new = self.series_count
        self.series_count += 1
        self.series, self.owner = grown(self.series, new + 1), grown(self.owner, new + 1)
        self.name = grown(self.name, new + 1)
        self.recent, self.places = grown(self.recent, new + 1), grown(self.places, new + 1)
        self.series[new]["t"] = NEVER
        self.owner[new] = at
        self.name[new] = self._number(target, name)
        asset = self.ids[at]
        for bank in self.banks:
            places = [at for at, (_, rule) in enumerate(bank.rules) if rule.selects(asset, target, name)]
            bank.attach(new, places)
        return new

    def of(self, series: int) -> tuple[str, Target, str]:
        """Asset id, kind and name of a series."""
        target, name = self.names[self.name[series]]
        return self.ids[self.owner[series]], target, name

    def metrics(self, at: int, most: int) -> Sequence[int]:
        """The first series of an asset's shape."""
        return range(self.base[at], self.base[at] + min(most, len(self.shape[at] or ())))

    def rows(self) -> Mapping[str, int]:
        """Rows in use, by what they are: bounded names, for a gauge."""
        rows = {"asset": len(self.ids), "series": self.series_count}
        rows.update({bank.kernel.detector.name: bank.rows for bank in self.banks})
        return rows

    def arrays(self) -> list[Array]:
        """Every array of memory, to be measured."""
        own = [self.assets, self.series, self.owner, self.name, self.recent, self.places]
        for bank in self.banks:
            own += [bank.state, bank.flag, bank.rule, bank.series, bank.first, bank.count]
        return own
