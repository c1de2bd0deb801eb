"""A producer that reports a record done only when Kafka has it, and never gives one up.

Idempotent, acks=all, murmur2 like every other client of these topics, and no delivery timeout: while Kafka is
away records wait, and who feeds this producer is held back by what it has not been told is done.
librdkafka reports from `poll`: a loop timer of 4 ms calls it only while something is in flight. (A callback
into the loop per record, or a future per record, costs two to five times as much CPU.)
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException, Producer

from processor.errors import StreamError
from processor.kafka.client import LOGGER, client_config
from processor.settings import KafkaSettings

_POLL = 0.004
_RETRY = 1.0
_ANSWER = 2.0
#: Kafka will never take this very record: it goes to the dead letters instead.
_REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError._INVALID_ARG,  # noqa: SLF001 - librdkafka's local error codes are published under these names
    }
)

#: The account may not write there, until somebody grants it.
_FORBIDDEN = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})

Headers = list[tuple[str, bytes]]


class Outgoing(NamedTuple):
    """A record to write; `partition` -1 lets the key choose, `timestamp` 0 is now (milliseconds)."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers | None = None
    timestamp: int = 0
    partition: int = -1


class SafeProducer:
    """Posts records from an event loop.

    Args:
        kafka: the cluster.
        linger: seconds a record waits for others to share its batch.
        compression: of batches, by librdkafka's name.
        bury: makes the dead letter of a record that Kafka refuses for good; None: it has none, being one
            itself, and the refusal is fatal.
        patient: wait for a right to write that is missing; False: it is fatal, for a command that is to end.
        after_poll: called after each round of delivery reports.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        linger: float,
        compression: str = "none",
        bury: Callable[[Outgoing, str], Outgoing | None],
        patient: bool = True,
        after_poll: Callable[[], None] = lambda: None,
    ) -> None:
        self._producer = Producer(
            client_config(kafka)
            | {
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "compression.type": compression,
                "linger.ms": linger * 1000,
                "message.timeout.ms": 0,
                "message.max.bytes": 16_777_216,
                "queue.buffering.max.messages": 1_000_000,
                "error_cb": self._on_error,
            }
        )
        self._bury = bury
        self._patient = patient
        self._after_poll = after_poll
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = 0  # records between two tries
        #: Set when this producer can do no more: the process must end, and what is not done will come again.
        self.failed: asyncio.Future[None] = self._loop.create_future()

    def __len__(self) -> int:
        return len(self._producer) + self._waiting

    def post(self, record: Outgoing, done: Callable[[], None]) -> None:
        """Write a record; `done` is called in the loop when Kafka, or its dead letters, has it."""
        topic, value, key, headers, timestamp, partition = record
        report = partial(self._report, record, done)
        try:
            self._producer.produce(
                topic, value, key, partition, report, timestamp=timestamp, headers=cast("Any", headers)
            )
        except BufferError:
            self._later(record, done)
        except KafkaException as error:
            self._settle(record, done, error.args[0])
        if self._timer is None:
            self._timer = self._loop.call_later(_POLL, self._poll)

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Write records and return when Kafka has every one.

        Raises:
            StreamError: the producer failed for good.
        """
        left = len(records)
        if not left:
            return
        all_done: asyncio.Future[None] = self._loop.create_future()

        def one_done() -> None:
            nonlocal left
            left -= 1
            if not left and not all_done.done():
                all_done.set_result(None)

        for record in records:
            self.post(record, one_done)
        await asyncio.wait({all_done, self.failed}, return_when=asyncio.FIRST_COMPLETED)
        if not all_done.done():
            self.failed.result()

    async def flush(self, timeout: float) -> bool:  # noqa: ASYNC109 - the answer tells whether it was enough
        """Wait until nothing is in flight, `timeout` seconds at most; True when nothing is."""
        deadline = self._loop.time() + timeout
        while len(self) and not self.failed.done():
            if self._loop.time() >= deadline:
                break
            await asyncio.sleep(_POLL)
        return not len(self)

    def count_partitions(self, topic: str) -> int:
        """How many partitions a topic has, 0 when that is not known; blocks for seconds at most.

        Raises:
            KafkaException: no broker answers.
        """
        return len(self._producer.list_topics(topic, timeout=_ANSWER).topics[topic].partitions)

    def close(self) -> None:
        """Stop the timer, and drop what is still in flight: it was never reported done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.failed.done():
            self.failed.cancel()
        self._producer.purge()

    def _poll(self) -> None:
        self._producer.poll(0)
        self._after_poll()
        self._timer = self._loop.call_later(_POLL, self._poll) if len(self._producer) else None

    def _report(self, record: Outgoing, done: Callable[[], None], error: Any, _message: object) -> None:  # noqa: ANN401 - confluent_kafka ships no types
        if error is None:
            done()
        else:
            self._settle(record, done, error)

    def _settle(self, record: Outgoing, done: Callable[[], None], error: Any) -> None:  # noqa: ANN401 - as above
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - as above
            self._fail(f"the producer cannot go on ({error.str()}): restart; nothing unacknowledged is lost")
        elif error.code() in _REFUSED:
            letter = self._bury(record, error.str())
            if letter is None:
                self._fail(
                    f"{record.topic} refuses even a dead letter ({error.str()}): raise its max.message.bytes"
                )
            else:
                self.post(letter, done)
        elif error.code() in _FORBIDDEN and not self._patient:
            self._fail(
                f"{record.topic} does not take records ({error.str()}): let the account write it, then run "
                "it again; nothing is lost"
            )
        else:
            LOGGER.warning("%s: %s; trying again", record.topic, error.str())
            self._later(record, done)

    def _later(self, record: Outgoing, done: Callable[[], None]) -> None:
        self._waiting += 1
        self._loop.call_later(_RETRY, self._again, record, done)

    def _again(self, record: Outgoing, done: Callable[[], None]) -> None:
        self._waiting -= 1
        if not self.failed.done():
            self.post(record, done)

    def _on_error(self, error: Any) -> None:  # noqa: ANN401 - as above
        if error.fatal():
            self._fail(f"the producer cannot go on ({error.str()}): restart; nothing unacknowledged is lost")
        else:
            LOGGER.warning("%s", error.str())

    def _fail(self, text: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(StreamError(text))
