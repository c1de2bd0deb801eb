"""The gate's bench in its short form: it runs, and writes every figure down; what they say is not judged."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.bench.figures import Figure, Turn, compare, report, spread

ROWS = (
    "verify, bytes to claims / that",
    "whole cold authenticate, everything on / that",
    "cached authenticate, everything on, random order / that",
    "key lookup / that",
    "the worst refusal",
    "resident bytes per cached verdict",
    "p99 of known-key verification",
    "full garbage collection",
)


@pytest.mark.timeout(300)
def test_the_bench_runs_and_writes_every_figure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.gate", "--short", "--folder", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    figures = msgspec.json.decode((tmp_path / "gate.json").read_bytes(), type=list[Figure])
    for row in ROWS:
        (figure,) = [found for found in figures if found.figure.startswith(row)]
        assert figure.bound is not None
        assert figure.value > 0


class Machine:
    """CPU time by hand, on a machine whose pace changes from round to round."""

    def __init__(self, paces: list[float]) -> None:
        self.now = 0.0
        self.order: list[float] = []
        self._paces = paces

    def contestant(self, seconds: float) -> Turn:
        def run() -> int:
            self.now += seconds * self._paces[len(self.order) // 2]
            self.order.append(seconds)
            return 10

        def prepare() -> Callable[[], int]:
            self.now += 100.0  # making ready is nobody's cost
            return run

        return prepare


def test_contestants_take_turns_and_are_compared_within_a_round() -> None:
    machine = Machine([9.0, 1.0, 5.0, 2.0])
    ratios, micro = compare(
        "base",
        {"base": machine.contestant(1.0), "double": machine.contestant(2.0)},
        rounds=3,
        cpu=lambda: machine.now,
    )
    assert machine.order == [1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 1.0]
    assert ratios["double"] == pytest.approx((2.0, 2.0, 2.0))
    assert micro["base"].median == pytest.approx(0.2 * 1e6)


def test_quartiles_lie_around_the_median() -> None:
    assert spread([3.0]) == (3.0, 3.0, 3.0)
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (3.0, 2.0, 4.0)


def test_a_missed_bound_is_said_and_fails_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = [
        Figure("a", 2.0, 1.0, spread=(1.5, 2.5)),
        Figure("b", 2.0, 1.0, ">="),
        Figure("c", 3.0),
    ]
    report("x", figures, folder=tmp_path)
    a, b, c, _ = capsys.readouterr().out.splitlines()
    assert "1.5 to 2.5" in a
    assert a.endswith("MISSED")
    assert b.endswith("held")
    assert "held" not in c
    assert msgspec.json.decode((tmp_path / "x.json").read_bytes(), type=list[Figure]) == figures
