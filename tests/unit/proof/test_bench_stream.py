"""The watch's bench in its short form: it runs, and writes every figure down; what they say is not judged."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.bench.figures import Figure

ROWS = (
    "whole worker with durable state",
    "detector pass, one simple evaluation / msgspec decode",
    "growth of RSS a series",
    "restart with",
    "bridge on aiomqtt",
    "bridge on the fast source / a bare",
)
PRINTED = ("whole road", "publish at the device to case event in Kafka")


@pytest.mark.needs("mosquitto")
@pytest.mark.timeout(300)
def test_the_bench_of_the_watch_runs_and_writes_every_figure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.stream", "--short", "--folder", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    figures = msgspec.json.decode((tmp_path / "stream.json").read_bytes(), type=list[Figure])
    for row in ROWS:
        (figure,) = [found for found in figures if found.figure.startswith(row)]
        assert figure.bound is not None
        assert figure.value > 0
    for row in PRINTED:
        assert any(found.figure.startswith(row) for found in figures)
