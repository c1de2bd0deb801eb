"""Who is who: asset ids and metric names to rows, with bounds; the rows that order and evidence need."""

from collections.abc import Mapping, Sequence

import numpy as np

from processor.detect.detector import Target
from processor.detect.kernel import build
from processor.engine.bank import Array, Bank, Layout, grown
from processor.engine.directory import Directory
from processor.engine.order import ASSET, NEVER, RECENT, SERIES
from processor.engine.passes import ordering
from processor.rules.schedule import Schedule, Term

#: Series of one asset that follow each other: of its shape when `name` is -1, else the one of that name.
BLOCK = np.dtype([("series", np.int32), ("asset", np.int32), ("name", np.int32)], align=True)


class Index:
    """Assets, their series, and the detectors' rows behind each series.

    The names of an asset's first message are its *shape*: their series lie side by side, so a message of
    that shape needs no look-up per metric. Whatever else the asset sends is found one by one.
    """

    def __init__(self, schedule: Schedule, *, jit: bool, evidence: int) -> None:
        #: The keys, and the shape of each.
        self.keys = Directory(ordering(jit=jit).enter)
        self.series_count = 0
        self.names: list[tuple[Target, str]] = []
        self.assets = np.zeros(0, ASSET)
        self.series = np.zeros(0, SERIES)
        self.blocks = np.zeros(0, BLOCK)
        self.block_count = 0
        # The newest sample is in the series' own row.
        self.recent = np.zeros((0, evidence - 1), RECENT)
        self.places = np.zeros(0, np.uint32)
        self.units: dict[int, str] = {}
        self._more: dict[tuple[int, int], int] = {}
        self._name_of: dict[tuple[Target, str], int] = {}
        self.layouts, self.banks = _make_banks(schedule, jit=jit)
        self._selected = [
            {term.series for term in schedule.terms if term.rules[era] is not None}
            for era in range(len(schedule.eras))
        ]
        self._whole = any(term.series == (Target.ASSET, "") for term in schedule.terms)

    def add_asset(self, key: bytes) -> int:
        """A row for an asset not met before."""
        at = self.keys.add(key)
        self.assets = grown(self.assets, at + 1)
        row = self.assets[at]
        row["newest"] = row["mark"] = row["heard"] = NEVER
        row["top"] = row["head"] = row["whole"] = row["begin"] = -1
        if self._whole:
            row["whole"] = self._add(at, Target.ASSET, ("",), self._number(Target.ASSET, ""))
        return at

    def asset_id(self, at: int) -> str:
        """The asset's id."""
        return self.keys[at].decode("ascii")

    def known(self, target: Target, name: str, era: int) -> bool:
        """Whether any rule of an era looks at series of this name."""
        return (target, name) in self._selected[era]

    def add_shape(self, at: int, names: tuple[str, ...]) -> None:
        """Series side by side for the metrics of an asset's first message."""
        self.keys.set_shape(at, names)
        base = self._add(at, Target.METRIC, names, -1)
        row = self.assets[at]
        row["begin"], row["width"] = base, len(names)
        row["owned"] += len(names)

    def find(self, at: int, target: Target, name: str, most: int) -> int:
        """The series of a name, made when it is new; -1 when the asset has `most` already."""
        shape = self.keys.shape(at)
        if shape is not None and target is Target.METRIC:
            place = shape.places.get(name, -1)
            if place >= 0:
                return int(self.assets["begin"][at]) + place
        number = self._number(target, name) if (target, name) in self._name_of else -1
        found = self._more.get((at, number), -1)
        if found < 0 and self.assets["owned"][at] < most:
            number = self._number(target, name)
            found = self._more[at, number] = self._add(at, target, (name,), number)
            # That of the asset as a whole, which no rule looks at any more, is not counted either.
            self.assets["owned"][at] += target is not Target.ASSET
        return found

    def of(self, series: int) -> tuple[str, Target, str]:
        """Asset id, kind and name of a series."""
        at, target, name = self.place(series)
        return self.asset_id(at), target, name

    def place(self, series: int) -> tuple[int, Target, str]:
        """Asset, kind and name of a series."""
        starts = self.blocks["series"][: self.block_count]
        block = self.blocks[int(np.searchsorted(starts, series, "right")) - 1]
        at, number = int(block["asset"]), int(block["name"])
        shape = self.keys.shape(at)
        if number < 0 and shape is not None:
            return at, Target.METRIC, shape.names[series - int(block["series"])]
        return at, *self.names[number]

    def metrics(self, series: int, most: int) -> Sequence[int]:
        """The first series of the shape of a series' asset."""
        at, _, _ = self.place(series)
        shape = self.keys.shape(at)
        base = int(self.assets["begin"][at])
        return range(base, base + min(most, 0 if shape is None else shape.width))

    def rows(self) -> Mapping[str, int]:
        """Rows in use, by what they are: bounded names, for a gauge."""
        rows = {"asset": len(self.keys), "series": self.series_count}
        rows.update({bank.kernel.detector.name: bank.rows for bank in self.banks})
        return rows

    def arrays(self) -> list[Array]:
        """Every array of memory, to be measured."""
        own = [self.assets, self.series, self.blocks, self.recent, self.places, *self.keys.arrays]
        for layout in self.layouts:
            own += [layout.first, layout.rule, layout.masks]
        for bank in self.banks:
            own += [bank.state, bank.flag]
        return own

    def adopt(self, names: list[tuple[Target, str]]) -> None:
        """Take over what the arrays, which are in place already, speak of: only in an empty index."""
        self.names = names
        self._name_of = {name: number for number, name in enumerate(names)}
        blocks = self.blocks[: self.block_count]
        for series, at, number in blocks[blocks["name"] >= 0].tolist():
            if names[number][0] is not Target.ASSET:
                self._more[at, number] = series

    def _number(self, target: Target, name: str) -> int:
        known = self._name_of.get((target, name))
        if known is None:
            known = self._name_of[target, name] = len(self.names)
            self.names.append((target, name))
        return known

    def _add(self, at: int, target: Target, names: tuple[str, ...], number: int) -> int:
        """Series that follow each other; the first of them."""
        new = self.series_count
        count = self.series_count = new + len(names)
        self.series = grown(self.series, count)
        self.recent, self.places = grown(self.recent, count), grown(self.places, count)
        self.series["t"][new:count] = NEVER
        self.blocks = grown(self.blocks, self.block_count + 1)
        self.blocks[self.block_count] = (new, at, number)
        self.block_count += 1
        asset = self.asset_id(at)
        for layout in self.layouts:
            layout.attach(new, asset, target, names)
        for bank in self.banks:
            bank.fit()
        return new


def _make_banks(schedule: Schedule, *, jit: bool) -> tuple[list[Layout], list[Bank]]:
    """A bank for each detector in use; those whose rules select alike share a layout."""
    eras = len(schedule.eras)
    used: dict[str, list[tuple[int, Term]]] = {}
    for place, term in enumerate(schedule.terms):
        used.setdefault(term.detector.name, []).append((place, term))
    layouts: dict[object, Layout] = {}
    banks = []
    for own in used.values():
        alike = tuple(term.selection for _, term in own)
        layout = layouts.setdefault(alike, Layout([term for _, term in own], eras))
        banks.append(Bank(build(own[0][1].detector, jit=jit), own, layout, eras))
    return list(layouts.values()), banks
