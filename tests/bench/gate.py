"""What judging a token costs: ``make bench-gate``.

CPU time of the whole process, writer of the audit included, in turns with the bare RSA check of
`cryptography`: a figure is the median over the rounds of the ratio within one round, with its
quartiles. Everything is on: revocations, throttle, clones, cache, metrics, events, and an audit that
writes every decision to a real file before the clock is stopped.
"""

import argparse
import logging
import tempfile
from pathlib import Path

from tests.bench.figures import FOLDER, Figure, report
from tests.bench.gate_costs import measure_costs
from tests.bench.gate_memory import ask
from tests.bench.gate_outage import measure_outage
from tests.bench.gate_peers import measure_peers
from tests.bench.gate_rig import Rig

_OUTAGE_ROUNDS = 9


def main() -> None:
    """Measure everything, or a little of everything with ``--short``."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gate", description=__doc__)
    parser.add_argument("--short", action="store_true", help="few rounds, no peers: shows that it runs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the figures go")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)  # a key endpoint that hangs is part of the plan
    report("gate", measure(short=asked.short), folder=asked.folder)


def measure(*, short: bool) -> list[Figure]:
    """Every figure of the gate.

    Args:
        short: few rounds and small tables, without peers; shows that it runs, and says little.
    """
    with tempfile.TemporaryDirectory() as folder, Rig(Path(folder), capacity=100_000) as rig:
        costs = measure_costs(rig, rounds=2 if short else 41, cached=1_000 if short else 10_000)
        tokens = [device.token for device in rig.devices(128 if short else 512)]
        p99 = measure_outage(
            rig.mint, tokens, rounds=2 if short else _OUTAGE_ROUNDS, verifications=1_000 if short else 20_000
        )
        peers = [] if short else measure_peers(rig.mint, tokens, rounds=15, folder=Path(folder))
    few, many = (5_000, 5_000) if short else (100_000, 1_000_000)
    outage = "p99 of known-key verification, key endpoint hangs / is up"
    return [
        *costs[:5],
        Figure(f"resident bytes per cached verdict at {few:,}", ask("bytes", few), 520.0),
        Figure(outage, p99.median, 1.5, spread=(p99.low, p99.high)),
        Figure(f"full garbage collection at {many:,} verdicts, CPU ms", ask("collect", many), 5.0),
        *([] if short else [Figure("  the same, nothing frozen at the start", ask("collect-all", many))]),
        *costs[5:],
        *peers,
    ]


if __name__ == "__main__":
    main()
