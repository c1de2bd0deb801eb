"""A producer that reports a record done only when Kafka has it, and never gives one up.

Idempotent, acks=all, murmur2 like every other client of these topics, and no delivery timeout: while Kafka is
away records wait, and who feeds this producer is held back by what it has not been told is done.
librdkafka tries again by itself what a network can mend, in order. What it gives back (a right is missing,
its queue is full) waits here in the order of posting, everything later behind it, and the oldest goes alone
first: records of one key keep their order.
librdkafka reports from `poll`: a loop timer of 4 ms calls it only while something is in flight. (A callback
into the loop per record, or a future per record, costs two to five times as much CPU.)
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException, Producer

from processor.errors import StreamError
from processor.kafka.client import LARGE_RECORD, LOGGER, client_config
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
        KafkaError._INVALID_ARG,  # noqa: SLF001 - librdkafka's local error codes are published under these names
    }
)

#: Kafka finds the record invalid: mostly its time, which is our clock's and may be ahead of Kafka's own.
_INVALID = frozenset({KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP})

_CLOCK = "is this host's clock ahead? set it"

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


class _Posted(NamedTuple):
    """A record on its way; `number` is its place in the order of posting."""

    number: int
    record: Outgoing
    done: Callable[[], None]


class SafeProducer:
    """Posts records from an event loop.

    Args:
        kafka: the cluster.
        linger: seconds a record waits for others to share its batch.
        compression: of batches, by librdkafka's name.
        bury: makes the dead letter of a record that Kafka refuses for good; None: it has none, being one
            itself, and the refusal is fatal. The record's timestamp is 0 when Kafka calls the record invalid.
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
                "message.max.bytes": LARGE_RECORD,
                "queue.buffering.max.messages": 1_000_000,
                "error_cb": self._on_error,
            }
        )
        self._bury = bury
        self._patient = patient
        self._after_poll = after_poll
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self._waiting: list[_Posted] = []
        self._open = True  # records go straight to librdkafka
        self._given_back = False  # it gave some back, and what it still holds may follow
        self._retry: asyncio.TimerHandle | None = None
        #: Records that Kafka calls invalid, with their letters, by number.
        self._invalid: dict[int, tuple[Outgoing, Outgoing]] = {}
        self._alone = False  # one record is out, and nothing else until its fate is known
        # Up to this number each goes alone: of a batch nobody says which one is invalid.
        self._alone_until = 0
        #: Set when this producer can do no more: the process must end, and what is not done will come again.
        self.failed: asyncio.Future[None] = self._loop.create_future()

    def __len__(self) -> int:
        return len(self._producer) + len(self._waiting)

    def post(self, record: Outgoing, done: Callable[[], None]) -> None:
        """Write a record; `done` is called in the loop when Kafka, or its dead letters, has it."""
        number = self._number = self._number + 1
        if self._open:
            self._write(partial(self._report, number, record, done))
        else:
            self._waiting.append(_Posted(number, record, done))

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
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self.failed.done():
            self.failed.cancel()
        self._producer.purge()

    def _poll(self) -> None:
        self._producer.poll(0)
        self._after_poll()
        self._timer = self._loop.call_later(_POLL, self._poll) if len(self._producer) else None

    def _write(self, report: "partial[None]") -> None:
        """Hand a record to librdkafka; `report`, whose arguments are a `_Posted`, hears its fate."""
        topic, value, key, headers, timestamp, partition = report.args[1]
        try:
            self._producer.produce(
                topic, value, key, partition, report, timestamp=timestamp, headers=cast("Any", headers)
            )
        except BufferError:
            self._alone = False
            self._hold(_Posted(*report.args))
        except KafkaException as error:
            report(error.args[0], None)
        if self._timer is None:
            self._timer = self._loop.call_later(_POLL, self._poll)

    def _report(
        self,
        number: int,
        record: Outgoing,
        done: Callable[[], None],
        error: Any,  # noqa: ANN401 - confluent_kafka ships no types
        _message: object,
    ) -> None:
        if error is None:
            done()
        else:
            self._settle(_Posted(number, record, done), error)

    def _settle(self, posted: _Posted, error: Any) -> None:  # noqa: ANN401 - as above
        record, code = posted.record, error.code()
        if error.fatal() or code == KafkaError._FATAL:  # noqa: SLF001 - as above
            self._fail(f"the producer cannot go on ({error.str()}): restart; nothing unacknowledged is lost")
        elif code in _INVALID:
            self._alone_until = self._number
            self._take_back(posted, f"{error.str()}: {_CLOCK}; trying again one by one")
        elif code in _REFUSED:
            letter = self._bury(record, error.str())
            if letter is None:
                self._fail(
                    f"{record.topic} refuses even a dead letter of {len(record.value or b'')} bytes "
                    f"({error.str()}): raise its max.message.bytes; this producer writes {LARGE_RECORD} "
                    "at most"
                )
            else:
                self.post(letter, posted.done)
        elif code in _FORBIDDEN and not self._patient:
            self._fail(
                f"{record.topic} does not take records ({error.str()}): let the account write it, then run "
                "it again; nothing is lost"
            )
        else:
            self._take_back(posted, f"{error.str()}; trying again")

    def _settle_invalid(self, posted: _Posted, error: Any) -> None:  # noqa: ANN401 - as above
        """It went alone: try it under the time of now; still invalid, try its dead letter."""
        number, record, done = posted
        if record.timestamp:
            self._write_alone(_Posted(number, record._replace(timestamp=0), done))
            return
        if number not in self._invalid:
            letter = self._bury(record, error.str())
            if letter is None:
                self._take_back(posted, f"{error.str()}: {_CLOCK}; trying again")
                return
            self._invalid[number] = (record, letter._replace(timestamp=0))
        self._alone = True
        self._write(partial(self._report_letter, number, self._invalid[number][1], done))

    def _report_letter(
        self,
        number: int,
        letter: Outgoing,
        done: Callable[[], None],
        error: Any,  # noqa: ANN401 - as above
        message: object,
    ) -> None:
        self._alone = False
        record, _ = self._invalid[number]
        if error is not None and error.code() in _INVALID:
            # It is the time, then: the record waits for the clock.
            why = f"{error.str()}, and of its dead letter: {_CLOCK}; trying again"
            LOGGER.warning("%s: %s", record.topic, why)
            self._take_back(_Posted(number, record, done), why)  # says nothing more: the way is not open
        else:
            self._report(number, letter, done, error, message)
        self._release()

    def _take_back(self, posted: _Posted, why: str) -> None:
        """Let what librdkafka gave back wait, and with it what librdkafka has not sent yet."""
        if self._open:
            LOGGER.warning("%s: %s", posted.record.topic, why)
            self._producer.purge(in_queue=True, in_flight=False, blocking=False)
        self._given_back = True
        self._hold(posted)

    def _hold(self, posted: _Posted) -> None:
        """Let it wait, and everything that is posted later behind it."""
        self._waiting.append(posted)
        self._open = False
        if self._retry is None:
            self._retry = self._loop.call_later(_RETRY, self._again)

    def _again(self) -> None:
        """Write the oldest of those that wait, alone; all of them once it is through."""
        self._retry = None
        if self.failed.done() or not self._waiting:
            self._open = True
        elif self._alone or (self._given_back and len(self._producer)):
            # Something older may come back yet.
            self._producer.purge(in_queue=True, in_flight=False, blocking=False)
            self._retry = self._loop.call_later(_RETRY, self._again)
        else:
            self._given_back = False
            self._waiting.sort()
            self._write_alone(self._waiting.pop(0))

    def _write_alone(self, posted: _Posted) -> None:
        self._alone = True
        self._write(partial(self._report_alone, *posted))

    def _report_alone(
        self,
        number: int,
        record: Outgoing,
        done: Callable[[], None],
        error: Any,  # noqa: ANN401 - as above
        _message: object,
    ) -> None:
        self._alone = False
        if error is None:
            done()
        elif error.code() in _INVALID:
            self._settle_invalid(_Posted(number, record, done), error)
        else:
            LOGGER.warning("%s: %s; still trying", record.topic, error.str())
            self._settle(_Posted(number, record, done), error)
        self._release()

    def _release(self) -> None:
        """Write all that waits, unless something was given back again."""
        if self._retry is not None or self._alone:
            return
        if self._waiting and self._waiting[0].number <= self._alone_until:
            self._write_alone(self._waiting.pop(0))
            return
        self._invalid.clear()
        waiting, self._waiting = self._waiting, []
        self._open = True
        for place, posted in enumerate(waiting):
            self._write(partial(self._report, *posted))
            if not self._open:
                self._waiting += waiting[place + 1 :]
                break

    def _on_error(self, error: Any) -> None:  # noqa: ANN401 - as above
        if error.fatal():
            self._fail(f"the producer cannot go on ({error.str()}): restart; nothing unacknowledged is lost")
        else:
            LOGGER.warning("%s", error.str())

    def _fail(self, text: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(StreamError(text))
