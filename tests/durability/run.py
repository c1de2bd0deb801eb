"""One run: the fleet, the road, the driver; then a quiet worker on the same records; then the books."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.durability.chaos import DECK, Rig
from tests.durability.fleet import Fleet
from tests.durability.ledger import Book, Road, Seen, balance, read_side
from tests.durability.samples import RULES
from tests.support.kafka import ApacheKafka, Kafka, committed, read_all, read_end, until
from tests.support.watch import PlainBroker, Watch

_SESSION = 3.0
_PARTITIONS = 4
_COUNTS = Seen(bridge_duplicates=20, replays=3, rebalances=3)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is sent, how fast, and what must go wrong.

    Attributes:
        assets: devices.
        per_asset: messages of each that are to be judged, five samples each.
        rate: messages a second.
        seed: of the driver.
        pause: seconds between two evils, drawn from this span.
        least: what must have been seen for the run to count.
        deck: the evils.
    """

    assets: int
    per_asset: int
    rate: float
    seed: int
    pause: tuple[float, float] = (2.0, 7.0)
    least: Seen = _COUNTS
    deck: tuple[str, ...] = DECK


#: 2,000 assets, 1,000,000 samples. At fewer messages a second a bridge on a fast machine has next to nothing
#: in flight when it is killed: at 330 there were 5 duplicates in 33 kills, at 900 thousands.
FULL = Plan(assets=2000, per_asset=100, rate=900.0, seed=11)


def run(plan: Plan, folder: Path) -> bool:
    """Do it, print what came out, and write it to ``folder``/ledger.json."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="assetgate-durability-") as scratch:
        book = _run(plan, Path(scratch), folder / "logs")
    book = msgspec.structs.replace(book, seconds=round(time.monotonic() - began, 1), seed=plan.seed)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ledger.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(book), indent=2) + b"\n")
    _report(book)
    print(f"{'the books balance' if not book.faults else 'NOT GOOD'}; written to {path}")
    return not book.faults


def _run(plan: Plan, scratch: Path, logs: Path) -> Book:
    kafka = ApacheKafka.make(_folder(scratch / "kafka"))
    broker = PlainBroker(_folder(scratch / "mosquitto"))
    watch = Watch(kafka, _folder(scratch / "watch"), mqtt_port=broker.port, partitions=_PARTITIONS)
    (watch.directory / "rules.yaml").write_text(RULES)
    common: dict[str, object] = {"worker__session_timeout": _SESSION, "worker__state_interval": 1.0}
    settings = {
        "bridge": watch.settings(),
        # One with a fixed name, which comes back without a rebalance, and one without.
        "worker one": watch.settings(**common, worker__instance_id="one", worker__run_size=200),
        "worker two": watch.settings(**common, worker__run_size=200),
    }
    rig = Rig(watch, broker, kafka, settings, random.Random(plan.seed), _SESSION)
    fleet = Fleet(broker.port, assets=plan.assets, per_asset=plan.per_asset, rate=plan.rate)
    try:
        kafka.start()
        broker.start()
        watch.run("topics", "create", "--config", settings["bridge"])
        rig.supervise()
        until(lambda: "judging" in rig.programs["worker one"].said, 60, "a worker judges")
        until(lambda: read_end(kafka, watch.topic("telemetry"), 0) > 0, 60, "a heartbeat came through")
        fleet.start()
        rig.torment(lambda: fleet.done, plan.pause, plan.deck)
        if fleet.failure is not None:
            raise fleet.failure
        print(f"{time.monotonic() - rig.began:7.1f} s  everything is sent; draining", flush=True)
        _drain(rig, watch)
        rig.stop()
        calm = _quiet(watch, common)
        print(f"{time.monotonic() - rig.began:7.1f} s  the quiet run is done; reading", flush=True)
        return balance(
            road=Road(read_all(kafka, watch.topic("telemetry"), timeout=300), fleet.attempts, fleet.accepted),
            chaos=(read_side(kafka, settings["worker two"]), settings["worker two"]),
            quiet=(read_side(kafka, calm), calm),
            fleet=(plan.assets, plan.per_asset),
            logs=[log for name, some in rig.logs.items() if name != "bridge" for log in some],
            evils={**rig.done, "gateways reconnected": fleet.reconnects},
            least=plan.least,
        )
    finally:
        watch.close()
        broker.stop()
        kafka.stop()
        shutil.rmtree(logs, ignore_errors=True)
        shutil.copytree(watch.directory, logs, ignore=shutil.ignore_patterns("*.toml"))
        shutil.copy(kafka.directory / "log", logs / "kafka.log")


def _drain(rig: Rig, watch: Watch) -> None:
    """Until all that was sent is in Kafka, the bridge has ended, and everything is judged and committed.

    The broker hands over in order: a heartbeat that was sent after the last message came is behind them all.
    """
    rig.supervise()
    now = int(time.time() * 1000)
    until(lambda: newest_heartbeat(watch) > now, 120, "a heartbeat behind the last message")
    assert rig.programs.pop("bridge").end() == 0
    del rig.settings["bridge"]
    _judged(watch.kafka, watch, watch.group, rig.supervise)


def _judged(kafka: Kafka, watch: Watch, group: str, meanwhile: Callable[[], None]) -> None:
    topic = watch.topic("telemetry")
    ends = {number: read_end(kafka, topic, number) for number in range(watch.partitions)}

    def done() -> bool:
        meanwhile()
        return committed(kafka, group, topic, watch.partitions) == ends

    until(done, 240, "everything is judged and committed")


def _quiet(watch: Watch, common: dict[str, object]) -> Path:
    """One worker that nobody disturbs judges the same records, into topics of its own; its settings."""
    own = {f"topics__{name}": watch.topic(f"quiet.{name}") for name in ("cases", "state", "dead", "shadow")}
    settings = watch.settings(**common, **own, worker__group="quiet")
    watch.run("topics", "create", "--config", settings)
    program = watch.start("worker", "--config", settings, seconds=60)
    _judged(watch.kafka, watch, "quiet", lambda: None)
    assert program.end(seconds=60) == 0
    return settings


def newest_heartbeat(watch: Watch) -> int:
    """Time of the newest heartbeat in partition 0, milliseconds since the epoch."""
    records = read_all(watch.kafka, watch.topic("telemetry"), partition=0, last=200)
    return max((msgspec.json.decode(one.value or b"")["ts"] for one in records if one.key is None), default=0)


def _report(book: Book) -> None:
    for what, count in book.evils.items():
        print(f"  {what:<28}{count:>8}")
    counts = book.counts
    print(f"sent {book.sent} samples to be judged; {book.in_kafka} in Kafka with repeats and the rest")
    print("  " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    print(
        f"{book.events} case events, {book.written - book.events} repeated; the same ids and bytes as quietly"
    )
    seen = book.seen
    print(f"{seen.bridge_duplicates} bridge duplicates, {seen.replays} replays, {seen.rebalances} rebalances")
    for fault in book.faults:
        print(f"  FAULT {fault}")


def _folder(path: Path) -> Path:
    path.mkdir()
    path.chmod(0o777)
    return path
