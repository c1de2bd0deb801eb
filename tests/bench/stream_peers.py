"""Other stream processors on the same telemetry, each as a process of its own.

Stock Faust is installed with the watch; the others have an environment each under ``build/peers``.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.gate_peers import make_environment

_SCRIPT = Path(__file__).parent / "peers" / "watch.py"
_SECONDS = 300.0
#: Peer → events to read, a fifth of which do not count; its figure; times the worker's CPU at least.
_PEERS: Mapping[str, tuple[int, str, float]] = {
    "faust": (60_000, "stock Faust agent, producer_linger 0.005, one EWMA", 10.0),
    "bytewax": (300_000, "Bytewax, recovery store on, one stateful EWMA", 1.0),
    "quixstreams": (150_000, "Quix Streams, one stateful EWMA", 5.0),
}


def measure_peers(bootstrap: str, topic: str, worker: float, *, folder: Path, rounds: int) -> list[Figure]:
    """CPU of an event in each peer against the worker's (`worker`, µs), its smallest of some rounds."""
    figures = []
    for name, (count, what, bound) in _PEERS.items():
        python = Path(sys.executable) if name == "faust" else make_environment(name)
        taken = []
        for turn in range(rounds):
            home = folder / f"{name}-{turn}"
            home.mkdir()
            script = ["-m", "tests.bench.stream_readers"] if name == "faust" else [str(_SCRIPT)]
            words = [name, bootstrap, topic, *([] if name == "faust" else [str(home)])]
            command = [str(python), *script, *words, str(count), str(count // 5)]
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=_SECONDS, env=os.environ
            )
            if done.returncode:
                raise SystemExit(f"{name} did not read the telemetry:\n{done.stderr[-2000:]}")
            # Faust writes to the terminal before.
            taken.append(float(done.stdout.split()[-1]))
        figures.append(
            Figure(f"CPU an event: {what} / whole worker, 20 rules", min(taken) / worker, bound, ">=")
        )
    return figures
