"""Runs into case events, in the order in which nothing is lost.

For each run: judge it; publish its case events and dead letters; wait until Kafka has them. For each
partition, every `state_interval`: snapshot its memory; wait until Kafka has it; only then may the offset that
it covers be committed. A crash repeats work from the last snapshot, and the repeat makes the same event ids.

Long, because that order is one thing, to be read in one piece with what may go wrong at each step.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from processor.cases.event import write_time
from processor.cases.excess import Excess
from processor.clock import Clock
from processor.engine.partition import Engine
from processor.errors import DeadReason, StreamError
from processor.flow.advance import advance
from processor.flow.letters import case_record, dead_record, lost_record
from processor.flow.partition import Partition, Verdict
from processor.flow.progress import Progress
from processor.flow.snapshot import LARGEST_SNAPSHOT
from processor.flow.state import Known, recall
from processor.flow.transport import BatchConsumer
from processor.kafka.partitioner import choose_partition
from processor.kafka.producer import Outgoing, SafeProducer
from processor.kafka.state import TOPIC, describe_change, describe_renewal, encode_key
from processor.metrics import WorkerMetrics
from processor.model import Outcome
from processor.rules.ruleset import RuleSet
from processor.run import Run
from processor.settings import ProcessorSettings, TopicSettings

_LOG = logging.getLogger(__name__)


class Judge:
    """The worker's flow; see `processor.flow.transport.Flow`.

    Args:
        settings: all of them.
        rules: of the file, see `adopt`.
        producer: for events, dead letters and snapshots.
        consumer: the app's, once there is one.
        metrics: what is counted.
        clock: the wall clock for ages.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        rules: RuleSet,
        *,
        producer: SafeProducer,
        consumer: Callable[[], BatchConsumer],
        metrics: WorkerMetrics,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._producer = producer
        self._consumer = consumer
        self._metrics = metrics
        self._clock = clock
        self._partitions: dict[int, Partition] = {}
        self._ends: Mapping[int, int] = {}
        self._generation = -1
        self._lock = asyncio.Lock()
        #: Set when Kafka did not take what the last release had to save: it is judged again.
        self.unsaved = asyncio.Event()
        #: Set when the records lie where this worker cannot judge them: the process must end.
        self.refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        metrics.watch(commit_age=self._commit_age)

    async def assign(self, generation: int, committed: Mapping[int, int | None]) -> Mapping[int, int]:
        """Load the memory of partitions that are ours in this generation; see `Flow.assign`."""
        async with self._lock:
            if generation != self._generation:
                self._partitions.clear()
                self._metrics.forget_partitions()
                self._generation = generation
                self.unsaved.clear()
                self._metrics.rebalances.inc()
            missing = [number for number in committed if number not in self._partitions]
            topics = self._settings.topics
            if missing and max(missing) >= topics.partitions:
                raise StreamError(describe_change(topics, topics.partitions, max(missing) + 1))
            if missing:
                progress = Progress(self._metrics)
                memories = await asyncio.to_thread(recall, self._settings.kafka, topics, missing, progress)
                while (found := await asyncio.to_thread(next, memories, None)) is not None:
                    number, known = found
                    self._partitions[number] = await self._load(number, committed[number], known)
                    del found, known
            self._metrics.partitions.set(len(self._partitions))
            starts = {number: self._partitions[number].position for number in committed}
            _LOG.info("generation %d of the group: judging %s", generation, _places(starts))
            return starts

    async def release(self) -> Mapping[int, int]:
        """Save and forget all partitions; see `Flow.release`."""
        limit = self._settings.worker.session_timeout * 0.8
        async with self._lock:
            partitions, self._partitions = self._partitions, {}
            self._metrics.partitions.set(0)
            try:
                async with asyncio.timeout(limit):
                    for number, partition in partitions.items():
                        await self._save(number, partition)
            except TimeoutError:
                self.unsaved.set()
                _LOG.warning(
                    "Kafka did not take the last snapshots in %g s: their records are judged again", limit
                )
            except StreamError as error:
                _LOG.error("the last snapshots were not saved, their records are judged again: %s", error)
            self._metrics.forget_partitions()
            return {number: partition.saved for number, partition in partitions.items()}

    async def judge(self, partition: int, run: Run) -> None:
        """Judge a run and return when what came of it is safe; see `Flow.judge`."""
        state = self._partitions.get(partition)
        if state is None:
            return  # given up in the meantime: whoever has it now reads these again
        state.handed, state.oldest = asyncio.get_running_loop().time(), run[0].timestamp
        try:
            await self._judge(partition, run)
        finally:
            state.handed = None

    async def _judge(self, partition: int, run: Run) -> None:
        async with self._lock:
            state = self._partitions.get(partition)
            if state is None:
                return  # as above
            verdict, new = state.admit(run, lambda: self._consumer().lag_end(partition))
            if verdict is Verdict.REWIND:
                self._metrics.gaps.inc()
                _LOG.warning(
                    "partition %d: records %d to %d were fetched, %d is next: fetching again",
                    partition,
                    run[0].offset,
                    run[-1].offset,
                    state.position,
                )
                await self._consumer().rewind(partition, state.position)
            if new is None:
                return
            if verdict is Verdict.LOST:
                await self._report_lost(partition, state.position, new[0].offset)
            if verdict is Verdict.CUT:
                self._metrics.cuts.inc()
                _LOG.error(
                    "%s[%d] ends before %d, up to which it was judged: it was made anew or has lost its end; "
                    "judging all that it holds from %d",
                    self._settings.topics.telemetry,
                    partition,
                    state.position,
                    new[0].offset,
                )
            started = time.perf_counter()
            met = len(state.engine.index.keys)
            outcome = advance(state.engine, new, self._metrics.engine_failures.inc)
            self._metrics.batch_seconds.observe(time.perf_counter() - started)
            if self._misplaced(partition, state.engine.index.keys[met:]):
                return
            outcome = replace(outcome, events=outcome.events + state.excess.find(outcome.dead))
            remaining = state.engine.remaining
            if remaining is not state.engine.schedule:
                state.engine = await asyncio.to_thread(state.engine.under, remaining)
            records = [case_record(self._settings.topics, event) for event in outcome.events]
            records += [
                dead_record(self._settings.topics, partition, one.record, one.reason, one.detail)
                for one in outcome.dead
            ]
            try:
                await self._producer.send(records)
            except StreamError:
                return  # the producer's failure ends the worker; this run is not safe and comes again
            state.advance(new, asyncio.get_running_loop().time())
            self._count(outcome, len(new), partition)

    def on_commit(self, offsets: Mapping[int, int]) -> None:
        """Keep the age of what waits for a commit; see `Flow.on_commit`."""
        self._metrics.commits.inc()
        now = asyncio.get_running_loop().time()
        for number, offset in offsets.items():
            state = self._partitions.get(number)
            if state is not None:
                state.uncommitted_since = None if offset >= state.position else now

    async def save_due(self) -> None:
        """Save the partitions whose last snapshot is old, and let their offsets be committed."""
        interval = self._settings.worker.state_interval
        for number in list(self._partitions):
            state = self._partitions.get(number)
            now = asyncio.get_running_loop().time()
            if state is not None and state.dirty_since is not None and now - state.dirty_since >= interval:
                async with self._lock:
                    if self._partitions.get(number) is state:
                        await self._save(number, state)
                        self._consumer().mark_safe({number: state.saved})

    async def adopt(self, rules: RuleSet) -> None:
        """Judge by new rules from where they say; what a partition is to do is saved before it does it."""
        async with self._lock:
            self._rules = rules
            for number, state in self._partitions.items():
                await self._take_rules(number, state)

    async def take_due(self) -> None:
        """Take the file's rules where there was no room for them and one rule set has been forgotten."""
        for number in list(self._partitions):
            state = self._partitions.get(number)
            if state is not None and state.crowded is not None and state.crowded is not state.engine.schedule:
                async with self._lock:
                    if self._partitions.get(number) is state:
                        await self._take_rules(number, state)

    async def _take_rules(self, number: int, state: Partition) -> None:
        schedule, _ = state.engine.plan(self._rules, begun=state.begun)
        if schedule is not state.engine.schedule:
            state.engine = await asyncio.to_thread(state.engine.under, schedule)
            state.dirty_since = asyncio.get_running_loop().time()
            await self._save(number, state)
            self._consumer().mark_safe({number: state.saved})
        self._tell_rules(number, state)

    def _tell_rules(self, number: int, state: Partition) -> None:
        """Say by which rules a partition is judged, and why if it is not by those of the file."""
        schedule = state.engine.schedule
        start, rules = schedule.eras[-1]
        state.crowded = None
        if rules.hash == self._rules.hash:
            since = f"event time {write_time(start)}" if start > 0 else "the beginning"
            text = f"partition {number}: rules {rules.hash} from {since}"
            _LOG.info(text)
            return
        _, why = state.engine.plan(self._rules, begun=state.begun)
        if schedule.full:
            state.crowded = schedule
        text = (
            f"partition {number}: rules {rules.hash}, in force from {write_time(max(start, 0))}, stay: "
            f"the file ({self._rules.hash}) {why}"
        )
        _LOG.error(text)

    def note_ends(self, ends: Mapping[int, int]) -> None:
        """The offsets at which the partitions end, as Kafka was just asked."""
        self._ends = ends

    def measure(self) -> None:
        """Set the gauges that are read off the partitions."""
        rows: dict[str, int] = {}
        held = 0
        for number, state in self._partitions.items():
            # A fetch tells the end, too; but none is made while the queue is full.
            end = max(self._consumer().lag_end(number) or 0, self._ends.get(number, 0))
            lag = max(0, end - state.position)
            age = max(0.0, self._clock.now() - state.behind / 1000) if lag else 0.0
            self._metrics.lag_records.labels(str(number)).set(lag)
            self._metrics.lag_seconds.labels(str(number)).set(age)
            if state.engine.clock.at:
                # Below 0, a bridge's clock is ahead of this one's.
                age = self._clock.now() - state.engine.clock.at / 1000
                self._metrics.heartbeat_age.labels(str(number)).set(age)
            self._metrics.rule_sets.labels(str(number)).set(len(state.engine.schedule.eras))
            outdated = state.engine.rules.hash != self._rules.hash
            self._metrics.rules_outdated.labels(str(number)).set(outdated)
            held += state.engine.nbytes
            for kind, count in state.engine.rows.items():
                rows[kind] = rows.get(kind, 0) + count
        for kind, count in rows.items():
            self._metrics.state_rows.labels(kind).set(count)
        self._metrics.state_bytes.set(held)

    async def _load(self, number: int, committed: int | None, known: Known) -> Partition:
        """A partition's memory, and where to start: the snapshot's offset, not the committed one."""
        topic = self._settings.topics.telemetry
        snapshot = known.snapshot
        start, begun = known.start(committed), 0
        if snapshot is None:
            engine = Engine(self._rules, partition=number, limits=self._settings.engine)
            if committed is not None:
                _LOG.warning("%s[%d]: no snapshot: starting at %d with an empty memory", topic, number, start)
        else:
            # No event time that anybody has judged lies further ahead than this.
            begun = int((self._clock.now() + self._settings.engine.furthest) * 1000)
            engine = Engine.load(
                snapshot.memory, self._rules, partition=number, limits=self._settings.engine, begun=begun
            )
        if known.renewed:
            self._metrics.renewals.inc()
            text = f"partition {number}: {describe_renewal(topic)}"
            _LOG.error(text)
            engine.clock.repeat()
        elif start > known.end:
            # The topic lost its end or was made anew: what it holds may be unjudged; repeats are seen.
            _LOG.error(
                "%s[%d] ends at %d, its snapshot at %d: judging all that it holds",
                topic,
                number,
                known.end,
                start,
            )
            engine.clock.repeat()
            start = known.first
        elif start < known.first:
            await self._report_lost(number, start, known.first)
            start = known.first
        excess = Excess(series=self._settings.engine.series, dead_letters=self._settings.worker.dead_letters)
        loaded = Partition(engine, excess, position=start, saved=start, begun=begun, topic=known.topic)
        loaded.oldest = int(self._clock.now() * 1000)
        self._tell_rules(number, loaded)
        if snapshot is not None and (
            snapshot.rules != engine.schedule.name or (known.topic and known.topic != known.judged)
        ):
            # From when the new rules are in force is saved, whether or not there is anything to judge; and so
            # is the topic that is judged.
            loaded.dirty_since = asyncio.get_running_loop().time()
        return loaded

    def _misplaced(self, partition: int, keys: Sequence[bytes]) -> bool:
        """Whether one of these assets belongs elsewhere: then the partition is judged and saved no more."""
        topics = self._settings.topics
        for key in keys:
            home = choose_partition(key, topics.partitions)
            if home != partition:
                del self._partitions[partition]
                if not self.refused.done():
                    self.refused.set_exception(StreamError(_misplacement(topics, partition, home, key)))
                return True
        return False

    async def _save(self, number: int, state: Partition) -> None:
        """Snapshot a partition and return when Kafka has it."""
        if state.dirty_since is None:
            return
        position, topics = state.position, self._settings.topics
        value = state.encoder.encode(position, state.engine.schedule.name, state.engine.pieces())
        self._metrics.snapshot_bytes.labels(str(number)).set(len(value))
        if len(value) > LARGEST_SNAPSHOT:
            raise StreamError(
                f"the memory of partition {number} is {len(value)} bytes, more than a record of "
                f"{topics.state} takes ({LARGEST_SNAPSHOT}): use more partitions"
            )
        if self._generation != self._consumer().app.consumer_generation_id:
            return  # no longer ours: a late write would only make the owner's successor repeat work
        key, headers = encode_key(number, topics.partitions), [(TOPIC, state.topic.encode())]
        await self._producer.send([Outgoing(topics.state, value, key, headers, partition=number)])
        state.saved, state.dirty_since = position, None
        self._metrics.snapshots.inc()

    async def _report_lost(self, number: int, first: int, end: int) -> None:
        _LOG.error(
            "%s[%d]: records %d to %d were deleted before they were judged: raise topics.telemetry_retention",
            self._settings.topics.telemetry,
            number,
            first,
            end - 1,
        )
        self._metrics.lost_records.inc(end - first)
        self._metrics.dead.labels(DeadReason.RETENTION.value).inc()
        await self._producer.send([lost_record(self._settings.topics, number, first, end)])

    def _count(self, outcome: Outcome, records: int, partition: int) -> None:
        metrics, notes = self._metrics, outcome.notes
        metrics.evaluations.inc(notes.evaluations)
        metrics.transitions.inc(notes.transitions)
        metrics.passed_over.inc(notes.passed_over)
        for counter, count in (
            (metrics.sequence_gaps, notes.skipped),
            (metrics.sequence_filled, notes.filled),
            (metrics.sequence_restarts, notes.restarted),
        ):
            counter.labels(str(partition)).inc(count)
        metrics.records.inc(records)
        for name in ("received", "judged", "dead", "late", "duplicate", "conflict"):
            metrics.samples.labels(name).inc(getattr(outcome.counts, name))
        for event in outcome.events:
            metrics.events.labels(event.rule, event.type).inc()
        for one in outcome.dead:
            metrics.dead.labels(one.reason.value).inc()

    def _commit_age(self) -> float:
        waits = (state.waits_since for state in list(self._partitions.values()))
        return max((time.monotonic() - since for since in waits if since is not None), default=0.0)


def _misplacement(topics: TopicSettings, partition: int, home: int, key: bytes) -> str:
    return (
        f"{topics.telemetry}[{partition}] holds records of {key.decode()}, which belong to [{home}] of "
        f"{topics.partitions}: the topic was extended while something wrote to it, or a producer does not "
        "partition by murmur2; stop the bridges and the workers, then run `processor state repartition "
        "--config FILE`"
    )


def _places(starts: Mapping[int, int]) -> str:
    """Partitions and the offsets that they start at."""
    return ", ".join(f"{number} from {offset}" for number, offset in sorted(starts.items())) or "nothing"
