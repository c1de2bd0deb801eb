"""The worker as a program: its parts put together, signals, the ready line."""

import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from processor.clock import SystemClock
from processor.engine import warm
from processor.errors import StreamError
from processor.flow import batch
from processor.flow.app import make_app
from processor.flow.fault import describe_fault
from processor.flow.judge import Judge
from processor.flow.letters import bury
from processor.flow.rulefile import RuleFile
from processor.flow.transport import BatchApp, check_names
from processor.kafka.admin import Admin
from processor.kafka.producer import SafeProducer
from processor.kafka.watch import watch_partitions, watch_topic
from processor.metrics import WorkerMetrics, expose
from processor.rules.ruleset import RuleSet
from processor.settings import ProcessorSettings

_LOG = logging.getLogger(__name__)
_LINGER = 0.001
_TICK = 0.1
_MEASURE = 1.0
_ASK = 2.0
#: Objects made and not yet freed before Python looks for cycles: some more than a run leads to.
_COLLECT = 100_000
#: Buffers of at least this many bytes have pages of their own (mallopt(3)).
_LARGE = 1 << 20
_M_MMAP_THRESHOLD = -3


def main(settings: ProcessorSettings, file: RuleFile, rules: RuleSet) -> int:
    """Judge until SIGTERM or SIGINT; 0 after a clean stop.

    Args:
        settings: all of them.
        file: the rules file, to be followed.
        rules: what it said.

    Raises:
        StreamError: Kafka cannot be used as it stands.
    """
    check_names()
    admin = Admin(settings.kafka)
    admin.require(settings.topics)
    topic = admin.topic_id(settings.topics.telemetry)
    # Compiles what reads and judges, or finds it compiled: before partitions are ours, not while they wait.
    warm(rules)
    batch.warm()
    _spare_collector()
    _return_memory()
    with tempfile.TemporaryDirectory(prefix="processor-") as scratch:
        return asyncio.run(_run(settings, file, rules, Path(scratch), topic))


def _spare_collector() -> None:
    """Messages that are read one by one live for a run, thousands at a time, without cycles: look seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT, 20, 20)


def _return_memory() -> None:
    """Let large buffers, which snapshots and fetches need for moments, go back to the system at once.

    The C library of GNU keeps them in its heap from the first one that was freed on; others need no telling.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


async def _run(
    settings: ProcessorSettings,
    file: RuleFile,
    rules: RuleSet,
    scratch: Path,
    topic: str | None,
) -> int:
    metrics = WorkerMetrics()
    exposition = expose(metrics.registry, settings.metrics.address, settings.metrics.worker_port)
    stopping, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    producer = SafeProducer(
        settings.kafka, linger=_LINGER, bury=bury(settings.topics, metrics.dead.labels("oversize").inc)
    )
    judge = Judge(
        settings,
        rules,
        producer=producer,
        consumer=lambda: app.batch_consumer,
        metrics=metrics,
        clock=SystemClock(),
    )
    app = make_app(settings, judge, scratch)
    following = file.follow(hangup, warm, judge.adopt, metrics)
    watching = watch_partitions(producer, settings.topics)
    watching_topic = watch_topic(Admin(settings.kafka), settings.topics.telemetry, topic)
    living = _live(app, settings), _watch_group(app, settings), _watch_name(app, settings)
    measuring = _measure(judge), _ask_ends(judge, settings)
    parts = (*living, _save(judge), *measuring, following, watching, watching_topic)
    tasks = [asyncio.create_task(part) for part in parts]
    ready = asyncio.create_task(_say_ready(app, exposition.url))
    stop = asyncio.create_task(stopping.wait())
    try:
        ends: set[asyncio.Future[Any]] = {*tasks, stop, producer.failed, judge.refused}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for ended in (*tasks, producer.failed, judge.refused):
            if ended.done():
                ended.result()
    finally:
        for task in (*tasks[1:], ready, stop):
            task.cancel()
        stopped = asyncio.create_task(_stop(app))
        unsaved = asyncio.create_task(judge.unsaved.wait())
        limit = settings.worker.session_timeout * 2
        await asyncio.wait({stopped, unsaved}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if judge.unsaved.is_set() or not stopped.done():
            # Faust's threads wait for Kafka without end; what was not saved is judged again.
            reason = sys.exception()
            if reason is not None:
                _LOG.error("%s", reason)
            _LOG.error("Kafka is away: ending without a last snapshot; nothing is lost")
            shutil.rmtree(scratch, ignore_errors=True)
            os._exit(1)
        unsaved.cancel()
        stopped.result()
        tasks[0].cancel()
        await asyncio.gather(*tasks, ready, stop, return_exceptions=True)
        producer.close()
        exposition.close()
    return 0


async def _live(app: BatchApp, settings: ProcessorSettings) -> None:
    """The Faust worker's life; ends with what ended it."""
    app.in_worker = True
    await app.start()
    await app.wait_until_stopped()
    if isinstance(app.crash_reason, KafkaError):
        raise describe_fault(app.crash_reason, settings)
    if app.crash_reason is not None:
        raise app.crash_reason


async def _watch_group(app: BatchApp, settings: ProcessorSettings) -> None:
    """Look for ever whether the group has refused this worker for good.

    Raises:
        StreamError: it has.
    """
    while True:
        await asyncio.sleep(_MEASURE)
        if app.started and (fault := app.batch_consumer.fault) is not None:
            raise describe_fault(fault, settings)


async def _stop(app: BatchApp) -> None:
    """Save, commit, leave the group."""
    if not app.started:
        return
    app.batch_consumer.stop_flow()
    if not app.crashed:
        await app.batch_consumer.settle()
    await app.stop()


async def _save(judge: Judge) -> None:
    while True:
        await asyncio.sleep(_TICK)
        await judge.save_due()
        await judge.take_due()


async def _measure(judge: Judge) -> None:
    while True:
        await asyncio.sleep(_MEASURE)
        judge.measure()


async def _watch_name(app: BatchApp, settings: ProcessorSettings) -> None:
    """Look for ever whether another worker has taken this one's `instance_id`.

    aiokafka knows no fencing: it would join again and take the place back, and both would judge by turns.

    Raises:
        StreamError: one has.
    """
    worker, admin = settings.worker, Admin(settings.kafka)
    if worker.instance_id is None or await asyncio.to_thread(admin.embedded):
        await asyncio.Event().wait()  # nobody can take it, or nobody tells
    while True:
        await asyncio.sleep(_MEASURE)
        member = app.batch_consumer.member if app.started else ""
        holder = await asyncio.to_thread(admin.holder, worker.group, worker.instance_id or "")
        # Who is just joining is in the group before it knows.
        if member and holder is not None and holder[0] != member == app.batch_consumer.member:
            raise StreamError(
                f"another worker of {worker.group}, at {holder[1]}, has the worker.instance_id "
                f"{worker.instance_id!r} and took this one's partitions: give each its own"
            )


async def _ask_ends(judge: Judge, settings: ProcessorSettings) -> None:
    """Ask for the partitions' ends apart from the fetches, which stand still when the judge does."""
    admin, topics = Admin(settings.kafka), settings.topics
    while True:
        with contextlib.suppress(StreamError):
            judge.note_ends(await asyncio.to_thread(admin.ends, topics.telemetry, topics.partitions))
        await asyncio.sleep(_ASK)


async def _say_ready(app: BatchApp, url: str) -> None:
    """Print the ready line once the group has dealt out its partitions and theirs are loaded."""
    await app.ready.wait()
    print(json.dumps({"ready": "worker", "metrics": url}), flush=True)  # noqa: T201 - the ready line
