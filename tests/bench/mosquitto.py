"""What the gate costs the broker: ``make bench-mosquitto``.

CPU of the broker's own process per operation, gate with everything on, against a plugin all in C,
the password file, no judge at all. The brokers of one comparison are alive at once and take turns,
round by round, so a busy machine slows them alike; a figure is the ratio of medians. Tokens are
distinct and each is new to the gate once, when it is verified; the second time it is remembered.
"""

import argparse
import contextlib
import itertools
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.brokers import (
    ANYBODY,
    GATE,
    NOOP,
    PASSWORDS,
    RS256,
    Load,
    clients,
    compile_tools,
    loading,
    make_broker,
    ready,
    rss,
    ticks,
)
from tests.bench.figures import FOLDER, Figure, report
from tests.bench.fleet import FOLDER as FLEETS
from tests.bench.fleet import Fleet, make_fleet
from tests.support.mosquitto import Mosquitto

_IN_FLIGHT = 16
_STORM, _BIG_STORM = 256, 1000
_PROBE_MICROSECONDS = 1000
_PUBLISHERS = 4
_FILES = 100  # that a broker has open beside its connections, with room
_SPARE = 8  # devices beyond the load's: the last lets a broker be waited for, the one before it pings
# The process clock and the ticks of /proc may differ by rounding, not by more.
_TICK_ERROR = 0.05
_CACHED = "gate, again"


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        rounds: counted ones of connects, each with its own tokens.
        connects: in one round, per broker.
        publish_rounds: counted ones of publishes.
        messages: in one of them, per broker.
        storms: of each kind.
        storm: distinct tokens in one.
        connections: held at once for the memory.
    """

    rounds: int = 9
    connects: int = 2000
    publish_rounds: int = 9
    messages: int = 200_000
    storms: int = 5
    storm: int = 20_000
    connections: int = 10_000

    @property
    def devices(self) -> int:
        """How many devices all of it takes."""
        return max((self.rounds + 1) * self.connects, self.storm, self.connections) + _SPARE


SHORT = Plan(1, 40, 1, 4000, 1, 80, 50)


@dataclass(frozen=True)
class Bench:
    """What every measurement uses."""

    plan: Plan
    fleet: Fleet
    tools: Path
    folder: Path

    def live(self, stack: contextlib.ExitStack, who: str, name: str) -> Mosquitto:
        """A broker where ``who`` judges, alive until the stack ends."""
        broker = make_broker(who, self.fleet, self.tools, self.folder / name)
        last = self.fleet.count - 1
        return stack.enter_context(ready(broker, self.tools, clients(who, self.fleet), last))


def take_turns(
    contestants: Mapping[str, tuple[Mosquitto, Callable[[int], None]]], rounds: int
) -> dict[str, list[float]]:
    """CPU seconds of each contestant's broker in each counted round; the first round warms up."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, (broker, work) in contestants.items():
            began = broker.cpu()
            work(turn)
            if turn:
                taken[name].append(broker.cpu() - began)
    return taken


def measure_connects(bench: Bench) -> list[Figure]:
    """The three rows on connects, and whether the all-C plugin is a fair floor."""
    plan = bench.plan

    def connecting(who: str, broker: Mosquitto) -> tuple[Mosquitto, Callable[[int], None]]:
        def work(turn: int) -> None:
            first = turn * plan.connects
            numbers = (first, plan.connects, _IN_FLIGHT)
            with loading(bench.tools, "connect", broker, clients(who, bench.fleet), *numbers) as load:
                load.figures()

        return broker, work

    with contextlib.ExitStack() as stack:
        brokers = {who: bench.live(stack, who, "connect") for who in (GATE, RS256, NOOP, PASSWORDS, ANYBODY)}
        contestants = {who: connecting(who, broker) for who, broker in brokers.items()}
        # After the round in which the gate met these tokens first.
        contestants[_CACHED] = connecting(GATE, brokers[GATE])
        taken = take_turns(contestants, plan.rounds)
        _check_clock(brokers)
    each = {
        name: [seconds / plan.connects * 1e6 for seconds in per_round] for name, per_round in taken.items()
    }
    verify = openssl_verify()
    floor = statistics.median(each[RS256]) - statistics.median(each[NOOP])
    if floor > 2 * verify:
        print(
            "void: the all-C plugin costs more than twice OpenSSL's own verify; run it on a quieter machine"
        )
    return [
        *[_microseconds(f"connect, {name}", values) for name, values in each.items()],
        Figure("all-C less no-op, µs", floor),
        Figure("openssl speed, verify, µs", verify),
        Figure("all-C less no-op / openssl speed's verify", floor / verify, 2.0),
        _ratio("connect, cold / all-C", each[GATE], each[RS256], 1.5),
        _ratio("connect, cold / password_file", each[GATE], each[PASSWORDS], 0.75),
        _ratio("connect, cached / anonymous with the same token", each[_CACHED], each[ANYBODY], 1.5),
    ]


def measure_publishes(bench: Bench) -> list[Figure]:
    """QoS 0 from devices on their own topics, nobody subscribed."""
    plan = bench.plan
    with contextlib.ExitStack() as stack:
        contestants = {}
        for who in (GATE, ANYBODY):
            broker = bench.live(stack, who, "publish")
            numbers = (0, _PUBLISHERS, plan.messages)
            load = stack.enter_context(
                loading(bench.tools, "publish", broker, clients(who, bench.fleet), *numbers)
            )
            # Connecting is another row: the clients stay for all rounds.
            load.wait_ready()

            def work(_: int, load: Load = load) -> None:
                load.go()
                load.figures()

            contestants[who] = (broker, work)
        taken = take_turns(contestants, plan.publish_rounds)
    each = {name: [s / plan.messages * 1e6 for s in per_round] for name, per_round in taken.items()}
    return [
        *[_microseconds(f"publish QoS 0, {name}", values) for name, values in each.items()],
        _ratio("publish QoS 0, gate / no ACL at all", each[GATE], each[ANYBODY], 1.15),
    ]


def measure_storms(bench: Bench) -> list[Figure]:
    """How long another client waits for PINGRESP while a whole fleet connects."""
    plan = bench.plan
    waits: dict[tuple[str, int], list[dict[str, float]]] = {}
    storms = [(_STORM, turn) for turn in range(plan.storms)] + [(_BIG_STORM, plan.storms)]
    for (in_flight, turn), who in itertools.product(storms, (GATE, PASSWORDS)):
        # A broker of its own for each storm: every token is new to it.
        with contextlib.ExitStack() as stack:
            broker = bench.live(stack, who, f"storm-{turn}")
            devices = clients(who, bench.fleet)
            numbers = (bench.fleet.count - 2, _PROBE_MICROSECONDS)
            probe = stack.enter_context(loading(bench.tools, "probe", broker, devices, *numbers))
            probe.wait_ready()
            probe.go()
            with loading(bench.tools, "connect", broker, devices, 0, plan.storm, in_flight) as load:
                seconds = load.figures()["seconds"]
            probe.end()
            found = probe.figures()
        print(
            f"storm of {plan.storm}, {in_flight} in flight, {who}: {plan.storm / seconds:.0f} a second, "
            f"PINGRESP p50 {found['p50_ms']:.2f} p99 {found['p99_ms']:.2f} max {found['max_ms']:.2f} ms"
        )
        waits.setdefault((who, in_flight), []).append(found)
    figures = []
    for (who, in_flight), found_of in waits.items():
        bound = 50.0 if (who, in_flight) == (GATE, _STORM) else None
        p99 = statistics.median(found["p99_ms"] for found in found_of)
        name = f"storm, {in_flight} in flight, {who}: PINGRESP"
        figures.append(Figure(f"{name} p99, ms", p99, bound))
        figures.append(Figure(f"{name} max, ms", max(found["max_ms"] for found in found_of)))
    p99s = {
        who: statistics.median(found["p99_ms"] for found in waits[who, _STORM]) for who in (GATE, PASSWORDS)
    }
    figures.append(Figure("storm, gate's p99 / password_file's", p99s[GATE] / p99s[PASSWORDS], 1.0))
    return figures


def measure_memory(bench: Bench) -> list[Figure]:
    """Resident memory with the whole fleet connected, beside a broker that ignores the tokens."""
    held = {}
    with contextlib.ExitStack() as stack:
        for who in (GATE, ANYBODY):
            broker = bench.live(stack, who, "memory")
            numbers = (0, bench.plan.connections, _IN_FLIGHT)
            load = stack.enter_context(
                loading(bench.tools, "hold", broker, clients(who, bench.fleet), *numbers)
            )
            load.wait_ready()
            held[who] = rss(broker)
            load.end()
    count = bench.plan.connections
    return [
        *[Figure(f"RSS with {count} connections, {who}, MiB", value) for who, value in held.items()],
        Figure(
            f"RSS over the same broker without the gate, {count} connections, MiB",
            held[GATE] - held[ANYBODY],
            48.0,
        ),
    ]


def openssl_verify() -> float:
    """Microseconds of CPU of one RSA verify of 2,048 bits, by ``openssl speed`` on this machine, now."""
    done = subprocess.run(
        ["openssl", "speed", "-seconds", "1", "rsa2048"], capture_output=True, text=True, check=True
    )
    # Newer ones print more columns: the heading of the per-second ones says which is which.
    found = re.search(r"(\S+/s(?: +\S+/s)*)\nrsa +2048 bits .*", done.stdout)
    if found is None:
        raise RuntimeError(f"openssl speed said something else:\n{done.stdout}")
    headings = found.group(1).split()
    values = found.group(0).split()[-len(headings) :]
    return 1e6 / float(dict(zip(headings, values, strict=True))["verify/s"])


def _check_clock(brokers: Mapping[str, Mosquitto]) -> None:
    for name, broker in brokers.items():
        precise, coarse = broker.cpu(), ticks(broker)
        if abs(precise - coarse) > _TICK_ERROR:
            print(f"void: {name}'s CPU clock says {precise:.3f} s, utime + stime {coarse:.2f} s")


def _microseconds(name: str, values: Sequence[float]) -> Figure:
    print(f"{name}: median {statistics.median(values):.2f} µs, {min(values):.2f} to {max(values):.2f}")
    return Figure(f"{name}, µs", statistics.median(values))


def _ratio(name: str, ours: Sequence[float], theirs: Sequence[float], bound: float) -> Figure:
    rounds = [our / their for our, their in zip(ours, theirs, strict=True)]
    print(f"{name}: rounds from {min(rounds):.3f} to {max(rounds):.3f}")
    return Figure(name, statistics.median(ours) / statistics.median(theirs), bound)


def run(plan: Plan, *, fleets: Path = FLEETS, results: Path = FOLDER) -> None:
    """Measure every row and write the figures to ``results``/mosquitto.json."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < plan.connections + _FILES:
        sys.exit(f"ulimit -Hn is {hard}, and {plan.connections} connections need {plan.connections + _FILES}")
    fleet = make_fleet(plan.devices, folder=fleets)
    with tempfile.TemporaryDirectory(prefix="assetgate-bench-") as folder:
        tools = Path(folder) / "tools"
        compile_tools(tools)
        bench = Bench(plan, fleet, tools, Path(folder))
        figures = [
            *measure_connects(bench),
            *measure_publishes(bench),
            *measure_storms(bench),
            *measure_memory(bench),
        ]
    report("mosquitto", figures, folder=results)


def main() -> None:
    """Run it: ``--short`` only shows that it runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mosquitto", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few operations of each kind")
    run(SHORT if parser.parse_args().short else Plan())


if __name__ == "__main__":
    main()
