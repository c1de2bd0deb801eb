"""The watch under a steady load for a long time: ``make soak``, with ``DURATION`` in seconds.

A fleet publishes 5,000 messages a second at QoS 1 through a real Mosquitto, bridge, Apache Kafka and worker.
The memory and descriptors of bridge and worker are sampled, and what the worker has not judged yet. After
the first part, in which every asset comes for the first time, memory must be flat and the lag bounded.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from tests.durability.fleet import Fleet
from tests.support.kafka import ApacheKafka
from tests.support.watch import PlainBroker, Program, Watch

FOLDER = Path("build/soak")
#: Growth that is none over the judged time: what allocators of Python and librdkafka move about.
GROWTH_MIB = 6.0
#: Seconds of load that may wait for the worker.
LAG_S = 10.0
#: Shorter runs are not judged by their slope.
LEAST_JUDGED_S = 600.0
_SAMPLES = 240
#: Every detector looks at every message; one in thirty turns a case, as a bad day has it.
RULES = """
rules:
  - {id: hot, kind: case, severity: high, title: Too hot, select: {metric: temperature},
     detect: {threshold: {above: 100, hysteresis: 5}}}
  - {id: odd, kind: opportunity, severity: low, title: Unlike itself, select: {metric: humidity},
     detect: {ewma: {deviations: 50, window: 60s, samples: 30}}}
  - {id: stuck, kind: case, severity: low, title: It does not move, select: {metric: pressure},
     detect: {stuck: {over: 1h}}}
  - {id: rising, kind: opportunity, severity: low, title: Rising fast, select: {metric: voltage},
     detect: {rate: {rising: 900, per: 1s, window: 4s}}}
  - {id: silent, kind: case, severity: high, title: Nothing heard, detect: {silence: {after: 300s}}}
"""
_WARM = 0.4


class Sample(msgspec.Struct, frozen=True):
    """One moment: seconds since the start; resident MiB and descriptors by program; records waiting."""

    at: float
    rss_mib: dict[str, float]
    descriptors: dict[str, int]
    lag: float


class Outcome(msgspec.Struct, frozen=True):
    """What a soak found.

    Attributes:
        duration_s: seconds of load.
        rate: messages a second that were asked for; `reached` those that the broker accepted.
        judged_samples: by the worker's own count.
        growth_mib: of each program over the judged time, least squares.
        slope_mib_per_hour: the same by the hour.
        leaked: descriptors that each program had more in the last part than while it warmed up.
        most_lag: records that waited at one moment of the judged time.
        judged: whether the run was long enough for the slope to mean something.
        samples: all of them.
    """

    duration_s: float
    rate: float
    reached: float
    judged_samples: float
    growth_mib: dict[str, float]
    slope_mib_per_hour: dict[str, float]
    leaked: dict[str, int]
    most_lag: float
    judged: bool
    samples: list[Sample]

    @property
    def held(self) -> bool:
        """Whether memory is flat, the lag bounded, and no descriptor leaked."""
        flat = all(growth <= GROWTH_MIB for growth in self.growth_mib.values()) or not self.judged
        open_ = max(self.leaked.values()) <= 0 or not self.judged
        return flat and open_ and self.most_lag <= self.rate * LAG_S


def _sample(programs: dict[str, Program], began: float) -> Sample:
    rss, descriptors = {}, {}
    for name, program in programs.items():
        process = Path(f"/proc/{program.process.pid}")
        kilobytes = re.search(r"VmRSS:\s*(\d+)", (process / "status").read_text())
        rss[name] = int(kilobytes[1]) / 1024 if kilobytes else 0.0
        descriptors[name] = len(list((process / "fd").iterdir()))
    lag = programs["worker"].metric("processor_worker_lag_records")
    return Sample(round(time.monotonic() - began, 1), rss, descriptors, lag)


def soak(duration: float, rate: float, assets: int) -> Outcome:
    """Load the watch for ``duration`` seconds."""
    with tempfile.TemporaryDirectory(prefix="assetgate-soak-") as scratch:
        places = [Path(scratch) / name for name in ("kafka", "mosquitto", "watch")]
        for place in places:
            place.mkdir(mode=0o777)
            place.chmod(0o777)
        kafka, broker = ApacheKafka.make(places[0]), PlainBroker(places[1])
        watch = Watch(kafka, places[2], mqtt_port=broker.port)
        fleet = Fleet(broker.port, assets=assets, per_asset=None, rate=rate)
        started = False
        try:
            kafka.start(120)
            broker.start()
            (watch.directory / "rules.yaml").write_text(RULES)
            settings = watch.settings(
                worker__session_timeout=10, worker__state_interval=5, worker__commit_interval=1
            )
            watch.run("topics", "create", "--config", settings)
            programs = {
                name: watch.start(name, "--config", settings, seconds=90) for name in ("bridge", "worker")
            }
            fleet.start()
            started = True
            return _load(fleet, programs, duration, rate)
        finally:
            if started and not fleet.done:
                fleet.stop()
            watch.close()
            broker.stop()
            kafka.stop()


def _load(fleet: Fleet, programs: dict[str, Program], duration: float, rate: float) -> Outcome:
    samples: list[Sample] = []
    began = time.monotonic()
    while (now := time.monotonic() - began) < duration:
        if now >= len(samples) * duration / _SAMPLES:
            samples.append(_sample(programs, began))
        time.sleep(min(0.2, duration / _SAMPLES))
    reached = fleet.accepted.total() / (time.monotonic() - began)
    fleet.stop()
    if fleet.failure is not None:
        raise fleet.failure
    judged = [sample for sample in samples if sample.at >= duration * _WARM]
    growth = {name: _slope(judged, name) * duration * (1 - _WARM) for name in programs}
    return Outcome(
        duration_s=duration,
        rate=rate,
        reached=reached,
        judged_samples=programs["worker"].metric("processor_worker_samples_total", outcome="judged"),
        growth_mib=growth,
        slope_mib_per_hour={name: _slope(judged, name) * 3600 for name in programs},
        leaked={name: _leaked(samples, name) for name in programs},
        most_lag=max(sample.lag for sample in judged),
        judged=duration >= LEAST_JUDGED_S,
        samples=samples,
    )


def _slope(samples: list[Sample], name: str) -> float:
    """MiB a second."""
    return statistics.linear_regression([s.at for s in samples], [s.rss_mib[name] for s in samples]).slope


def _leaked(samples: list[Sample], name: str) -> int:
    warm = int(len(samples) * _WARM)
    return max(s.descriptors[name] for s in samples[-warm:]) - max(
        s.descriptors[name] for s in samples[:warm]
    )


def run(duration: float, rate: float, assets: int, *, folder: Path = FOLDER) -> Outcome:
    """Soak, print what came out, and write it to ``folder``/watch.json."""
    outcome = soak(duration, rate, assets)
    print(
        f"{outcome.reached:.0f} messages a second of {rate:.0f}, {outcome.judged_samples:.0f} samples judged"
    )
    first, last = outcome.samples[0], outcome.samples[-1]
    bound = f"at most {GROWTH_MIB} MiB of growth" if outcome.judged else "too short a run to judge"
    for name, growth in outcome.growth_mib.items():
        print(f"{name}: RSS from {first.rss_mib[name]:.1f} to {last.rss_mib[name]:.1f} MiB")
        print(f"  slope {outcome.slope_mib_per_hour[name]:+.2f} MiB/h, {growth:+.2f} MiB in all ({bound})")
        print(f"  descriptors {first.descriptors[name]} at first, {last.descriptors[name]} at last")
    print(f"at most {outcome.most_lag:.0f} records waited, {outcome.most_lag / rate:.1f} s of load")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "watch.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n")
    print(f"{'held' if outcome.held else 'NOT HELD'}; written to {path}")
    return outcome


def main() -> None:
    """Run it; exit 1 when memory grows, descriptors leak or the worker falls behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.watch", description=__doc__)
    parser.add_argument("--duration", type=float, default=1200.0, help="seconds")
    parser.add_argument("--rate", type=float, default=5000.0, help="messages a second")
    parser.add_argument("--assets", type=int, default=2000)
    given = parser.parse_args()
    sys.exit(0 if run(given.duration, given.rate, given.assets).held else 1)


if __name__ == "__main__":
    main()
