"""What Mosquitto loses when it is killed: until the next autosave, its memory alone holds what it accepted.

The worst case is measured: the bridge is away, so that everything waits in the broker. The shortest
``autosave_interval``, 1, is set. A SIGTERM loses nothing: the broker writes its database before it ends.
"""

import signal
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from tests.support.mqtt import PUBLISH, Client
from tests.support.watch import PlainBroker

_ROUNDS = 5
_RATE = 1000.0


class Loss(msgspec.Struct, frozen=True):
    """One kill: messages acknowledged, how many of them were gone, and how old the oldest lost was (s)."""

    acknowledged: int
    lost: int
    window: float


def _round(broker: PlainBroker, number: int, seconds: float) -> Loss:
    with Client(broker.port) as keeper:
        assert keeper.connect(f"session-{number}", clean=False) == 0
        keeper.subscribe(f"autosave/{number}/#")
        keeper.disconnect()
    acknowledged: list[float] = []
    began = time.monotonic()
    with Client(broker.port) as sender:
        assert sender.connect(f"sender-{number}") == 0
        while (now := time.monotonic()) < began + seconds:
            sender.publish(f"autosave/{number}/{len(acknowledged)}")
            acknowledged.append(time.monotonic())
            time.sleep(max(0.0, now + 1 / _RATE - time.monotonic()))
        broker.stop(signal.SIGKILL)
    killed = time.monotonic()
    broker.start()
    found = set()
    with Client(broker.port) as keeper:
        assert keeper.connect(f"session-{number}", clean=False) == 0
        while True:
            try:
                got = keeper.expect(PUBLISH, 1.0)
            except TimeoutError:
                break
            found.add(int(got.body[2 : 2 + int.from_bytes(got.body[:2])].rpartition(b"/")[2]))
        keeper.disconnect()
    lost = [at for n, at in enumerate(acknowledged) if n not in found]
    return Loss(len(acknowledged), len(lost), round(killed - lost[0], 3) if lost else 0.0)


def measure(folder: Path, rounds: int = _ROUNDS) -> list[Loss]:
    """Kill a broker some times, print what was lost, and write it to ``folder``/autosave.json."""
    with tempfile.TemporaryDirectory(prefix="assetgate-autosave-") as scratch:
        Path(scratch).chmod(0o777)
        broker = PlainBroker(Path(scratch))
        broker.start()
        try:
            losses = [_round(broker, number, 2.5 + number * 0.37) for number in range(rounds)]
        finally:
            broker.stop()
    windows = [loss.window for loss in losses]
    print(f"Mosquitto killed {rounds} times, autosave_interval 1, the bridge away:")
    for loss in losses:
        print(
            f"  {loss.lost} of {loss.acknowledged} acknowledged messages lost, the oldest {loss.window} s old"
        )
    print(f"  window: median {statistics.median(windows):.2f} s, longest {max(windows):.2f} s")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "autosave.json").write_bytes(msgspec.json.format(msgspec.json.encode(losses), indent=2) + b"\n")
    return losses
