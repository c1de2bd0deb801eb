"""Readers of telemetry that the worker is compared with, each run as a process of its own.

Prints CPU and wall microseconds an event, from the moment a part of the backlog was read to its end.
"""

import asyncio
import os
import sys
import tempfile
import time
from typing import Any

import faust
import msgspec
from aiokafka import AIOKafkaConsumer


class Event(msgspec.Struct):
    """A message of telemetry."""

    ts: int
    seq: int
    metrics: dict[str, float]


async def getmany(bootstrap: str, topic: str, total: int, skip: int) -> tuple[float, float]:
    """Bare aiokafka: fetch runs and decode every value; nothing is kept, judged or committed."""
    decode = msgspec.json.Decoder(Event).decode
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        done, began = 0, (0, 0.0, 0.0)
        while done < total:
            for run in (await consumer.getmany(timeout_ms=1000, max_records=4000)).values():
                for record in run:
                    decode(record.value)
                done += len(run)
            if not began[0] and done >= skip:
                began = done, time.process_time(), time.monotonic()
        cpu, wall = time.process_time() - began[1], time.monotonic() - began[2]
        return cpu / (done - began[0]) * 1e6, wall / (done - began[0]) * 1e6
    finally:
        await consumer.stop()


def run_faust(bootstrap: str, topic: str, total: int, skip: int) -> None:
    """A stock Faust agent: an event at a time, one EWMA an asset, its means in a dictionary."""
    app = faust.App(
        f"bench-{os.getpid()}", broker=f"kafka://{bootstrap}", producer_linger=0.005, web_enabled=False,
        consumer_auto_offset_reset="earliest", topic_allow_declare=False, topic_disable_leader=True,
        datadir=tempfile.mkdtemp(prefix="faust-"),
    )  # fmt: skip
    decode, means, done, began = msgspec.json.Decoder(Event).decode, dict[bytes, float](), 0, 0.0

    @app.agent(
        app.topic(topic, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes)
    )
    async def judge(stream: Any) -> None:  # noqa: ANN401 - Faust's stream
        nonlocal done, began
        async for key, value in stream.items():
            v = decode(value).metrics["temperature"]
            mean = means.get(key, v)
            means[key] = mean + 0.05 * (v - mean)
            done += 1
            if done == skip:
                began = time.process_time()
            elif done == total:
                # Faust has hidden the cursor on this line.
                print(f"\n{(time.process_time() - began) / (total - skip) * 1e6}", flush=True)
                os._exit(0)

    faust.Worker(app, loglevel="ERROR", quiet=True, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    _, name, at, what, count, warm = sys.argv
    if name == "getmany":
        print(*asyncio.run(getmany(at, what, int(count), int(warm))))
    else:
        run_faust(at, what, int(count), int(warm))
