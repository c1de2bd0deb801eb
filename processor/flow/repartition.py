"""Another number of partitions: topics extended, what waits judged, every memory dealt out anew.

Why nothing is lost, wherever this is killed, and what is judged is judged once:

1. Nobody judges (the group is empty) and nobody writes (the ends stand still) when it begins.
2. The topics are extended. From here on no worker starts, because the memory is that of the former number.
3. What waits is judged by the former engines. An asset's key names its engine, so it does not matter in which
   partition a record lies: one that was written after somebody else extended the topic is judged in its turn.
   The case events go out as a worker's do: judged once more after a kill, they have the same ids.
4. One transaction writes all new memories and the group's offsets and removes the former memories. It is the
   only step that changes what a worker or another run of this would find.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from processor.cases.event import write_time
from processor.cases.excess import Excess
from processor.engine import warm
from processor.engine.alignment import align, check
from processor.engine.memory import Memory
from processor.engine.memory import encode as encode_memory
from processor.engine.partition import Engine
from processor.engine.repartition import deal
from processor.errors import StreamError
from processor.flow.advance import advance
from processor.flow.letters import bury, case_record, dead_record, lost_record
from processor.flow.progress import draw
from processor.flow.snapshot import LARGEST_SNAPSHOT, Encoder
from processor.flow.state import read_spans
from processor.flow.survey import Survey, make_member
from processor.kafka.admin import Admin
from processor.kafka.backlog import Waiting, read_merged
from processor.kafka.client import LARGE_RECORD, client_config, make_reader
from processor.kafka.partitioner import choose_partition
from processor.kafka.producer import SafeProducer
from processor.kafka.state import TOPIC, describe_renewal, encode_key
from processor.rules.load import load_rules
from processor.rules.ruleset import RuleSet
from processor.settings import ProcessorSettings, TopicSettings

#: Bridges write a heartbeat to every partition each second: ends that stand still for longer have no writer.
_QUIET = 3.0
_TIMEOUT = 60.0
_ABORT = 10.0
#: What a broker allows by default, milliseconds.
_TRANSACTION = 900_000
#: What a producer hears whose transactional id another one has taken over.
_FENCED = {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}  # noqa: SLF001 - their published names
_LINGER = 0.001
_PAUSE = 1.0

Say = Callable[[str], None]


def repartition(settings: ProcessorSettings, found: Survey, say: Say) -> None:
    """Do what `survey` found to do; `say` hears of each step.

    Raises:
        StreamError: it cannot be finished now; run again, it begins where nothing is lost.
    """
    topics, wanted = settings.topics, found.wanted
    rules, engines = load(settings, found)
    producer = _begin(settings)
    try:
        say(f"watching {topics.telemetry} for {_QUIET:g} s: nobody may write")
        _check_quiet(settings, found.short.get(topics.telemetry, wanted))
        if found.short:
            say(f"extending {len(found.short)} topics to {wanted} partitions")
            Admin(settings.kafka).extend(dict.fromkeys(found.short, wanted))
        spans = _read_spans(settings, wanted)
        if not found.remembers and not any(end for _, end in spans.values()):
            say(f"done: {wanted} partitions; there was no memory, and nothing to judge")
            return
        asyncio.run(_judge(settings, rules, engines, found, spans, say))
        say(f"writing the memory of {wanted} partitions")
        ends = {number: end for number, (_, end) in spans.items()}
        with _transaction(producer):
            _write(settings, producer, found, _deal(engines, wanted), ends, say)
        say(f"done: the memory of {found.former} partitions is that of {wanted}")
    except (KafkaException, SystemError) as error:
        # What is fatal the client throws into the telling of a record: there it is the cause.
        cause = error.__cause__ if isinstance(error, SystemError) else error
        if not isinstance(cause, KafkaException):
            raise
        raise StreamError(_describe(cause.args[0], settings.worker.group)) from None


def _describe(error: KafkaError, group: str) -> str:
    if error.code() in _FENCED:
        return "another run of this command has begun since: it is the one to end with `done:`"
    if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return f"{error.str()}: let the account read the group {group}, then run it again; nothing is lost"
    return f"{error.str()}: run it again, nothing is lost"


def _check_quiet(settings: ProcessorSettings, partitions: int) -> None:
    before = _read_spans(settings, partitions)
    time.sleep(_QUIET)
    after = _read_spans(settings, partitions)
    if any(before[number][1] != after[number][1] for number in before):
        raise StreamError(
            f"records still arrive in {settings.topics.telemetry}: stop the bridges, and "
            "whatever else writes there"
        )


def _read_spans(settings: ProcessorSettings, partitions: int) -> dict[int, tuple[int, int]]:
    """By a client of its own: an older one does not know the new partitions yet."""
    consumer = make_reader(settings.kafka)
    try:
        return read_spans(consumer, settings.topics.telemetry, range(partitions))
    finally:
        consumer.close()


def _begin(settings: ProcessorSettings) -> Producer:
    """The producer of the one transaction; beginning ends one that an earlier run left open."""
    producer = Producer(
        client_config(settings.kafka)
        | {
            "transactional.id": f"{settings.worker.group}.repartition",
            "transaction.timeout.ms": _TRANSACTION,
            "message.max.bytes": LARGE_RECORD,
        }
    )
    try:
        producer.init_transactions(_TIMEOUT)
    except KafkaException as error:
        raise StreamError(
            f"Kafka begins no transaction ({error.args[0].str()}): let the account write the transactional "
            f"id {settings.worker.group}.repartition, and see that transaction.state.log.replication.factor "
            "is no more than there are brokers"
        ) from None
    return producer


@contextmanager
def _transaction(producer: Producer) -> Iterator[None]:
    """What is written meanwhile counts all at once, or not at all."""
    producer.begin_transaction()
    try:
        yield
        producer.commit_transaction(_TIMEOUT)
    except BaseException:
        # Left open, it would keep everybody from reading on in the topic until Kafka ends it, minutes later.
        with suppress(KafkaException, SystemError):
            producer.abort_transaction(_ABORT)
        raise


def load(settings: ProcessorSettings, found: Survey) -> tuple[RuleSet, list[Engine]]:
    """The rules of the file, and the former partitions under them; changes nothing.

    Raises:
        StreamError: they cannot come under one schedule of rules.
    """
    rules, limits = load_rules(Path(settings.worker.rules)), settings.engine
    # A worker that was killed may have told events by a set that has begun since its snapshot.
    begun = int((time.time() + limits.furthest) * 1000)
    engines: dict[int, Engine] = {}
    for number, (snapshot, *_) in found.known.items():
        if snapshot is not None and number < found.former:
            engines[number] = Engine.load(
                snapshot.memory, rules, partition=number, limits=limits, begun=begun
            )
    _check_rules(engines, rules, begun)
    # One without a memory is judged by what the others are.
    schedules = [engine.schedule for engine in engines.values()]
    longest = max(schedules, key=lambda schedule: len(schedule.eras), default=rules)
    for number in range(found.former):
        if number not in engines:
            engines[number] = Engine(longest, partition=number, limits=limits)
    whole = [engines[number] for number in range(found.former)]
    try:
        check(whole)
    except ValueError as error:
        raise StreamError(f"nothing was changed: {error}") from None
    return rules, whole


def _check_rules(engines: Mapping[int, Engine], rules: RuleSet, begun: int) -> None:
    """Refuse partitions of which some take the rules file and others do not: say why those do not."""
    if len({engine.rules.hash for engine in engines.values()}) < 2:  # noqa: PLR2004 - not one set, but several
        return
    number, engine = next(each for each in engines.items() if each[1].rules.hash != rules.hash)
    start, there = engine.schedule.eras[-1]
    raise StreamError(
        f"nothing was changed: the partitions are under different rules; in partition {number} the rules "
        f"{there.hash}, in force from {write_time(max(start, 0))}, stay: the file ({rules.hash}) "
        f"{engine.plan(rules, begun=begun)[1]}"
    )


async def _judge(
    settings: ProcessorSettings,
    rules: RuleSet,
    engines: Sequence[Engine],
    found: Survey,
    spans: Mapping[int, tuple[int, int]],
    say: Say,
) -> None:
    """Judge what waits, as workers of the former layout would have."""
    topics, limit = settings.topics, settings.worker.dead_letters
    producer = SafeProducer(settings.kafka, linger=_LINGER, patient=False, bury=bury(topics, lambda: None))
    excesses = [Excess(series=settings.engine.series, dead_letters=limit) for _ in engines]
    consumer = make_reader(settings.kafka)
    try:
        waiting: dict[int, tuple[int, int]] = {}
        for number, (first, end) in spans.items():
            start = found.starts.get(number, first)
            renewed = number in found.known and found.known[number].renewed
            if renewed:
                say(f"{topics.telemetry}[{number}]: {describe_renewal(topics.telemetry)}")
            if number < len(engines) and (renewed or start > end):
                engines[number].clock.repeat()
            if start < first:
                say(f"{topics.telemetry}[{number}]: records {start} to {first - 1} were deleted unjudged")
                await producer.send([lost_record(topics, number, start, first)])
            # Beyond the end: the topic was made anew, and what it holds may be unjudged.
            waiting[number] = (start if first <= start <= end else first, end)
        total = sum(end - first for first, end in waiting.values())
        if total:
            say(f"judging {total} records that wait, by {len(engines)} partitions")
            warm(rules)
        done, told = 0, time.monotonic()
        for batch in _batches(read_merged(consumer, topics.telemetry, waiting), settings.worker.run_size):
            for number, run in _by_engine(batch, len(engines)).items():
                outcome = advance(engines[number], run, lambda: None)
                events = outcome.events + excesses[number].find(outcome.dead)
                records = [case_record(topics, event) for event in events]
                for one in outcome.dead:
                    place = one.record.partition if isinstance(one.record, Waiting) else number
                    records.append(dead_record(topics, place, one.record, one.reason, one.detail))
                await producer.send(records)
            done += len(batch)
            if time.monotonic() - told >= _PAUSE:
                told = time.monotonic()
                say(f"{draw(done, total)} of {total} records")
    finally:
        producer.close()
        consumer.close()


def _batches(records: Iterator[Waiting], size: int) -> Iterator[list[Waiting]]:
    while batch := list(islice(records, size)):
        yield batch


def _by_engine(batch: Sequence[Waiting], partitions: int) -> dict[int, list[Waiting]]:
    """Each record to the engine of its asset; one without a key to that of its partition."""
    runs: dict[int, list[Waiting]] = {}
    for record in batch:
        if record.key is not None:
            runs.setdefault(choose_partition(record.key, partitions), []).append(record)
        elif record.partition < partitions:
            # Those in the new partitions are heartbeats, which every former one has as well.
            runs.setdefault(record.partition, []).append(record)
    return runs


def _deal(engines: Sequence[Engine], partitions: int) -> Iterator[Memory]:
    for engine in engines:
        _check_home(engine, len(engines))
    try:
        yield from deal(align(engines), partitions, lambda key: choose_partition(key, partitions))
    except ValueError as error:
        raise StreamError(f"the memory cannot be dealt out anew: {error}") from None


def _check_home(engine: Engine, partitions: int) -> None:
    """Refuse a memory of assets that murmur2 puts elsewhere: nobody could say where they are to go."""
    for key in engine.index.keys:
        home = choose_partition(key, partitions)
        if home != engine.partition:
            raise StreamError(
                f"the memory of partition {engine.partition} has {key.decode()}, which belongs to [{home}] "
                f"of {partitions}: a producer does not partition by murmur2, as librdkafka does with "
                "partitioner=murmur2_random"
            )


def _write(
    settings: ProcessorSettings,
    producer: Producer,
    found: Survey,
    memories: Iterator[Memory],
    ends: Mapping[int, int],
    say: Say,
) -> None:
    """All memories and offsets at once, or nothing."""
    topics = settings.topics
    failed: list[str] = []

    def report(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failed.append(error.str())

    encoder = Encoder()
    for memory in memories:
        number = memory.partition
        value = encoder.encode(ends[number], memory.rules, encode_memory(memory))
        if len(value) > LARGEST_SNAPSHOT:
            raise StreamError(
                f"the memory of partition {number} would be {len(value)} bytes, more than a record of "
                f"{topics.state} takes ({LARGEST_SNAPSHOT}): use more partitions"
            )
        key = encode_key(number, found.wanted)
        headers: list[tuple[str, str | bytes | None]] = [(TOPIC, found.topic.encode())]
        producer.produce(topics.state, value, key, number, on_delivery=report, headers=headers)
        # One at a time in memory: all of them may be more than there is.
        producer.flush(_TIMEOUT)
        _check_taken(topics, failed)
        say(
            f"{topics.state}[{number}]: {memory.asset_count} assets, {len(value)} bytes, "
            f"judged up to {ends[number]}"
        )
    if found.former != found.wanted:
        for number in range(found.former):
            key = encode_key(number, found.former)
            producer.produce(topics.state, None, key, number, on_delivery=report)
    producer.flush(_TIMEOUT)
    _check_taken(topics, failed)
    group = make_member(settings)
    try:
        producer.send_offsets_to_transaction(
            [TopicPartition(topics.telemetry, number, end) for number, end in ends.items()],
            group.consumer_group_metadata(),
            _TIMEOUT,
        )
    finally:
        group.close()


def _check_taken(topics: TopicSettings, failed: Sequence[str]) -> None:
    if failed:
        raise StreamError(
            f"{topics.state} does not take the memory ({failed[0]}): let the account write it and "
            "the topic take records of that size, then run it again; nothing is lost"
        )
