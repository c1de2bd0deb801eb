"""The state topic: a record for each partition of the telemetry, under a key that says of how many.

A memory is of one layout: which assets are in it follows from the number of partitions. Under another number
nobody reads it by mistake, and a worker of the former layout that writes late overwrites nothing.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processor.errors import StreamError
from processor.kafka.client import LOGGER
from processor.kafka.offsets import read_span
from processor.settings import TopicSettings

#: A partition's assets are in one shard; the key has the place for more.
SHARD = 0
_TIMEOUT = 60.0
_KEY = re.compile(rb"(\d+)\.0/(\d+)")

Progress = Callable[[int, int], None]
#: Header of a memory: the id of the topic whose records it has judged.
TOPIC = "topic"


class Memo(NamedTuple):
    """A record of the state topic: its value, and the id of the telemetry topic, "" if not known."""

    value: bytes
    topic: str


#: Of one partition of the state topic: number of partitions → newest record.
Layouts = dict[int, Memo]


def encode_key(partition: int, partitions: int) -> bytes:
    """The key of a partition's record: ``partition.shard/partitions``."""
    return f"{partition}.{SHARD}/{partitions}".encode()


def read_state(
    consumer: Consumer,
    topic: str,
    partitions: Sequence[int],
    progress: Progress = lambda _done, _total: None,
) -> dict[int, Layouts]:
    """The newest value of each layout in these partitions, each read to its end; blocking.

    `progress` hears how many of how many records are read.

    Raises:
        StreamError: the topic cannot be read.
    """
    try:
        return _read(consumer, topic, partitions, progress)
    except KafkaException as error:
        raise StreamError(f"{topic} cannot be read: {error.args[0].str()}") from None


def find_layout(consumer: Consumer, topic: str, partitions: Iterable[int]) -> int | None:
    """Of how many partitions the state is, by the first of these that has any; None when none has.

    Where several layouts are met it is the largest: partitions become more, never fewer.

    Raises:
        StreamError: the topic cannot be read.
    """
    return max(find_memory(consumer, topic, partitions), default=None)


def find_memory(consumer: Consumer, topic: str, partitions: Iterable[int]) -> Layouts:
    """The memories of the first of these partitions that has any.

    Raises:
        StreamError: the topic cannot be read.
    """
    for number in partitions:
        found = read_state(consumer, topic, [number])[number]
        if found:
            return found
    return {}


def describe_renewal(topic: str) -> str:
    """What became of a topic whose id is not that of the memory any more."""
    return (
        f"{topic} was deleted and made anew: what it holds is judged from its beginning, what the former one "
        "held unjudged is lost"
    )


def describe_change(topics: TopicSettings, found: int, expected: int) -> str:
    """What to do about a state of another layout."""
    return (
        f"the state in {topics.state} is of {found} partitions, {topics.telemetry} has {expected}: assets "
        "have changed their partition and parted from their memory; stop the bridges and the workers, then "
        "run `processor state repartition --config FILE`"
    )


def _read(
    consumer: Consumer, topic: str, partitions: Sequence[int], progress: Progress
) -> dict[int, Layouts]:
    spans = {number: read_span(consumer, TopicPartition(topic, number)) for number in partitions}
    total = sum(end - first for first, end in spans.values())
    done = dict.fromkeys(partitions, 0)
    progress(0, total)
    newest: dict[int, Layouts] = {number: {} for number in partitions}
    strange: dict[int, dict[bytes, None]] = {number: {} for number in partitions}
    left = {number for number, (first, end) in spans.items() if first < end}
    deadline = time.monotonic() + _TIMEOUT
    consumer.assign([TopicPartition(topic, number, 0) for number in left])
    while left:
        for message in consumer.consume(100, timeout=0.05):
            error = message.error()
            partition = cast("int", message.partition())
            if error is None:
                deadline = time.monotonic() + _TIMEOUT
                # By offsets: compaction leaves holes, which count as read.
                done[partition] = cast("int", message.offset()) + 1 - spans[partition][0]
                key, value = message.key() or b"", message.value()
                headers = dict(cast("list[tuple[str, bytes | None]]", message.headers() or []))
                of = (headers.get(TOPIC) or b"").decode(errors="replace")
                memo = None if value is None else Memo(value, of)
                if not _note(newest[partition], partition, key, memo):
                    _note_strange(strange[partition], key, value)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its published name
                left.discard(partition)
            elif not error.retriable():
                raise StreamError(f"{topic} cannot be read: {error.str()}")
        progress(min(sum(done.values()), total), total)
        if time.monotonic() > deadline:
            raise StreamError(f"{topic} cannot be read: nothing for {_TIMEOUT:g} s")
    progress(total, total)
    for number, keys in strange.items():
        _judge_strange(f"{topic}[{number}]", keys, superseded=bool(newest[number]))
    return newest


def _note(newest: Layouts, partition: int, key: bytes, memo: Memo | None) -> bool:
    """Whether the key is one of this partition."""
    found = _KEY.fullmatch(key)
    if found is None or int(found[1]) != partition:
        return False
    if memo is None:
        newest.pop(int(found[2]), None)
    else:
        newest[int(found[2])] = memo
    return True


def _note_strange(keys: dict[bytes, None], key: bytes, value: bytes | None) -> None:
    if value is None:
        keys.pop(key, None)
    else:
        keys[key] = None


def _judge_strange(where: str, keys: Iterable[bytes], *, superseded: bool) -> None:
    """Say what lies under keys that are not read; refuse to begin without it."""
    for key in keys:
        shown = repr(key.decode(errors="backslashreplace"))
        if not superseded:
            raise StreamError(
                f"{where} holds a memory under the key {shown}, which this program does not read (its keys "
                f"are partition.{SHARD}/partitions), and no other: run the build that wrote it, or write a "
                "tombstone for that key to start the partition from its committed offset with an empty memory"
            )
        LOGGER.warning(
            "%s: what lies under the key %s is passed over: the memory is under another; write a tombstone "
            "for that key",
            where,
            shown,
        )
