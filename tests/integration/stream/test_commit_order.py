"""Wherever a worker dies between the steps of a commit, and whoever writes late, the results are the same.

The worker's own judge, producer and state reader on Kafka's protocol; only its death is staged: a producer
that dies before or after what it is asked to send, or that is frozen with a snapshot in its hand.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from processor.clock import SystemClock
from processor.engine import Engine
from processor.flow.judge import Judge
from processor.flow.state import recall
from processor.flow.transport import BatchConsumer
from processor.kafka.admin import plan
from processor.kafka.producer import Outgoing, SafeProducer
from processor.kafka.state import encode_key
from processor.metrics import WorkerMetrics
from processor.rules import parse_rules
from processor.run import Run
from processor.settings import ProcessorSettings
from processor.settings.model import KafkaSettings, TopicSettings, WorkerSettings
from tests.support.kafka import start_embedded
from tests.support.telemetry import START, Written, beat, payload, sent

pytestmark = pytest.mark.timeout(120)

RULES = parse_rules(
    """
rules:
  - {id: hot, kind: case, severity: high, title: t, select: {metric: a}, for: 2s, clear: 1s,
     detect: {threshold: {above: 5}}}
  - {id: quick, kind: case, severity: low, title: t, select: {metric: a}, detect: {threshold: {above: 7}}}
  - {id: silent, kind: case, severity: low, title: t, detect: {silence: {after: 3s}}}
"""
)


class Death(BaseException):
    """The worker is gone, at this very moment."""


def stream() -> list[Written]:
    """Two assets, one of which falls silent, heartbeats and garbage, by their offsets."""
    records: list[Written] = []
    for second in range(24):
        t = START + second * 1000
        records.append(sent("x", t, seq=second, a=9 if second % 6 < 3 else 1))
        if second < 12:
            records.append(sent("y", t + 100, seq=second, a=second % 10))
        if second % 7 == 0:
            records.append(payload("x", b"garbage", received=t))
        records.append(beat(t + 900))
    return [record._replace(offset=offset) for offset, record in enumerate(records)]


RECORDS = stream()


@dataclass
class Group:
    """The consumer group as the judge sees it: whose generation it is, and what may be committed."""

    consumer_generation_id: int = 0
    safe: dict[int, int] = field(default_factory=dict)

    @property
    def app(self) -> "Group":
        return self

    def mark_safe(self, offsets: Mapping[int, int]) -> None:
        self.safe.update(offsets)


class Ice(asyncio.Event):
    """What a worker freezes in, until it is set; `stuck` is set once it does."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = asyncio.Event()


class MortalProducer(SafeProducer):
    """A producer whose process dies at its `last` send, before or after Kafka has it; or freezes there.

    Args:
        kafka: the cluster.
        last: which send is the last; -1 for none.
        after: whether Kafka has it.
        ice: with a process that freezes: when it goes on.
        acknowledged: everything that Kafka has.
    """

    def __init__(
        self, kafka: KafkaSettings, last: int, acknowledged: list[Outgoing], *, after: bool = False,
        ice: Ice | None = None,
    ) -> None:  # fmt: skip
        super().__init__(kafka, linger=0, bury=lambda _record, _why: None)
        self._left, self._after, self._ice, self._acknowledged = last, after, ice, acknowledged

    async def send(self, records: Sequence[Outgoing]) -> None:
        dies = records and self._left == 0
        self._left -= bool(records)
        if dies and self._ice is None and not self._after:
            raise Death
        if dies and self._ice is not None:
            self._ice.stuck.set()
            await self._ice.wait()
        await super().send(records)
        self._acknowledged += records
        if dies:
            raise Death


@dataclass(frozen=True)
class Life:
    """How one worker lives: runs of so many records, a snapshot after every ``save``th, and its end.

    Attributes:
        run: records judged at a time.
        save: runs between two snapshots.
        commit: whether what is safe gets committed as well.
        last: the send that it does not survive, counted from 0.
        after: whether Kafka has that one.
        frozen: it does not die there, but freezes, and goes on when its successor has lived.
    """

    run: int
    save: int
    commit: bool
    last: int
    after: bool
    frozen: bool


lives = st.builds(
    Life, run=st.integers(1, 9), save=st.integers(1, 4), commit=st.booleans(), last=st.integers(0, 12),
    after=st.booleans(), frozen=st.booleans(),
)  # fmt: skip


class Partition:
    """Partition 0, and the workers that have it one after the other."""

    def __init__(self, settings: ProcessorSettings) -> None:
        self.settings = settings
        self.group = Group()
        self.acknowledged: list[Outgoing] = []
        self.committed: int | None = None

    async def live(self, life: Life | None, ice: Ice | None = None) -> None:
        """One worker takes the partition and judges, until its end or that of the input.

        Raises:
            Death: it died.
        """
        self.group.consumer_generation_id += 1
        producer = MortalProducer(
            self.settings.kafka, -1 if life is None else life.last, self.acknowledged,
            after=life is not None and life.after, ice=ice,
        )  # fmt: skip
        judge = Judge(
            self.settings, RULES, producer=producer, consumer=lambda: cast("BatchConsumer", self.group),
            metrics=WorkerMetrics(), clock=SystemClock(),
        )  # fmt: skip
        try:
            starts = await judge.assign(self.group.consumer_generation_id, {0: self.committed})
            at, size = starts[0], 7 if life is None else life.run
            for number, start in enumerate(range(at, len(RECORDS), size)):
                await judge.judge(0, Run.of(RECORDS[start : start + size]))
                if life is not None and number % life.save == life.save - 1:
                    await asyncio.sleep(0.001)
                    await judge.save_due()
                    if life.commit:
                        self.committed = self.group.safe.get(0, self.committed)
            if life is None:
                await judge.release()
        finally:
            producer.close()


def quiet() -> tuple[set[bytes], bytes]:
    """What one engine tells that nobody disturbs, and its memory in the end."""
    engine = Engine(RULES, partition=0)
    return {event.value for event in engine.advance(RECORDS).events}, engine.dump()


async def write(settings: ProcessorSettings, records: Sequence[Outgoing]) -> None:
    producer = SafeProducer(settings.kafka, linger=0, bury=lambda _record, _why: None)
    await producer.send(records)
    producer.close()


@pytest.fixture(scope="module")
def filled() -> Iterator[ProcessorSettings]:
    """A cluster whose partition 0 holds the input."""
    process, kafka = start_embedded(1, [topic.name for topic in plan(TopicSettings(partitions=1))])
    made = ProcessorSettings(
        kafka=KafkaSettings(bootstrap=kafka.bootstrap),
        topics=TopicSettings(partitions=1),
        worker=WorkerSettings(state_interval=1e-6, session_timeout=2),
    )
    topic = made.topics.telemetry
    asyncio.run(
        write(made, [Outgoing(topic, r.value, r.key, list(r.headers), r.timestamp, 0) for r in RECORDS])
    )
    yield made
    process.terminate()
    process.communicate(timeout=10)


async def suffer(partition: Partition, script: Sequence[Life]) -> None:
    """From no snapshot: the lives of the script, then one that nothing happens to."""
    await write(
        partition.settings, [Outgoing(partition.settings.topics.state, None, encode_key(0, 1), partition=0)]
    )
    frozen: list[tuple[Ice, asyncio.Task[None]]] = []
    for life in script:
        if life.frozen:
            ice = Ice()
            task = asyncio.create_task(partition.live(life, ice))
            stuck = asyncio.create_task(ice.stuck.wait())
            # It lives until it freezes, or to the end of the input.
            await asyncio.wait({task, stuck}, return_when=asyncio.FIRST_COMPLETED)
            stuck.cancel()
            frozen.append((ice, task))
            continue
        with contextlib.suppress(Death):
            await partition.live(life)
        await wake(frozen)
    await wake(frozen)
    await partition.live(None)


async def wake(frozen: list[tuple[Ice, asyncio.Task[None]]]) -> None:
    """Frozen workers do what they had in hand, and learn that they are dead."""
    for ice, task in frozen:
        ice.set()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            assert isinstance(task.exception(), Death)
    frozen.clear()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The first snapshot freezes in its owner's hand; the successor commits more and dies; then it is written.
@example(
    script=[
        Life(run=3, save=1, commit=False, last=1, after=False, frozen=True),
        Life(run=5, save=1, commit=True, last=6, after=True, frozen=False),
    ]
)
@given(script=st.lists(lives, min_size=1, max_size=4))
def test_any_crash_between_the_steps_and_any_late_snapshot_of_a_frozen_owner_changes_nothing(
    filled: ProcessorSettings, script: list[Life]
) -> None:
    partition = Partition(filled)
    asyncio.run(suffer(partition, script))
    topics = partition.settings.topics
    told = {one.value for one in partition.acknowledged if one.topic == topics.cases}
    letters = {
        dict(one.headers or [])["origin"] for one in partition.acknowledged if one.topic == topics.dead
    }
    events, memory = quiet()
    assert told == events
    assert len(letters) == sum(record.value == b"garbage" for record in RECORDS)
    ((_, known),) = recall(partition.settings.kafka, topics, [0])
    assert known.snapshot is not None
    assert (known.snapshot.offset, bytes(known.snapshot.memory)) == (len(RECORDS), memory)
