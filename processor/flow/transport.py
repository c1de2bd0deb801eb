"""Batches inside Faust: one Faust message is the run of records that a poll returned for one partition.

Stock Faust pays some 80 µs of CPU an event for tasks, locks and objects; a run costs that once for thousands.
Faust keeps group membership, rebalances and the worker's life; records never become Faust objects. Two
things are ours. Offsets: what may be committed is said by the flow (`BatchConsumer.mark_safe`), not gathered
from acks of messages, so nothing can be committed that was not declared safe, and the lists that stock Faust
keeps of acks and gaps do not exist. Positions: after each assignment the flow says where to start.

Every private name of Faust and mode that we lean on is in this file, those of aiokafka's fetcher are in
`processor.flow.fetching`; `check_names` finds at start whether an upgrade has moved one. Read in
faust-streaming 0.15.3, mode-streaming 0.7.1, aiokafka 0.14.0.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.transport.consumer import Consumer as StockConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as KafkaConsumer
from faust.transport.drivers.aiokafka import Transport as KafkaTransport
from faust.types import TP, ConsumerMessage
from mode.utils.queues import FlowControlEvent

from processor.errors import StreamError
from processor.flow import fetching
from processor.run import Run

_NAMES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (
        StockConsumer,
        (
            "perform_seek",
            "stop_flow",
            "commit",
            "force_commit",
            "_filter_committable_offsets",
            "on_partitions_revoked",
            "on_partitions_assigned",
            "flow_active",
            "_wait_next_records",
            "_get_active_partitions",
            "on_buffer_drop",
        ),
    ),
    (
        KafkaConsumer,
        (
            "_getmany",
            "_to_message",
            "_commit",
            "_new_consumer_thread",
            "seek_to_committed",
            "seek_wait",
            "highwater",
            "assignment",
        ),
    ),
    (AIOKafkaConsumerThread, ("_seek_wait", "_commit", "_create_worker_consumer", "_consumer")),
    (KafkaTransport, ("Consumer",)),
    (faust.App, ("_new_transport", "flow_control", "on_rebalance_end", "consumer_generation_id")),
    (FlowControlEvent, ("resume", "clear", "suspend")),
    (faust.Schema, ("loads_key", "loads_value")),
    *fetching.NAMES,
)
#: Attributes of instances, found in the code that makes them.
_SET = (
    (StockConsumer.__init__, ("_read_offset", "_committed_offset", "_buffered_partitions")),
    (FlowControlEvent.resume, ("_suspend", "_resume")),
    (AIOKafkaConsumer.__init__, ("_fetch_max_wait_ms",)),
    (AIOKafkaConsumer.start, ("_coordinator",)),
    (GroupCoordinator.__init__, ("_coordination_task", "_pending_exception", "member_id")),
    (AIOKafkaConsumerThread._fetch_records, ("fetched_records",)),  # noqa: SLF001 - as the rest of this file
    *fetching.USED,
)
#: Faust sets 1500, and a seek waits for the fetch that is on its way; new records end a fetch at once anyway.
_FETCH_WAIT_MS = 250
#: Longest wait (seconds) for room in a queue before Faust looks whether it is to go on at all; longest wait
#: for records of other partitions while a queue is full: it may have room long before they come.
_FULL, _SOON = 1.0, 0.02


def check_names() -> None:
    """Find the names of Faust that this file leans on.

    Raises:
        StreamError: an upgrade has moved one.
    """
    missing = [
        f"{kind.__name__}.{name}" for kind, names in _NAMES for name in names if not hasattr(kind, name)
    ]
    missing += [
        f"{function.__qualname__}: {name}"
        for function, names in _SET
        for name in names
        if name not in function.__code__.co_names
    ]
    if missing:
        raise StreamError(
            "install faust-streaming 0.15.3, mode-streaming 0.7.1 and aiokafka 0.14.0: "
            f"{', '.join(missing)} moved; processor/flow/transport.py and fetching.py are to be adapted"
        )


class Flow(Protocol):
    """Who judges runs, and says where to start and what is safe."""

    async def assign(self, generation: int, committed: Mapping[int, int | None]) -> Mapping[int, int]:
        """Partitions are ours in this generation of the group: load their memory; returns where each starts.

        `committed` has the group's offset of each partition, None where there is none.
        """

    async def release(self) -> Mapping[int, int]:
        """Partitions are about to be taken: save their memory; returns what is safe to commit then."""

    async def judge(self, partition: int, run: Run) -> None:
        """Judge a run; never raises."""

    def on_commit(self, offsets: Mapping[int, int]) -> None:
        """The group's offsets were committed."""


class RunSchema(faust.Schema[Any, Any]):
    """No decoding: the value is the run."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> None:  # noqa: ANN401 - Faust's signature
        """Runs have no key."""

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ANN401, ARG002 - Faust's signature
        """The run as it is."""
        return message.value


class _Forgetful(dict[Any, Any]):
    """In place of Faust's read offsets, by which it drops what it thinks it has seen.

    The fetch loop writes them after each run, also after one from before a rewind, and would then drop what
    the rewind fetched again. Which records are new is judged by the flow, which knows what it has judged.
    """

    def __getitem__(self, key: Any) -> None:  # noqa: ANN401 - Faust's keys
        """Nothing has been read."""

    def __setitem__(self, key: Any, value: Any) -> None:  # noqa: ANN401 - as above
        """Forget it."""


class QuickThread(AIOKafkaConsumerThread):
    """Faust's thread around aiokafka: runs of records, and a shorter wait when there are none."""

    def _create_worker_consumer(self, transport: Any) -> Any:  # noqa: ANN401 - Faust's signature
        fetching.install()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS  # noqa: SLF001 - aiokafka has it as an argument, Faust does not
        return consumer


class BatchConsumer(KafkaConsumer):
    """Hands over runs; commits what the flow declared safe; starts where the flow says."""

    app: Any  # a `BatchApp`, which Faust's own annotation does not know

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Faust's signature
        super().__init__(*args, **kwargs)
        self._read_offset = _Forgetful()
        self._safe: dict[TP, int] = {}
        #: Set when a partition whose queue was full has room again.
        self._room = asyncio.Event()
        #: Set from a revocation until the assignment that follows it.
        self._released = asyncio.Event()

    def _new_consumer_thread(self) -> QuickThread:
        return QuickThread(self, loop=self.loop, beacon=self.beacon)

    def mark_safe(self, offsets: Mapping[int, int]) -> None:
        """Everything below these offsets may be committed."""
        self._safe.update(
            {TP(self.app.batch_topic, partition): offset for partition, offset in offsets.items()}
        )

    async def rewind(self, partition: int, offset: int) -> None:
        """Fetch a partition again from an offset."""
        await self.seek_wait({TP(self.app.batch_topic, partition): offset})

    def lag_end(self, partition: int) -> int | None:
        """The next offset to be written, as the last fetch saw it."""
        end: int | None = self.highwater(TP(self.app.batch_topic, partition))
        return end

    @property
    def _membership(self) -> Any:  # noqa: ANN401 - aiokafka's; None before there is one
        consumer: Any = self._thread and self._thread._consumer  # noqa: SLF001 - as the rest of this file
        found = consumer and consumer._coordinator  # noqa: SLF001 - the same
        return found if isinstance(found, GroupCoordinator) else None

    @property
    def member(self) -> str:
        """What the group calls this worker; "" while it is in none."""
        return self._membership.member_id if self._membership is not None else ""

    @property
    def fault(self) -> BaseException | None:
        """What the group refused: aiokafka stands still then until somebody asks, which Faust never does."""
        coordinator = self._membership
        if coordinator is None:
            return None
        task = coordinator._coordination_task  # noqa: SLF001 - the same
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            return cast("BaseException", error.__cause__ or error)
        return cast("BaseException | None", coordinator._pending_exception)  # noqa: SLF001 - the same

    def on_buffer_drop(self, tp: Any) -> None:  # noqa: ANN401 - Faust's signature
        """A partition's queue is not full any more."""
        super().on_buffer_drop(tp)
        self._room.set()

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ANN401, ASYNC109 - as Faust calls it
        """While every queue is full, wait for room: stock Faust sleeps a second, however soon there is."""
        if self.flow_active and self._buffered_partitions and not self._get_active_partitions():
            self._room.clear()
            await self.wait(self._room.wait(), timeout=_FULL)
            if not self._get_active_partitions():
                # Nothing was asked: of an empty answer while the flow is stopped, Faust would make a seek.
                return None, None
        return await super()._wait_next_records(timeout)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ANN401, ASYNC109 - as Faust calls it
        wait = _SOON if self._buffered_partitions else timeout
        records = await super()._getmany(active_partitions, wait)
        # For Faust a run is one record.
        return records and {tp: [run] for tp, run in records.items()}

    def _to_message(self, tp: Any, record: Any) -> Any:  # noqa: ANN401 - Faust's signature
        last = record[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,
            [],
            None,
            record,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _filter_committable_offsets(self, tps: Iterable[Any]) -> dict[Any, int]:  # noqa: ARG002 - Faust's signature
        committed = self._committed_offset
        return {tp: offset for tp, offset in self._safe.items() if offset > (committed[tp] or 0)}

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        done: bool = await super()._commit(offsets)
        if done:
            self.app.flow.on_commit({tp.partition: offset for tp, offset in offsets.items()})
        return done

    async def perform_seek(self) -> None:
        """Ask the flow where each partition starts, and seek there.

        Faust calls this while the fetcher may already run: the flow is stopped first, else runs are fetched
        from the old position and then dropped, one queue of them in each generation. It also calls this for a
        fetch that a revocation met on its way: what was released is not loaded again.
        """
        self.stop_flow()
        generation = self.app.consumer_generation_id
        tps = [tp for tp in self.assignment() if tp.topic == self.app.batch_topic]
        if not tps or self._released.is_set():
            return
        committed = await self.seek_to_committed()
        if self._released.is_set():
            return
        for tp in tps:
            offset = committed.get(tp)
            self._committed_offset[tp] = offset if offset is not None and offset >= 0 else None
        starts = await self.app.flow.assign(
            generation, {tp.partition: self._committed_offset[tp] for tp in tps}
        )
        await self.seek_wait({tp: starts[tp.partition] for tp in tps})

    async def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ANN401 - Faust's signature
        """Save, commit, and only then let the partitions go."""
        self.stop_flow()
        self._released.set()
        await self.settle()
        self._safe.clear()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:  # noqa: ANN401 - Faust's signature
        """From here on, where each partition starts is asked again."""
        self._released.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    async def settle(self) -> None:
        """Let the flow save what it has judged, and commit that."""
        self.mark_safe(await self.app.flow.release())
        await self.commit()
        # A commit under way when we asked for ours has not seen the last offsets.
        await self.commit()


class BatchTransport(KafkaTransport):
    """Faust's Kafka transport with our consumer."""

    Consumer = BatchConsumer


class KeepingFlowControl(FlowControlEvent):
    """Resuming keeps what is queued: stock resume clears queues that the fetcher has begun to fill."""

    def resume(self) -> None:
        """Let runs through."""
        self._suspend.clear()
        self._resume.set()


class BatchApp(faust.App):
    """A Faust app whose one topic is read in runs.

    Args:
        flow: judges the runs.
        batch_topic: the topic.
        arguments: Faust's settings.
    """

    def __init__(self, flow: Flow, batch_topic: str, *args: Any, **arguments: Any) -> None:  # noqa: ANN401 - Faust's signature
        self.flow = flow
        self.batch_topic = batch_topic
        self._kept_flow_control: KeepingFlowControl | None = None
        #: Set once the group has dealt out its partitions and this worker's, if it got any, are loaded.
        self.ready = asyncio.Event()
        super().__init__(*args, **arguments)

    @property
    def batch_consumer(self) -> BatchConsumer:
        """Faust's consumer, which is ours."""
        return cast("BatchConsumer", self.consumer)

    def _new_transport(self) -> Any:  # noqa: ANN401 - Faust's type
        return BatchTransport(self.conf.broker_consumer, self)

    def on_rebalance_end(self) -> None:
        """Also after an assignment of nothing, with more workers than partitions: this one stands by."""
        super().on_rebalance_end()
        self.ready.set()

    @property
    def flow_control(self) -> Any:  # noqa: ANN401 - mode's type
        """Faust's valve on the queues."""
        if self._kept_flow_control is None:
            self._kept_flow_control = KeepingFlowControl()
        return self._kept_flow_control


async def judge_runs(app: BatchApp, stream: Any) -> None:  # noqa: ANN401 - Faust's stream
    """The one agent: each run to the flow, in order. Nothing is acked here: the flow marks what is safe."""
    async for event in stream.noack().events():
        run = event.value
        await app.flow.judge(event.message.partition, run)
        # The message may live on in Faust's hands for a while: it need not keep the records.
        run.clear()
        await asyncio.sleep(0)
