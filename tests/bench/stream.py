"""What the watch costs: ``make bench-stream``.

CPU time of whole processes, in turn within one run, on a real Apache Kafka; JSON events of some 122 bytes
with five metrics, 20 rules on each. What is compared reads the same topic: the figure is the median over the
rounds of the ratio within a round.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from processor.detect.catalog import DETECTORS
from processor.detect.kernel import build
from processor.engine import Engine
from processor.rules import parse_rules
from tests.bench import bridge
from tests.bench.figures import FOLDER, Figure, compare, report, spread
from tests.bench.stream_latency import measure_latency
from tests.bench.stream_peers import measure_peers
from tests.bench.stream_readers import Event
from tests.bench.stream_rig import (
    METRICS,
    RULES,
    Rig,
    carry,
    cluster,
    events,
    fill,
    memory_at_rest,
    memory_bytes,
    records_judged,
    settle,
)
from tests.support.telemetry import Written
from tests.support.watch import Program

_SECONDS = 600.0


class _Size(NamedTuple):
    """How much is measured: events of a backlog and their assets, rounds, assets of the large memory."""

    events: int
    assets: int
    rounds: int
    many: int
    carried: int


_WHOLE = _Size(events=600_000, assets=5_000, rounds=5, many=200_000, carried=20_000)
_SHORT = _Size(events=12_000, assets=200, rounds=1, many=2_000, carried=500)


def main() -> None:
    """Measure everything, or a little of everything with ``--short``."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stream", description=__doc__)
    parser.add_argument("--short", action="store_true", help="little of it, no peers: shows that it runs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the figures go")
    asked = parser.parse_args()
    report("stream", measure(short=asked.short), folder=asked.folder)


def measure(*, short: bool) -> list[Figure]:
    """Every figure of the watch.

    Args:
        short: the embedded Kafka, few events, no bridge and no peers; shows that it runs, and says little.
    """
    size = _SHORT if short else _WHOLE
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), real=not short) as kafka:
        rig = Rig(kafka, Path(folder))
        try:
            rig.watch("backlog")
            fill(kafka, "backlog", events(size.events, size.assets))
            figures = [*_measure_worker(rig, size), _measure_pass(size), *_measure_memory(rig, size)]
            figures += measure_latency(rig, burst=size.carried, seconds=2 if short else 10)
            if not short:
                worker = figures[1].value
                figures += measure_peers(kafka.bootstrap, "backlog", worker, folder=Path(folder), rounds=2)
                figures += bridge.measure(
                    Path(folder) / "bridge", kafka.bootstrap, messages=size.carried, rounds=3
                )
        finally:
            rig.close()
    return figures


def _measure_worker(rig: Rig, size: _Size) -> list[Figure]:
    """The whole worker beside a bare loop."""
    ratios, worker_cpu, bare_cpu = [], [], []
    turns = range(0 if size.rounds > 1 else 1, size.rounds + 1)
    for turn in turns:
        taken: dict[str, float] = {}
        for name in ("worker", "getmany") if turn % 2 else ("getmany", "worker"):
            if name == "getmany":
                taken[name] = _read_bare(rig.kafka.bootstrap, size.events)
                continue
            watch = rig.watch("backlog")
            worker = watch.start("worker", "--config", watch.settings())
            taken[name], _ = carry(worker, size.events, skip=0.2 if size.rounds > 1 else 0.0)
            if worker.end() != 0:
                raise SystemExit(f"the worker did not end well:\n{worker.said[-2000:]}")
        if turn:  # the first warms caches
            ratios.append(taken["worker"] / taken["getmany"])
            worker_cpu.append(taken["worker"])
            bare_cpu.append(taken["getmany"])
    ratio = spread(ratios)
    name = "whole worker with durable state, 20 rules an event / bare aiokafka getmany + msgspec decode"
    return [
        Figure(name, ratio.median, 2.0, spread=(ratio.low, ratio.high)),
        Figure("  CPU an event, µs: worker", statistics.median(worker_cpu)),
        Figure("  CPU an event, µs: bare getmany + decode", statistics.median(bare_cpu)),
    ]


def _read_bare(bootstrap: str, count: int) -> float:
    command = [sys.executable, "-m", "tests.bench.stream_readers", "getmany", bootstrap, "backlog"]
    done = subprocess.run(
        [*command, str(count), str(count // 5)], check=True, capture_output=True, text=True, timeout=_SECONDS
    )
    return float(done.stdout.split()[0])


def _measure_pass(size: _Size) -> Figure:
    """One threshold on every sample of a run, by the detector's pass as the engine calls it."""
    assets, count = size.assets, 2_000
    engine = Engine(parse_rules(RULES), partition=0)
    records = [
        Written(key, value, at, 1_760_000_000_000, [("t", b"telemetry")])
        for at, (key, value) in enumerate(events(assets, assets))
    ]
    engine.advance(records)
    (bank,) = [one for one in engine.index.banks if one.kernel.detector is DETECTORS["threshold"]]
    samples = count * len(METRICS)
    series = np.arange(samples) % engine.index.series_count
    t, v = np.full(samples, 1_760_000_001_000), np.full(samples, 50.0)
    payloads, decode = [value for _, value in events(count, assets)], msgspec.json.Decoder(Event).decode
    layout, out = bank.layout, np.empty(samples, build(bank.kernel.detector, jit=True).out)

    def judge() -> Callable[[], int]:
        def run() -> int:
            for _ in range(20):
                span = layout.span(series)
                columns = (layout.rule, bank.params[0], bank.state, bank.flag, out)
                bank.kernel.sweep(span.begin, span.end, t, v, *columns)
            return 20 * samples

        return run

    def read() -> Callable[[], int]:
        def run() -> int:
            for payload in payloads:
                decode(payload)
            return count

        return run

    ratios, micro = compare("decode", {"decode": read, "pass": judge}, rounds=size.rounds * 4)
    found = ratios["pass"]
    print(f"one evaluation {micro['pass'].median * 1000:.1f} ns, one decode {micro['decode'].median:.2f} µs")
    name = "detector pass, one simple evaluation / msgspec decode of one event"
    return Figure(name, found.median, 0.03, spread=(found.low, found.high))


def _measure_memory(rig: Rig, size: _Size) -> list[Figure]:
    """Growth of a worker that meets many assets, after it has read as much of few; then its restart."""
    few, rounds = size.many // 20, 2
    watch = rig.watch("many", worker__state_interval=5.0 if size.rounds > 1 else 0.5)
    count = fill(rig.kafka, "many", events(size.many * rounds, few))
    worker = watch.start("worker", "--config", watch.settings())
    pid = worker.process.pid
    _await(worker, count)
    settle(worker)
    before = memory_at_rest(pid)
    count += fill(rig.kafka, "many", events(size.many * rounds, size.many, first=few))
    _await(worker, count)
    settle(worker)
    grown, peak = memory_at_rest(pid) - before, memory_bytes(pid, "VmHWM") - before
    if worker.end(seconds=60) != 0:
        raise SystemExit(f"the worker did not end well:\n{worker.said[-2000:]}")
    series = size.many * len(METRICS)
    after = rig.watch("many")
    command = [
        sys.executable,
        "-m",
        "tests.bench.stream_restart",
        str(after.settings()),
        watch.topic("state"),
    ]
    done = subprocess.run(
        [*command, str(size.rounds)], check=False, capture_output=True, text=True, timeout=_SECONDS
    )
    if done.returncode:
        raise SystemExit(f"the restart was not measured:\n{done.stderr[-2000:]}")
    lines = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    ratio = spread([restart / raw for raw, restart in lines])
    name = f"restart with {size.many:,} assets, assignment to first sample judged / that topic read raw"
    return [
        Figure(f"growth of RSS a series at {series:,} series with 4 rules, bytes", grown / series, 250.0),
        Figure("  the same at its highest, while a snapshot is written", peak / series),
        Figure(name, ratio.median, 2.0, spread=(ratio.low, ratio.high)),
        Figure("  CPU of the restart, s", statistics.median(restart for _, restart in lines)),
    ]


def _await(worker: Program, count: int) -> None:
    """Wait until so many records are judged, asking seldom: each question costs the worker something."""
    deadline = time.monotonic() + 300
    while records_judged(worker) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"not {count} records judged in 300 s:\n{worker.said[-2000:]}")
        time.sleep(0.5)


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
