# mypy: ignore-errors
"""One stateful EWMA on telemetry in a stream processor of another make, in an environment of its own.

Arguments: which, bootstrap, topic, a folder for its state, events to read, events that do not count. Prints
CPU microseconds an event of this process, from the first event that counts to the last.
"""
# ruff: noqa: ANN001, ANN202, PLC0415 - runs where only one of the libraries is installed, which ours do not know

import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import msgspec


class Event(msgspec.Struct):
    ts: int
    seq: int
    metrics: dict[str, float]


DECODE = msgspec.json.Decoder(Event).decode


class Meter:
    """Counts events; at the last one it prints what they cost and ends the process."""

    def __init__(self, total: int, skip: int) -> None:
        self.total, self.skip, self.done, self.began = total, skip, 0, 0.0

    def count(self) -> None:
        self.done += 1
        if self.done == self.skip:
            self.began = time.process_time()
        elif self.done == self.total:
            print((time.process_time() - self.began) / (self.total - self.skip) * 1e6, flush=True)
            os._exit(0)


def update(mean: float | None, value: float) -> float:
    return value if mean is None else mean + 0.05 * (value - mean)


def run_bytewax(bootstrap: str, topic: str, folder: Path, meter: Meter) -> None:
    import bytewax.operators as op
    from bytewax.connectors.kafka import KafkaSource
    from bytewax.dataflow import Dataflow
    from bytewax.outputs import DynamicSink, StatelessSinkPartition
    from bytewax.recovery import RecoveryConfig, init_db_dir
    from bytewax.testing import run_main

    class Nowhere(StatelessSinkPartition):
        def write_batch(self, items: list) -> None:
            for _ in items:
                meter.count()

    class Sink(DynamicSink):
        def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> Nowhere:
            return Nowhere()

    def judge(mean: float | None, value: float) -> tuple[float, float]:
        mean = update(mean, value)
        return mean, value - mean

    def read(message):
        return message.key.decode(), DECODE(message.value).metrics["temperature"]

    flow = Dataflow("ewma")
    source = op.input("in", flow, KafkaSource([bootstrap], [topic], tail=True, batch_size=1000))
    judged = op.stateful_map("judge", op.map("read", source, read), judge)
    op.output("out", judged, Sink())
    init_db_dir(folder, 1)
    run_main(flow, epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(str(folder)))


def run_quixstreams(bootstrap: str, topic: str, folder: Path, meter: Meter) -> None:
    from quixstreams import Application

    app = Application(
        broker_address=bootstrap, consumer_group=f"quix-{os.getpid()}", auto_offset_reset="earliest",
        state_dir=folder, loglevel="ERROR", commit_interval=1.0,
    )  # fmt: skip

    def judge(value: bytes, state) -> float:
        found = DECODE(value).metrics["temperature"]
        mean = update(state.get("mean"), found)
        state.set("mean", mean)
        meter.count()
        return found - mean

    frame = app.dataframe(app.topic(topic, value_deserializer="bytes", key_deserializer="bytes"))
    frame.apply(judge, stateful=True)
    app.run()


if __name__ == "__main__":
    _, which, at, what, where, total, skip = sys.argv
    run = run_bytewax if which == "bytewax" else run_quixstreams
    run(at, what, Path(where), Meter(int(total), int(skip)))
