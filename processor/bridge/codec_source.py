"""A source on the Rust codec ``mqtt5`` and one `asyncio.Protocol`: a tenth of aiomqtt's cost, MQTT 5 only."""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Any

import mqtt5

from processor.bridge.heartbeat import taken_over
from processor.bridge.link import Link
from processor.bridge.reconnect import REFUSALS, SESSION_TAKEN_OVER, keep_connected
from processor.bridge.source import LARGEST_PACKET, Delivery, OnBatch, Token
from processor.errors import StreamError
from processor.metrics import BridgeMetrics
from processor.settings import MqttSettings
from processor.settings.trust import make_context

_LOG = logging.getLogger(__name__)
_LONGEST_GOODBYE = 2.0
_FAILURE = 0x80


class CodecSource:
    """See `processor.bridge.source.Source`.

    Args:
        mqtt: the broker and the session.
        metrics: what is counted.
        jitter: draws from 0 to 1, to spread reconnects.
    """

    def __init__(
        self, mqtt: MqttSettings, metrics: BridgeMetrics, *, jitter: random.Random | None = None
    ) -> None:
        self._mqtt = mqtt
        self._metrics = metrics
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._on_batch: OnBatch | None = None
        self._link: Link | None = None
        self._connected = False
        self._epoch = 0
        self._intake = True
        self._closing = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: Set once subscribed for the first time.
        self.ready = asyncio.Event()

    async def run(self, on_batch: OnBatch) -> None:
        """Connect, subscribe and hand over until `close`; see `Source.run`."""
        self._on_batch = on_batch
        where = f"{self._mqtt.host}:{self._mqtt.port}"
        await keep_connected(self._session, self._closing, where=where, jitter=self._jitter)

    def ack(self, tokens: Sequence[Token]) -> None:
        """Write the PUBACKs of this connection in one piece; see `Source.ack`."""
        link = self._link
        epoch = self._epoch
        good = [token.packet_id for token in tokens if token.epoch == epoch] if link is not None else []
        if link is not None and good:
            link.acknowledge(good)
            self._metrics.acks.inc(len(good))
        if len(good) < len(tokens):
            self._metrics.stale_acks.inc(len(tokens) - len(good))

    async def publish(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 1, retained; see `Source.publish`."""
        if self._link is None or not self._connected:
            return False

        def packet(packet_id: int) -> bytes:
            return mqtt5.PublishPacket(
                topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, retain=True, packet_id=packet_id
            ).write()

        try:
            answer = await self._link.request(packet, self._mqtt.connect_timeout)
        except (OSError, TimeoutError):
            return False
        return isinstance(answer, mqtt5.PubAckPacket) and int(answer.reason_code) < _FAILURE

    def stop_intake(self) -> None:
        """Hand over nothing more; see `Source.stop_intake`."""
        self._intake = False

    async def close(self) -> None:
        """Disconnect; see `Source.close`."""
        self._closing.set()

    async def _session(self) -> None:
        """One connection, from connect to its end.

        Raises:
            OSError: it could not be made, or ended badly.
            TimeoutError: the broker did not answer.
            StreamError: it refuses us, or another client has taken our session.
        """
        mqtt = self._mqtt
        self._epoch += 1
        link = Link(self._epoch, mqtt.receive_maximum, self._hand_over)
        loop = asyncio.get_running_loop()
        helpers: list[asyncio.Task[Any]] = []
        try:
            async with asyncio.timeout(mqtt.connect_timeout):
                tls = None
                if mqtt.tls:
                    tls = make_context(
                        "mqtt", ca_file=mqtt.ca_file, cert_file=mqtt.cert_file, key_file=mqtt.key_file
                    )
                await loop.create_connection(lambda: link, mqtt.host, mqtt.port, ssl=tls)
                link.write(self._connect_packet())
                connack = await link.connack
            self._judge(connack)
            self._link = link
            helpers.append(asyncio.create_task(link.keep_alive(connack.server_keep_alive or mqtt.keepalive)))
            await self._subscribe(link)
            self._connected = True
            self._metrics.connects.inc()
            self._metrics.connected.set(1)
            self.ready.set()
            helpers.append(asyncio.create_task(self._closing.wait()))
            ends: set[asyncio.Future[Any]] = {helpers[-1], link.ended, self._failed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            if link.ended.done():
                link.ended.result()
                if link.reason == SESSION_TAKEN_OVER:
                    raise StreamError(taken_over(mqtt.client_id))
                raise ConnectionResetError(
                    "the broker closed the connection"
                    if link.reason is None
                    else f"the broker closed the connection, reason 0x{link.reason:02x}"
                )
        finally:
            self._link = None
            self._connected = False
            self._metrics.connected.set(0)
            for helper in helpers:
                helper.cancel()
            await link.disconnect(_LONGEST_GOODBYE)

    def _connect_packet(self) -> bytes:
        mqtt = self._mqtt
        password = mqtt.read_password()
        return mqtt5.ConnectPacket(
            mqtt.client_id,
            username=mqtt.username,
            password=None if password is None else password.encode(),
            clean_start=False,
            keep_alive=mqtt.keepalive,
            session_expiry_interval=mqtt.session_expiry,
            receive_max=mqtt.receive_maximum,
            max_packet_size=LARGEST_PACKET,
        ).write()

    async def _subscribe(self, link: Link) -> None:
        at_least_once = mqtt5.QoS.AT_LEAST_ONCE
        filters = [
            mqtt5.TopicFilter(
                name,
                max_qos=at_least_once,
                retain_as_published=False,
                retain_handling=mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS,
            )
            for name in self._mqtt.filters
        ]
        # The last heartbeat is asked for at each connect: it may be another bridge's.
        heartbeat = self._mqtt.heartbeat_topic
        filters.append(mqtt5.TopicFilter(heartbeat, max_qos=at_least_once, retain_as_published=False))
        answer = await link.request(
            lambda packet_id: mqtt5.SubscribePacket(packet_id, filters).write(), self._mqtt.connect_timeout
        )
        codes = answer.reason_codes if isinstance(answer, mqtt5.SubAckPacket) else []
        refused = [code for code in codes if int(code) >= _FAILURE]
        if refused or len(codes) != len(filters):
            why = _name(refused[0]) if refused else "it answers for some filters only"
            raise StreamError(
                f"the broker refuses a subscription ({why}): let the service account "
                f"{self._mqtt.username!r} read {', '.join(self._mqtt.filters)} and {heartbeat}"
            )

    def _judge(self, connack: mqtt5.ConnAckPacket) -> None:
        code = int(connack.reason_code)
        if code in REFUSALS:
            raise StreamError(
                f"the broker refuses the bridge ({_name(connack.reason_code)}): check mqtt.username, "
                "its password and its ACL"
            )
        if code >= _FAILURE:
            raise ConnectionRefusedError(f"the broker answers {_name(connack.reason_code)}")
        if not connack.session_present:
            self._metrics.sessions_new.inc()
            _LOG.warning(
                "the broker has no session %r: unless this is its first start, what it held is lost",
                self._mqtt.client_id,
            )

    def _hand_over(self, link: Link, batch: Sequence[Delivery]) -> None:
        if not self._intake or link.epoch != self._epoch or self._on_batch is None:
            return
        try:
            self._on_batch(batch)
        except Exception as error:  # noqa: BLE001 - a fault of ours ends the bridge: no silent stall
            if not self._failed.done():
                self._failed.set_exception(error)


def _name(code: object) -> str:
    """A reason code's own word."""
    return repr(code).partition(".")[2].partition(":")[0]
