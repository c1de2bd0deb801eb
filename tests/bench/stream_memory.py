"""What a series costs the worker in memory, and what a restart with all of them costs."""

import itertools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.bench.figures import Figure, spread
from tests.bench.stream_rig import METRICS, Rig, await_judged, events, fill, memory_bytes, settle
from tests.support.watch import Program, Watch

_SECONDS = 600.0
#: Messages of each asset before its worker's memory is looked at.
_ROUNDS = 2
_TOPIC = "many"
#: How often a worker at work is looked at, seconds.
_LOOK = 0.02


class _Memory(NamedTuple):
    """Resident bytes of a process: at rest, and of a time at work the median and the most."""

    rest: int
    work: int
    most: int


def _watch_memory(
    rig: Rig, worker: Program, written: Iterator[tuple[bytes, bytes]], *, done: int, rate: int
) -> tuple[_Memory, int]:
    """A worker's memory at rest, then while it judges `written` at so many records a second and saves.

    Args:
        rig: whose Kafka.
        worker: has nothing to do.
        written: what it shall judge.
        done: records that it has judged.
        rate: records a second.

    Returns:
        The memory, and how many records are judged now.
    """
    pid = worker.process.pid
    least = memory_bytes(pid)
    for _ in range(20):
        time.sleep(_LOOK)
        least = min(least, memory_bytes(pid))
    seen: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK):
            seen.append(memory_bytes(pid))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        while part := list(itertools.islice(written, rate // 2)):
            due = time.monotonic() + 0.5
            done += fill(rig.kafka, _TOPIC, iter(part))
            time.sleep(max(0.0, due - time.monotonic()))
        await_judged(worker, done)
    finally:
        ended.set()
        looking.join()
    settle(worker)
    return _Memory(least, round(statistics.median(seen)), max(seen)), done


def measure_memory(rig: Rig, *, assets: int, rate: int, rounds: int) -> list[Figure]:
    """Growth of a worker that meets many assets, beside itself with a twentieth of them; then its restart.

    Args:
        rig: on which Kafka.
        assets: many.
        rate: records a second while the worker is watched at work.
        rounds: of the restart.
    """
    few = assets // 20
    watch = rig.watch(_TOPIC, worker__state_interval=assets / rate / 2)
    worker = watch.start("worker", "--config", watch.settings())
    seen, done = [], 0
    for first, size in ((0, few), (few, assets)):
        # As many records of few assets as of many: what else grows with records has grown before.
        done += fill(rig.kafka, _TOPIC, events(assets * _ROUNDS, size, first=first))
        await_judged(worker, done)
        settle(worker)
        turns = assets * _ROUNDS // size
        work = events(assets, size, first=first, seq=turns)
        memory, done = _watch_memory(rig, worker, work, done=done, rate=rate)
        seen.append(memory)
    if worker.end(seconds=60) != 0:
        raise SystemExit(f"the worker did not end well:\n{worker.said[-2000:]}")
    series = assets * len(METRICS)
    rest, work, most = ((many - before) / series for before, many in zip(*seen, strict=True))
    return [
        Figure(
            f"growth of RSS a series at {series:,} series with 4 rules, judging and saving, bytes",
            work,
            250.0,
        ),
        Figure("  the same at rest", rest),
        Figure("  the same at its highest, while a snapshot is on its way", most),
        *_measure_restart(rig, watch, assets, rounds),
    ]


def _measure_restart(rig: Rig, watch: Watch, assets: int, rounds: int) -> list[Figure]:
    """From the state that a worker left behind."""
    after = rig.watch(_TOPIC)
    command = [
        sys.executable,
        "-m",
        "tests.bench.stream_restart",
        str(after.settings()),
        watch.topic("state"),
    ]
    done = subprocess.run(
        [*command, str(rounds)], check=False, capture_output=True, text=True, timeout=_SECONDS
    )
    if done.returncode:
        raise SystemExit(f"the restart was not measured:\n{done.stderr[-2000:]}")
    lines = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    ratio = spread([restart / raw for raw, restart in lines])
    name = f"restart with {assets:,} assets, assignment to first sample judged / that topic read raw"
    return [
        Figure(name, ratio.median, 2.0, spread=(ratio.low, ratio.high)),
        Figure("  CPU of the restart, s", statistics.median(restart for _, restart in lines)),
    ]
