"""What every bench shares: contestants measured in turn by CPU time, and figures that are written down.

A busy machine slows whoever runs at that moment, so contestants take turns, round by round, and a
figure is a ratio within one run. A bench reports and never fails: it exits 0 when a bound is missed.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

FOLDER = Path("build/bench")


class Figure(msgspec.Struct, frozen=True):
    """One measured figure.

    Attributes:
        figure: what was measured, over what.
        value: what came out.
        bound: what was asked for, None where nothing was.
        sense: on which side of the bound it shall be.
    """

    figure: str
    value: float
    bound: float | None = None
    sense: Literal["<=", ">="] = "<="

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


def report(name: str, figures: Sequence[Figure], *, folder: Path = FOLDER) -> None:
    """Print the figures as a table and write them to ``build/bench/<name>.json``."""
    width = max(len(figure.figure) for figure in figures)
    for figure in figures:
        bound = "" if figure.bound is None else f"{figure.sense} {figure.bound:g}"
        verdict = "" if figure.bound is None else "held" if figure.held else "MISSED"
        print(f"{figure.figure:<{width}}  {figure.value:>12.4g}  {bound:<12} {verdict}".rstrip())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    print(f"written to {path}")
