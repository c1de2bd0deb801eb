"""What every bench shares: contestants measured in turn by CPU time, and figures that are written down.

A busy machine slows whoever runs at that moment, so contestants take turns, round by round, and a
figure is a ratio within one run. A bench reports and never fails: it exits 0 when a bound is missed.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

FOLDER = Path("build/bench")


class Figure(msgspec.Struct, frozen=True):
    """One measured figure.

    Attributes:
        figure: what was measured, over what.
        value: what came out.
        bound: what was asked for, None where nothing was.
        sense: on which side of the bound it shall be.
        spread: the quartiles of the rounds, None where there was one measurement.
    """

    figure: str
    value: float
    bound: float | None = None
    sense: Literal["<=", ">="] = "<="
    spread: tuple[float, float] | None = None

    @property
    def held(self) -> bool:
        """Whether the bound holds, True where there is none."""
        if self.bound is None:
            return True
        return self.value <= self.bound if self.sense == "<=" else self.value >= self.bound


def alternate(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    cpu: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Run each contestant once a round, in turn, and take the median CPU seconds of each.

    The order turns round with every round, so that none always runs after the same other. The first
    round warms caches and is not counted.

    Args:
        contestants: by name; each does one round's work.
        rounds: counted ones.
        cpu: CPU seconds used so far, by whatever process is measured.
    """
    names = list(contestants)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names if turn % 2 == 0 else reversed(names):
            began = cpu()
            contestants[name]()
            if turn:
                taken[name].append(cpu() - began)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


class Spread(NamedTuple):
    """Rounds of one figure: the median, and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Sum rounds up; one round is its own quartiles."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


Turn = Callable[[], Callable[[], int]]
"""One round of a contestant: makes ready, unmeasured, and gives what is measured, which returns how
many operations it did."""


def compare(
    base: str,
    contestants: Mapping[str, Turn],
    *,
    rounds: int,
    cpu: Callable[[], float] = time.process_time,
) -> tuple[dict[str, Spread], dict[str, Spread]]:
    """Measure contestants in turn, each operation against an operation of ``base`` in the same round.

    As in `alternate`, the order turns round and the first round is not counted. A slow moment of the
    machine slows all of one round, so that its ratios stay.

    Returns:
        Ratios to ``base``, and CPU microseconds an operation, by name.
    """
    names = list(contestants)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names if turn % 2 == 0 else reversed(names):
            run = contestants[name]()
            began = cpu()
            operations = run()
            if turn:
                taken[name].append((cpu() - began) / operations * 1e6)
    ratios = {
        name: spread([own / other for own, other in zip(taken[name], taken[base], strict=True)])
        for name in names
    }
    return ratios, {name: spread(taken[name]) for name in names}


def report(name: str, figures: Sequence[Figure], *, folder: Path = FOLDER) -> None:
    """Print the figures as a table and write them to ``build/bench/<name>.json``."""
    width = max(len(figure.figure) for figure in figures)
    for figure in figures:
        bound = "" if figure.bound is None else f"{figure.sense} {figure.bound:g}"
        verdict = "" if figure.bound is None else "held" if figure.held else "MISSED"
        around = "" if figure.spread is None else f"{figure.spread[0]:.4g} to {figure.spread[1]:.4g}"
        print(f"{figure.figure:<{width}}  {figure.value:>12.4g}  {around:<20} {bound:<12} {verdict}".rstrip())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    print(f"written to {path}")
