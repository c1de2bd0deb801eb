"""The dead letters: read them, and write them back to where they came from.

Writing back is at least once: a run that ends early may be run again, and the engine calls what it judged
already a duplicate, or late. Within one run no record is written twice, however many letters tell of it.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from processor.codec.identity import extend
from processor.errors import StreamError
from processor.kafka.admin import Admin, describe_absence
from processor.kafka.client import LARGE_RECORD, client_config, make_reader
from processor.kafka.offsets import read_span
from processor.kafka.producer import Outgoing
from processor.model import CONTENT_TYPE, CUT, RECEIVED, REPLAY, TAIL
from processor.settings import KafkaSettings, TopicSettings

_TIMEOUT = 15.0


class Place(NamedTuple):
    """Where a letter lies in its topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter; `timestamp` is when it was written, milliseconds since the epoch."""

    place: Place
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    def header(self, name: str) -> bytes | None:
        """A header's value; None when it has none."""
        return next((value for found, value in self.headers if found == name), None)

    def text(self, name: str) -> str:
        """A header's value for a person; "" when there is none."""
        return (self.header(name) or b"").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters: those that fit everything that is not None.

    Attributes:
        reason: one of `DeadReason`.
        asset: the asset's id, in either form.
        since: time they were written at the earliest, milliseconds since the epoch.
    """

    reason: str | None = None
    asset: str | None = None
    since: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is among them."""
        return (
            (self.reason is None or letter.text("reason") == self.reason)
            and (self.asset is None or letter.key in {self.asset.encode(), extend(self.asset).encode()})
            and (self.since is None or letter.timestamp >= self.since)
        )


@dataclass(slots=True)
class Replayed:
    """What became of letters: as which asset and topic's tail they went, and why others did not."""

    written: list[tuple[Place, str]] = field(default_factory=list)
    skipped: list[tuple[Place, str]] = field(default_factory=list)
    failed: list[tuple[Place, str]] = field(default_factory=list)


class DeadLetters:
    """The topic of dead letters; blocking calls.

    Args:
        kafka: the cluster.
        topics: the names of the topics.
    """

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings) -> None:
        self._kafka = kafka
        self._topics = topics

    def read(self, selection: Selection) -> Iterator[Letter]:
        """Letters that the topic holds now, partition by partition.

        Raises:
            StreamError: the topic cannot be read.
        """
        admin = Admin(self._kafka)
        count = admin.partitions(self._topics.dead).get(self._topics.dead)
        if count is None:
            raise StreamError(describe_absence(self._topics.dead))
        # The embedded cluster finds no offsets by time.
        since = None if admin.embedded() else selection.since
        consumer = make_reader(self._kafka)
        try:
            spans = [self._span(consumer, number, since) for number in range(count)]
            for number, (first, end) in enumerate(spans):
                for letter in self._letters(consumer, number, first, end):
                    if selection.takes(letter):
                        yield letter
        except KafkaException as error:
            raise StreamError(f"{self._topics.dead} cannot be read: {error.args[0].str()}") from None
        finally:
            consumer.close()

    def find(self, partition: int, offset: int) -> Letter:
        """The letter at a place.

        Raises:
            StreamError: there is none (any more), or the topic cannot be read.
        """
        consumer, place = make_reader(self._kafka), Place(partition, offset)
        try:
            first, end = self._span(consumer, partition, None)
            if first <= place.offset < end:
                found = next(self._letters(consumer, place.partition, place.offset, end), None)
                if found is not None and found.place == place:
                    return found
        except KafkaException as error:
            if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001 - its published name
                raise StreamError(f"{self._topics.dead} cannot be read: {error.args[0].str()}") from None
        finally:
            consumer.close()
        raise StreamError(
            f"{self._topics.dead} holds no letter {place}: `processor dlq list` names those it has"
        )

    def replay(self, letters: Iterable[Letter], *, dry_run: bool) -> Replayed:
        """Write records back as they came, each once, marked with the letter they come from.

        Raises:
            StreamError: Kafka does not answer.
        """
        replayed = Replayed()
        met: set[bytes | Place] = set()
        producer = self._producer()
        for letter in letters:
            record = self._restore(letter)
            origin = letter.header("origin") or b""
            # A record of Kafka's has one origin, whatever it died of; others name only the topic.
            name = origin if origin.startswith(b"kafka:") and b"/" in origin else letter.place
            if isinstance(record, str):
                replayed.skipped.append((letter.place, record))
            elif name in met:
                replayed.skipped.append((letter.place, "the same record as a letter before it"))
            else:
                met.add(name)
                if dry_run:
                    replayed.written.append((letter.place, _describe(record)))
                else:
                    self._post(producer, letter.place, record, replayed)
        if producer.flush(_TIMEOUT):
            raise StreamError(
                f"Kafka at {self._kafka.bootstrap} took {len(replayed.written)} records and not the rest "
                f"within {_TIMEOUT:g} s: run it again; what is written twice is a duplicate to the worker"
            )
        return replayed

    def _restore(self, letter: Letter) -> Outgoing | str:
        """The record as it lay in the telemetry topic, or why it cannot go back there."""
        origin = letter.text("origin")
        tail = letter.header(TAIL)
        if letter.value is None:
            return "it has no payload"
        if letter.header(CUT) is not None:
            return "it has only the beginning of its payload"
        if letter.key is None:
            return "it has no asset id"
        if tail is None and origin.startswith("mqtt:assets/"):
            tail = "/".join(origin.split("/")[2:]).encode()
        elif origin != f"kafka:{self._topics.telemetry}" and not origin.startswith(
            (f"kafka:{self._topics.telemetry}/", "mqtt:assets/")
        ):
            return "it was no telemetry"
        if not tail:
            return "its topic is not known"
        mark = f"{self._topics.dead}/{letter.place}".encode()
        headers = [(TAIL, tail)]
        content_type = letter.header(CONTENT_TYPE)
        if content_type is not None:
            headers.append((CONTENT_TYPE, content_type))
        received = letter.text(RECEIVED)
        # When it was received at first: what counts from the receipt stays what it was.
        timestamp = int(received) if received.isascii() and received.isdecimal() else letter.timestamp
        headers.append((REPLAY, mark))
        return Outgoing(
            self._topics.telemetry, letter.value, letter.key, headers, min(timestamp, letter.timestamp)
        )

    def _post(self, producer: Producer, place: Place, record: Outgoing, replayed: Replayed) -> None:
        description = _describe(record)

        def report(error: KafkaError | None, _message: Message) -> None:
            if error is None:
                replayed.written.append((place, description))
            else:
                replayed.failed.append((place, error.str()))

        while True:
            try:
                producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    on_delivery=report,
                    timestamp=record.timestamp,
                    headers=cast("Any", record.headers),
                )
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                replayed.failed.append((place, error.args[0].str()))
                return
            else:
                producer.poll(0)
                return

    def _letters(self, consumer: Consumer, number: int, first: int, end: int) -> Iterator[Letter]:
        if first >= end:
            return
        consumer.assign([TopicPartition(self._topics.dead, number, first)])
        at, deadline = first, time.monotonic() + _TIMEOUT
        while at < end:
            if time.monotonic() > deadline:
                raise StreamError(f"{self._topics.dead} cannot be read: nothing for {_TIMEOUT:g} s")
            # It returns when it has all of them, or when the time is over.
            for message in consumer.consume(500, timeout=0.05):
                deadline = time.monotonic() + _TIMEOUT
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its published name
                        return
                    if not error.retriable():
                        raise KafkaException(error)
                    continue
                place = Place(number, cast("int", message.offset()))
                at = place.offset + 1
                if place.offset < end:
                    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
                    yield Letter(place, message.timestamp()[1], message.key(), message.value(), headers)

    def _span(self, consumer: Consumer, number: int, since: int | None) -> tuple[int, int]:
        partition = TopicPartition(self._topics.dead, number)
        first, end = read_span(consumer, partition)
        if since is not None:
            partition.offset = since
            (found,) = consumer.offsets_for_times([partition], timeout=_TIMEOUT)
            first = found.offset if found.offset >= 0 else end
        return first, end

    def _producer(self) -> Producer:
        return Producer(
            client_config(self._kafka)
            | {
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "message.timeout.ms": round(_TIMEOUT * 1000),
                "message.max.bytes": LARGE_RECORD,
            }
        )


def _describe(record: Outgoing) -> str:
    tail = next(value for name, value in record.headers or [] if name == TAIL)
    return b" ".join((record.key or b"", tail)).decode("utf-8", "replace")
