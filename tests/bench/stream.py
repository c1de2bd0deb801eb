"""What the watch costs: ``make bench-stream``.

CPU time of whole processes, in turn within one run, on a real Apache Kafka; JSON events of some 122 bytes
with five metrics, 20 rules on each. What is compared reads the same topic: the figure is the median over the
rounds of the ratio within a round.
"""

import argparse
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
from tests.bench.figures import FOLDER, Figure, compare, report
from tests.bench.stream_latency import measure_latency
from tests.bench.stream_memory import measure_memory
from tests.bench.stream_peers import measure_readers
from tests.bench.stream_readers import Event
from tests.bench.stream_rig import METRICS, RULES, Rig, cluster, events, fill
from tests.support.telemetry import Written


class _Size(NamedTuple):
    """How much is measured.

    Attributes:
        events: of a backlog.
        assets: of the backlog.
        rounds: of what is compared.
        peers: who else reads the backlog.
        many: assets of the large memory.
        rate: records a second while that memory is watched.
        burst: messages that find what the whole road carries.
        seconds: of the latency.
        carried: messages of a bridge's backlog.
    """

    events: int
    assets: int
    rounds: int
    peers: tuple[str, ...]
    many: int
    rate: int
    burst: int
    seconds: float
    carried: int


_WHOLE = _Size(
    events=600_000, assets=5_000, rounds=5, peers=("faust", "bytewax", "quixstreams"), many=200_000,
    rate=20_000, burst=100_000, seconds=30, carried=20_000,
)  # fmt: skip
_SHORT = _Size(
    events=12_000, assets=200, rounds=1, peers=(), many=2_000, rate=2_000, burst=500, seconds=1, carried=200
)


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
        short: the embedded Kafka, few events, no peers; shows that it runs, and says little.
    """
    size = _SHORT if short else _WHOLE
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), real=not short) as kafka:
        rig = Rig(kafka, Path(folder))
        try:
            rig.watch("backlog")
            fill(kafka, "backlog", events(size.events, size.assets))
            parts: tuple[Callable[[], list[Figure]], ...] = (
                lambda: measure_readers(rig, size.events, rounds=size.rounds, peers=size.peers),
                lambda: _measure_pass(size),
                lambda: measure_memory(rig, assets=size.many, rate=size.rate, rounds=size.rounds),
                lambda: measure_latency(rig, burst=size.burst, seconds=size.seconds),
                lambda: bridge.measure(rig, messages=size.carried, rounds=size.rounds),
            )
            figures = []
            for part in parts:
                found = part()
                figures += found
                # Minutes lie between the parts.
                for figure in found:
                    print(f"{figure.figure}: {figure.value:.4g}", file=sys.stderr, flush=True)
            return figures
        finally:
            rig.close()


def _measure_pass(size: _Size) -> list[Figure]:
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
    name = "detector pass, one simple evaluation / msgspec decode of one event"
    return [
        Figure(name, found.median, 0.03, spread=(found.low, found.high)),
        Figure("  one evaluation, ns", micro["pass"].median * 1000),
        Figure("  one decode, µs", micro["decode"].median),
    ]


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
