"""Records of several partitions in the order of their receipt, which the partitions alone do not tell.

Within a partition the order is that of the offsets; between partitions that of the time of receipt, where a
record behind a newer one of its partition, because a clock was set back, comes right after that.
"""

import heapq
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from processor.errors import StreamError

_TIMEOUT = 60.0
#: Records of one partition that wait for those of others: more are not fetched, and again below a quarter.
_AHEAD = 10_000


class Waiting(NamedTuple):
    """A record, and the partition that it lies in; see `processor.model.Record`."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]]
    partition: int


class _Lane:
    """One partition: what is fetched of it."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.fetched: deque[Waiting] = deque()
        self.whole = self.paused = False


def read_merged(consumer: Consumer, topic: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[Waiting]:
    """The records of these spans, first and next offset by partition; blocking.

    Raises:
        StreamError: they cannot be read.
    """
    lanes = {number: _Lane(end) for number, (first, end) in spans.items() if first < end}
    consumer.assign([TopicPartition(topic, number, spans[number][0]) for number in lanes])
    heads: list[tuple[int, int]] = []
    awaited = set(lanes)
    while True:
        _fetch(consumer, topic, lanes, awaited)
        for number in awaited:
            lane = lanes[number]
            if lane.fetched:
                heapq.heappush(heads, (lane.fetched[0].timestamp, number))
        awaited.clear()
        if not heads:
            return
        _, number = heapq.heappop(heads)
        lane = lanes[number]
        yield lane.fetched.popleft()
        awaited.add(number)
        if lane.paused and len(lane.fetched) < _AHEAD // 4:
            consumer.resume([TopicPartition(topic, number)])
            lane.paused = False


def _fetch(consumer: Consumer, topic: str, lanes: Mapping[int, _Lane], awaited: set[int]) -> None:
    """Fetch until each awaited partition has a record, or is read to its end."""
    deadline = time.monotonic() + _TIMEOUT
    while not all(lanes[number].fetched or lanes[number].whole for number in awaited):
        for message in consumer.consume(1000, timeout=0.05):
            deadline = time.monotonic() + _TIMEOUT
            _take(topic, lanes, message)
        ahead = [n for n, lane in lanes.items() if len(lane.fetched) > _AHEAD and not lane.paused]
        for number in ahead:
            lanes[number].paused = True
        if ahead:
            consumer.pause([TopicPartition(topic, number) for number in ahead])
        if time.monotonic() > deadline:
            raise StreamError(f"{topic} cannot be read: nothing for {_TIMEOUT:g} s")


def _take(topic: str, lanes: Mapping[int, _Lane], message: Message) -> None:
    error, number = message.error(), cast("int", message.partition())
    lane = lanes.get(number)
    if lane is None:
        return
    if error is not None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its published name
            lane.whole = True
        elif not error.retriable():
            raise StreamError(f"{topic} cannot be read: {error.str()}")
        return
    offset = cast("int", message.offset())
    lane.whole = lane.whole or offset >= lane.end - 1
    if offset < lane.end:
        headers = cast("list[tuple[str, bytes]]", message.headers() or [])
        lane.fetched.append(
            Waiting(message.key(), message.value(), offset, message.timestamp()[1], headers, number)
        )
