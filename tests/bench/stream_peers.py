"""Who reads the same telemetry: the worker, a bare loop and other stream processors, each its own process.

Stock Faust is installed with the watch; the others have an environment each under ``build/peers``.
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.figures import Figure, spread
from tests.bench.gate_peers import make_environment
from tests.bench.stream_rig import Rig, carry

_SCRIPT = Path(__file__).parent / "peers" / "watch.py"
_SECONDS = 300.0
_TOPIC = "backlog"


class _Peer(NamedTuple):
    """Part of the backlog that it reads, what it is called, times the worker's CPU at least."""

    part: float
    what: str
    bound: float


_PEERS: Mapping[str, _Peer] = {
    "faust": _Peer(0.1, "stock Faust agent, producer_linger 0.005, one EWMA", 10.0),
    "bytewax": _Peer(0.5, "Bytewax, recovery store on, one stateful EWMA", 1.0),
    "quixstreams": _Peer(0.25, "Quix Streams, one stateful EWMA", 5.0),
}


def measure_readers(rig: Rig, count: int, *, rounds: int, peers: Sequence[str]) -> list[Figure]:
    """CPU of an event in each, in turn within each round; the first round warms caches and is not counted.

    Args:
        rig: on whose Kafka the backlog lies.
        count: events of the backlog; a fifth of what each reads does not count.
        rounds: counted ones; with one there is no other, and starting counts.
        peers: whom to measure beside the worker and the bare loop.
    """
    taken: dict[str, list[float]] = {name: [] for name in ("worker", "getmany", *peers)}
    for turn in range(0 if rounds > 1 else 1, rounds + 1):
        for name in taken if turn % 2 else reversed(taken):
            cost = _carry(rig, count, whole=rounds == 1) if name == "worker" else _read(rig, name, count)
            if turn:
                taken[name].append(cost)
    worker, bare = taken["worker"], taken["getmany"]
    ratio = spread([own / other for own, other in zip(worker, bare, strict=True)])
    name = "whole worker with durable state, 20 rules an event / bare aiokafka getmany + msgspec decode"
    figures = [Figure(name, ratio.median, 2.0, spread=(ratio.low, ratio.high))]
    for name in peers:
        ratio = spread([other / own for other, own in zip(taken[name], worker, strict=True)])
        what = f"CPU an event: {_PEERS[name].what} / whole worker, 20 rules"
        figures.append(Figure(what, ratio.median, _PEERS[name].bound, ">=", (ratio.low, ratio.high)))
    each = {name: statistics.median(costs) for name, costs in taken.items()}
    return figures + [Figure(f"  CPU an event, µs: {name}", cost) for name, cost in each.items()]


def _carry(rig: Rig, count: int, *, whole: bool) -> float:
    """The worker, in a group of its own."""
    watch = rig.watch(_TOPIC)
    worker = watch.start("worker", "--config", watch.settings())
    cost, _ = carry(worker, count, skip=0.0 if whole else 0.2)
    if worker.end() != 0:
        raise SystemExit(f"the worker did not end well:\n{worker.said[-2000:]}")
    return cost


def _read(rig: Rig, name: str, count: int) -> float:
    """The bare loop or a peer."""
    ours = ["-m", "tests.bench.stream_readers", name, rig.kafka.bootstrap, _TOPIC]
    if name == "getmany":
        events, command = count, [sys.executable, *ours]
    else:
        events = round(count * _PEERS[name].part)
        state = tempfile.mkdtemp(prefix=f"{name}-", dir=rig.folder)
        other = [str(_SCRIPT), name, rig.kafka.bootstrap, _TOPIC, state]
        command = [sys.executable, *ours] if name == "faust" else [str(make_environment(name)), *other]
    command += [str(events), str(events // 5)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise SystemExit(f"{name} did not read the telemetry:\n{done.stderr[-2000:]}")
    # Faust writes to the terminal before; the bare loop says its wall time after.
    return float(done.stdout.split("\n")[-2].split()[0])
