"""The broker with its gate, loaded for a long time: ``make soak``, with ``DURATION`` in seconds.

A thousand devices come, publish, renew, expire and misbehave; the broker's memory and descriptors are
sampled. Memory must be flat once caches are full, and every descriptor of a client must come back. The
caches are set small, so that they are full soon; a table that grows with what clients do would show.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from authplugin.brokers.mosquitto.acl import write_acl
from authplugin.brokers.mosquitto.build import build_plugin, find_interpreter
from authplugin.brokers.mosquitto.stanza import write_stanza
from authplugin.settings import load
from authplugin.testing import TokenMint
from tests.soak.fleet import Device
from tests.support.mosquitto import Mosquitto, running

FOLDER = Path("build/soak")
AUDIENCE = "https://ingest.example.com"
#: Growth that is none: what an allocator moves about, over the judged time.
GROWTH_MIB = 1.0
#: Shorter runs end before caches are full, and are not judged by their slope.
LEAST_JUDGED_S = 600.0
_SAMPLES = 240
# The first part fills caches and pools.
_WARM = 0.4
_SIGHUP_S = 30.0


class Sample(msgspec.Struct, frozen=True):
    """The broker's process at one moment: seconds since the start, resident MiB, open descriptors."""

    at: float
    rss_mib: float
    descriptors: int


class Outcome(msgspec.Struct, frozen=True):
    """What a soak found.

    Attributes:
        duration_s: seconds of load.
        devices: how many took part.
        done: what they did, how often.
        slope_mib_per_hour: of the resident memory, least squares over the judged samples.
        growth_mib: the same over the judged time.
        judged: whether the run was long enough for the slope to mean something.
        descriptors_before: open before the first device came.
        descriptors_after: open after the last one left.
        samples: all of them.
    """

    duration_s: float
    devices: int
    done: dict[str, int]
    slope_mib_per_hour: float
    growth_mib: float
    judged: bool
    descriptors_before: int
    descriptors_after: int
    samples: list[Sample]

    @property
    def held(self) -> bool:
        """Whether memory is flat and no descriptor leaked."""
        flat = self.growth_mib <= GROWTH_MIB or not self.judged
        return flat and self.descriptors_after <= self.descriptors_before


def _broker(folder: Path, mint: TokenMint) -> Mosquitto:
    (folder / "keys.json").write_text(json.dumps(mint.jwks()))
    (folder / "revoked.jsonl").write_text("# none\n")
    config = folder / "gate.toml"
    config.write_text(
        f"""
[[issuers]]
issuer = "{mint.issuer}"
audiences = ["{AUDIENCE}"]
jwks_file = "keys.json"

[mosquitto]
acl_file = "acl"
exchange_s = 2.0

[cache]
capacity = 500
refused_capacity = 100

[sessions]
expiry_jitter_s = 1.0

[metrics]
port = 0

[audit]
file = "audit.jsonl"

[revocation]
file = "revoked.jsonl"

[admin]
socket = "admin"
"""
    )
    policy = load(config, {}).policy
    (folder / "acl").write_text(write_acl(policy.topics, policy.service_accounts))
    build_plugin(folder / "authplugin.so")
    stanza = write_stanza(folder / "authplugin.so", find_interpreter(), config, folder / "acl", None)
    return Mosquitto(folder, stanza, log_types=["error", "warning"])


def _sample(broker: Mosquitto, began: float) -> Sample:
    process = Path(f"/proc/{broker.pid}")
    lines = (process / "status").read_text().splitlines()
    rss = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
    return Sample(time.monotonic() - began, rss, len(list((process / "fd").iterdir())))


def _wait_ready(broker: Mosquitto, device: Device, done: Counter[str]) -> None:
    end = time.monotonic() + 15
    while not done["connected"]:
        device.visit()
        device.leave(politely=True)
        if time.monotonic() > end:
            raise RuntimeError(f"the broker lets nobody in:\n{broker.log[-2000:]}")
        time.sleep(0.05)


def _settled(broker: Mosquitto, before: int, began: float) -> int:
    """Descriptors open once the broker has noticed that everybody left."""
    end = time.monotonic() + 15
    while (count := _sample(broker, began).descriptors) > before and time.monotonic() < end:
        time.sleep(0.1)
    return count


def soak(duration: float, devices: int) -> Outcome:
    """Load a broker for ``duration`` seconds."""
    mint = TokenMint(audience=AUDIENCE)
    done: Counter[str] = Counter()
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="assetgate-soak-") as folder:
        broker = _broker(Path(folder), mint)
        with running(broker):
            fleet = [Device(number, mint, broker, done) for number in range(devices)]
            began = time.monotonic()
            # Its own habit is to come and go: afterwards no connection is left.
            _wait_ready(broker, fleet[1], done)
            before = _sample(broker, began).descriptors
            hup = began + _SIGHUP_S
            turn = 0
            while (now := time.monotonic()) < began + duration:
                fleet[turn % devices].visit()
                turn += 1
                if now - began >= len(samples) * duration / _SAMPLES:
                    samples.append(_sample(broker, began))
                if now >= hup:
                    broker.reload()
                    hup += _SIGHUP_S
            for device in fleet:
                device.leave(politely=True)
            after = _settled(broker, before, began)
    judged = [sample for sample in samples if sample.at >= duration * _WARM]
    fit = statistics.linear_regression([s.at for s in judged], [s.rss_mib for s in judged])
    return Outcome(
        duration,
        devices,
        dict(sorted(done.items())),
        fit.slope * 3600,
        fit.slope * duration * (1 - _WARM),
        duration >= LEAST_JUDGED_S,
        before,
        after,
        samples,
    )


def run(duration: float, devices: int, *, folder: Path = FOLDER) -> Outcome:
    """Soak, print what came out, and write it to ``folder``/mosquitto.json."""
    outcome = soak(duration, devices)
    for what, count in outcome.done.items():
        print(f"{what:<24}{count:>9}")
    print(f"RSS from {outcome.samples[0].rss_mib:.1f} to {outcome.samples[-1].rss_mib:.1f} MiB")
    bound = f"at most {GROWTH_MIB} MiB of growth" if outcome.judged else "too short a run to judge"
    print(f"slope {outcome.slope_mib_per_hour:+.2f} MiB/h, {outcome.growth_mib:+.2f} MiB in all ({bound})")
    print(f"descriptors {outcome.descriptors_before} before, {outcome.descriptors_after} after")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mosquitto.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n")
    print(f"{'held' if outcome.held else 'NOT HELD'}; written to {path}")
    return outcome


def main() -> None:
    """Run it; exit 1 when memory grows or descriptors leak."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.mosquitto", description=__doc__)
    parser.add_argument("--duration", type=float, default=1200.0, help="seconds")
    parser.add_argument("--devices", type=int, default=1000)
    arguments = parser.parse_args()
    sys.exit(0 if run(arguments.duration, arguments.devices).held else 1)


if __name__ == "__main__":
    main()
