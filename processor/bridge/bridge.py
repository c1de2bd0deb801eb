"""Every message from the source to Kafka, and back to the broker only the word that Kafka has it.

Memory is bounded by the source: it delivers no more than its receive maximum ahead of our acknowledgements.
What came at QoS 0 is acknowledged by nobody: beyond a bound of its own it is dropped, and counted.
"""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from processor.bridge.heartbeat import Pulse
from processor.bridge.route import Router
from processor.bridge.source import Delivery, Source, Token
from processor.clock import Clock
from processor.errors import DeadReason
from processor.kafka.producer import Outgoing, SafeProducer
from processor.kafka.watch import watch_partitions
from processor.metrics import BridgeMetrics
from processor.model import CUT
from processor.settings import ProcessorSettings

_LOG = logging.getLogger(__name__)
_HEARTBEAT = 1.0
#: After the last acknowledgement is written, the broker needs a moment to read it before the DISCONNECT.
_LINGER = 0.05
_ORIGIN_LIMIT = 8192
#: What a message takes beside its payload, in bytes: it was some 900 in librdkafka and here.
_BESIDE = 1024
#: Bytes kept of a payload that not even a dead letter can hold.
_BEGINNING = 65_536
#: Makes a named tuple at half the cost of calling its class.
_new = tuple.__new__


class _InFlight(NamedTuple):
    """A message on its way.

    Attributes:
        token: what to acknowledge.
        since: when it came, monotonic seconds.
        missing: empty once Kafka has it: emptying a list is the cheapest call there is.
    """

    token: Token
    since: float
    missing: list[None]


class Bridge:
    """Carries one source's messages.

    Args:
        settings: all of them.
        source: the MQTT session.
        partitions: of the telemetry topic, for the heartbeat.
        pulse: this bridge's heartbeats.
        metrics: what is counted.
        clock: wall clock for record timestamps, monotonic for ages.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        source: Source,
        *,
        partitions: int,
        pulse: Pulse,
        metrics: BridgeMetrics,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._source = source
        self._partitions = partitions
        self._pulse = pulse
        self._metrics = metrics
        self._received = [metrics.received.labels(qos) for qos in ("0", "1")]
        self._clock = clock
        self._router = Router(settings.topics, settings.bridge.topic_cache)
        self._order: deque[_InFlight] = deque()
        self._loose = 0  # messages of QoS 0 that Kafka has not got yet
        self._loose_bytes = 0
        self._last_heartbeat = clock.monotonic()
        self._stopping = asyncio.Event()
        self._producer = SafeProducer(
            settings.kafka,
            linger=settings.bridge.linger,
            compression=settings.bridge.compression,
            bury=self._bury,
            after_poll=self._acknowledge,
        )
        metrics.watch(
            in_flight=lambda: len(self._order) + self._loose,
            oldest=lambda: clock.monotonic() - self._order[0].since if self._order else 0.0,
            heartbeat_age=lambda: clock.monotonic() - self._last_heartbeat,
        )

    def stop(self) -> None:
        """Ask for a clean stop: drain, acknowledge, disconnect. Safe from a signal handler of the loop."""
        self._stopping.set()

    async def run(self) -> None:
        """Carry until `stop`; what is in flight then is drained, so that nothing is carried twice.

        Raises:
            StreamError: the broker or Kafka cannot be used as it stands.
        """
        source = asyncio.create_task(self._source.run(self._on_batch))
        beat = asyncio.create_task(self._beat())
        stopping = asyncio.create_task(self._stopping.wait())
        watch = asyncio.create_task(watch_partitions(self._producer, self._settings.topics))
        try:
            ends: set[asyncio.Future[Any]] = {source, beat, watch, stopping, self._producer.failed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for ended in (source, beat, watch):
                if ended.done():
                    ended.result()
            if self._producer.failed.done():
                self._producer.failed.result()
            await self._drain()
        finally:
            # Said by a flag too: what publishes a heartbeat may swallow a cancellation on Python 3.11.
            self._stopping.set()
            for task in (beat, watch, stopping):
                task.cancel()
            await self._source.close()
            await asyncio.gather(source, beat, watch, stopping, return_exceptions=True)
            self._producer.close()

    async def _drain(self) -> None:
        self._source.stop_intake()
        if not await self._producer.flush(self._settings.bridge.flush_timeout):
            _LOG.warning(
                "Kafka did not take %d records in %g s: the broker keeps them and sends them again",
                len(self._producer),
                self._settings.bridge.flush_timeout,
            )
        self._acknowledge()
        await asyncio.sleep(_LINGER)

    def _on_batch(self, batch: Sequence[Delivery]) -> None:
        """The hot path: route, produce, remember."""
        now = int(self._clock.now() * 1000)
        since = self._clock.monotonic()
        largest = self._settings.bridge.max_payload
        route, post, order = self._router.route, self._producer.post, self._order
        unacknowledged = dropped = 0
        done: Callable[[], None] | None
        for delivery in batch:
            topic, payload, content_type, token, retained = delivery
            if token is None:
                unacknowledged += 1
                done = self._admit(topic, len(payload))
                if done is None:
                    dropped += 1
                    continue
            else:
                missing = [None]
                order.append(_new(_InFlight, (token, since, missing)))
                done = missing.clear
            found = route(topic)
            if found is not None and len(payload) <= largest:
                headers = found.headers
                if content_type is not None:
                    headers = [*headers, ("ct", content_type.encode()[:_ORIGIN_LIMIT])]
                post(_new(Outgoing, (found.topic, payload, found.key, headers, now, -1)), done)
            elif topic == self._settings.mqtt.heartbeat_topic:
                self._on_heartbeat(payload, now, done, retained=retained)
            else:
                reason = DeadReason.TOPIC_INVALID if found is None else DeadReason.OVERSIZE
                key = None if found is None else found.key
                post(self._dead_letter(topic, payload, key, reason, now), done)
        if unacknowledged:
            self._received[0].inc(unacknowledged)
            if dropped:
                self._metrics.dropped.inc(dropped)
                _LOG.warning(
                    "bridge.qos0_buffer is full, %d messages wait for Kafka: what comes at QoS 0 is dropped, "
                    "and counted in processor_bridge_dropped_total",
                    self._loose,
                )
        self._received[1].inc(len(batch) - unacknowledged)

    def _admit(self, topic: str, size: int) -> Callable[[], None] | None:
        """Make room for a message of QoS 0: what to call when Kafka has it; None when there is no room."""
        size += _BESIDE
        if (
            self._loose_bytes + size > self._settings.bridge.qos0_buffer
            and topic != self._settings.mqtt.heartbeat_topic
        ):
            return None
        self._loose += 1
        self._loose_bytes += size
        return partial(self._carried, size)

    def _carried(self, size: int) -> None:
        self._loose -= 1
        self._loose_bytes -= size
        self._metrics.produced.inc()

    def _acknowledge(self) -> None:
        """Acknowledge what Kafka has, in the order of receipt (MQTT 5, 4.6)."""
        order = self._order
        tokens = []
        while order and not order[0].missing:
            tokens.append(order.popleft().token)
        if tokens:
            self._metrics.produced.inc(len(tokens))
            self._source.ack(tokens)

    async def _beat(self) -> None:
        """Publish a heartbeat each second, through the broker to ourselves."""
        mqtt = self._settings.mqtt
        while not self._stopping.is_set():
            beat = self._pulse.beat(int(self._clock.now() * 1000))
            sent = await self._source.publish(mqtt.heartbeat_topic, beat)
            await asyncio.sleep(_HEARTBEAT if sent else _HEARTBEAT / 10)

    def _on_heartbeat(self, payload: bytes, now: int, done: Callable[[], None], *, retained: bool) -> None:
        """A heartbeat that came through the broker goes to every partition: the whole road is open.

        Another bridge's is left to it: written here, it would prove a road that it has not come.
        """
        beat = self._pulse.receive(payload, now)
        if beat is None:
            self._producer.post(
                self._dead_letter(
                    self._settings.mqtt.heartbeat_topic, payload, None, DeadReason.MALFORMED, now
                ),
                done,
            )
            return
        if retained or not self._pulse.carries(beat):
            done()  # a retained one has been carried when it was new
            return
        value = beat.record()
        self._last_heartbeat = self._clock.monotonic()
        self._metrics.heartbeats.inc()
        left = self._partitions

        def one_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for partition in range(self._partitions):
            self._producer.post(
                Outgoing(self._settings.topics.telemetry, value, None, [("hb", b"1")], now, partition),
                one_done,
            )

    def _dead_letter(
        self, topic: str, payload: bytes, key: bytes | None, reason: DeadReason, now: int
    ) -> Outgoing:
        self._metrics.dead.labels(reason.value).inc()
        headers = [
            ("reason", reason.value.encode()),
            ("detail", f"{len(payload)} bytes".encode() if reason is DeadReason.OVERSIZE else b""),
            ("origin", b"mqtt:" + topic.encode()[:_ORIGIN_LIMIT]),
        ]
        return Outgoing(self._settings.topics.dead, payload, key, headers, now)

    def _bury(self, record: Outgoing, why: str) -> Outgoing | None:
        """The dead letter of a record that Kafka refuses, or the beginning of a letter that it refuses."""
        if record.topic == self._settings.topics.dead:
            return _cut(record, why)
        # Without a time of its own it was refused for its time.
        reason = DeadReason.OVERSIZE if record.timestamp else DeadReason.CLOCK_AHEAD
        self._metrics.dead.labels(reason.value).inc()
        headers = [
            ("reason", reason.value.encode()),
            ("detail", why.encode()),
            ("origin", f"kafka:{record.topic}".encode()),
            *(record.headers or []),
        ]
        return Outgoing(self._settings.topics.dead, record.value, record.key, headers, record.timestamp)


def _cut(letter: Outgoing, why: str) -> Outgoing | None:
    """A letter with the first bytes of its payload, its size and its digest; None when it is as short."""
    value = letter.value or b""
    if len(value) <= _BEGINNING:
        return None
    digest = hashlib.sha256(value).hexdigest()
    detail = f"{why}: the first {_BEGINNING} of {len(value)} bytes, SHA-256 {digest}"
    headers = [(name, text) for name, text in letter.headers or [] if name != "detail"]
    headers += [("detail", detail.encode()), (CUT, str(len(value)).encode())]
    return letter._replace(value=value[:_BEGINNING], headers=headers)
