"""The bench of ``make bench-mosquitto`` runs, every row of it; what it measures here is worth nothing."""

from pathlib import Path

import msgspec
import pytest

from tests.bench.figures import Figure
from tests.bench.mosquitto import SHORT, run

pytestmark = pytest.mark.needs("mosquitto", "cc", "openssl")

BOUNDS = {
    "connect, cold / all-C": 1.5,
    "connect, cold / password_file": 0.75,
    "connect, cached / anonymous with the same token": 1.5,
    "publish QoS 0, gate / no ACL at all": 1.15,
    "storm, 256 in flight, gate: PINGRESP p99, ms": 50.0,
    "storm, gate's p99 / password_file's": 1.0,
    "RSS over the same broker without the gate, 50 connections, MiB": 48.0,
}


def test_the_bench_measures_every_row_and_holds_none_back(tmp_path: Path) -> None:
    run(SHORT, fleets=tmp_path / "fleets", results=tmp_path)
    figures = msgspec.json.decode((tmp_path / "mosquitto.json").read_bytes(), type=list[Figure])
    measured = {figure.figure: figure for figure in figures}
    assert {name: measured[name].bound for name in BOUNDS} == BOUNDS
    assert all(figure.value > 0 for figure in figures if "less no-op" not in figure.figure)
