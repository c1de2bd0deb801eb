"""A source on aiomqtt 2.5.1 over paho-mqtt 2.2.0, MQTT 5 and 3.1.1; their private names are in this file.

aiomqtt has no public way to acknowledge by hand, to see whether the broker kept the session, or to read the
reason of a DISCONNECT; paho has the calls, behind aiomqtt's ``_client``. `check_names` finds out at start
whether an upgrade has moved them.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Sequence
from typing import Any

import aiomqtt
import paho.mqtt.client
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from processor.bridge.heartbeat import taken_over
from processor.bridge.reconnect import REFUSALS, SESSION_TAKEN_OVER, keep_connected
from processor.bridge.source import LARGEST_PACKET, Delivery, OnBatch, Token
from processor.errors import StreamError
from processor.metrics import BridgeMetrics
from processor.settings import MqttSettings
from processor.settings.trust import make_context

_LOG = logging.getLogger(__name__)


def check_names() -> None:
    """Find the names that this file leans on.

    Raises:
        StreamError: an upgrade of aiomqtt or paho-mqtt has moved one.
    """
    wanted = [
        (PahoClient, ("ack", "manual_ack_set", "on_connect", "on_message", "on_disconnect")),
        (MQTTMessage, ("topic",)),
        (ConnectFlags, ("session_present",)),
        (aiomqtt.Client, ("_on_connect", "_on_disconnect")),
    ]
    missing = [
        f"{kind.__name__}.{name}" for kind, names in wanted for name in names if not hasattr(kind, name)
    ]
    code = aiomqtt.Client.__init__.__code__
    missing += [
        f"aiomqtt.Client.{name}" for name in ("_client", "_disconnected") if name not in code.co_names
    ]
    if missing:
        raise StreamError(f"install aiomqtt 2.5.1 and paho-mqtt 2.2.0: {', '.join(missing)} moved")


class AiomqttSource:
    """See `processor.bridge.source.Source`.

    Args:
        mqtt: the broker and the session.
        metrics: what is counted.
        jitter: draws from 0 to 1, to spread reconnects.
    """

    def __init__(
        self, mqtt: MqttSettings, metrics: BridgeMetrics, *, jitter: random.Random | None = None
    ) -> None:
        check_names()
        self._mqtt = mqtt
        self._newest = mqtt.version == "5"
        self._metrics = metrics
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._loop = asyncio.get_running_loop()
        self._on_batch: OnBatch | None = None
        self._client: aiomqtt.Client | None = None
        self._connected = False
        self._epoch = 0
        self._batch: list[Delivery] = []
        self._intake = True
        self._closing = asyncio.Event()
        self._reason: int | None = None
        self._failed: asyncio.Future[None] = self._loop.create_future()
        #: Set once subscribed for the first time.
        self.ready = asyncio.Event()

    async def run(self, on_batch: OnBatch) -> None:
        """Connect, subscribe and hand over until `close`; see `Source.run`."""
        self._on_batch = on_batch
        where = f"{self._mqtt.host}:{self._mqtt.port}"
        await keep_connected(self._session, self._closing, where=where, jitter=self._jitter)

    def ack(self, tokens: Sequence[Token]) -> None:
        """Write the PUBACKs of this connection; see `Source.ack`."""
        client, epoch = self._client, self._epoch
        stale = 0
        for token in tokens:
            if client is None or token.epoch != epoch:
                stale += 1
            else:
                client._client.ack(token.packet_id, 1)  # noqa: SLF001 - see the module
        self._metrics.acks.inc(len(tokens) - stale)
        if stale:
            self._metrics.stale_acks.inc(stale)

    async def publish(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 1, retained; see `Source.publish`."""
        if self._client is None or not self._connected:
            return False
        try:
            await self._client.publish(topic, payload, qos=1, retain=True)
        except aiomqtt.MqttError:
            return False
        return True

    def stop_intake(self) -> None:
        """Hand over nothing more; see `Source.stop_intake`."""
        self._intake = False
        self._batch.clear()

    async def close(self) -> None:
        """Disconnect; see `Source.close`."""
        self._closing.set()

    async def _session(self) -> None:
        """One connection, from connect to its end.

        Raises:
            OSError: it could not be made, or ended badly.
            StreamError: the broker refuses us, or another client has taken our session.
        """
        try:
            await self._connection()
        except aiomqtt.MqttError as error:
            self._judge(error)
            raise ConnectionError(str(error)) from None

    async def _connection(self) -> None:
        client = self._new_client()
        self._epoch += 1
        self._batch.clear()
        self._reason = None
        self._client = client
        try:
            async with client:
                self._metrics.connects.inc()
                granted = await client.subscribe(self._filters())
                self._refuse_ungranted(granted)
                self._connected = True
                self._metrics.connected.set(1)
                self.ready.set()
                closing = asyncio.create_task(self._closing.wait())
                ended = client._disconnected  # noqa: SLF001 - see the module
                ends: set[asyncio.Future[Any]] = {closing, ended, self._failed}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                closing.cancel()
                if self._failed.done():
                    self._failed.result()
                if ended.done():
                    ended.result()
        finally:
            self._client = None
            self._connected = False
            self._metrics.connected.set(0)

    def _filters(self) -> Any:  # noqa: ANN401 - aiomqtt takes another list for each version
        mqtt = self._mqtt
        if not self._newest:
            return [(name, 1) for name in (*mqtt.filters, mqtt.heartbeat_topic)]
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        # The last heartbeat is asked for at each connect: it may be another bridge's.
        always = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
        return [*((name, options) for name in mqtt.filters), (mqtt.heartbeat_topic, always)]

    def _properties(self) -> Properties | None:
        if not self._newest:
            return None
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho left it so
        properties.SessionExpiryInterval = self._mqtt.session_expiry
        properties.ReceiveMaximum = self._mqtt.receive_maximum
        properties.MaximumPacketSize = LARGEST_PACKET
        return properties

    def _new_client(self) -> aiomqtt.Client:
        mqtt = self._mqtt
        client = aiomqtt.Client(
            mqtt.host,
            mqtt.port,
            identifier=mqtt.client_id,
            username=mqtt.username,
            password=mqtt.read_password(),
            protocol=aiomqtt.ProtocolVersion.V5 if self._newest else aiomqtt.ProtocolVersion.V311,
            # Each version knows one of the two.
            clean_start=False if self._newest else paho.mqtt.client.MQTT_CLEAN_START_FIRST_ONLY,
            clean_session=None if self._newest else False,
            properties=self._properties(),
            keepalive=mqtt.keepalive,
            timeout=mqtt.connect_timeout,
            tls_context=self._tls(),
        )
        inner = client._client  # noqa: SLF001 - see the module
        inner.manual_ack_set(True)
        epoch = self._epoch + 1

        def on_message(_paho: PahoClient, _data: object, message: MQTTMessage) -> None:
            self._receive(epoch, message)

        def on_connect(
            one: PahoClient, data: object, flags: ConnectFlags, code: ReasonCode, found: Properties | None
        ) -> None:
            if not code.is_failure and not flags.session_present:
                self._metrics.sessions_new.inc()
                _LOG.warning(
                    "the broker has no session %r: unless this is its first start, what it held is lost",
                    mqtt.client_id,
                )
            client._on_connect(one, data, flags, code, found)  # noqa: SLF001 - see the module

        def on_disconnect(
            one: PahoClient, data: object, flags: object, code: ReasonCode, found: Properties | None
        ) -> None:
            self._reason = code.value
            client._on_disconnect(one, data, flags, code, found)  # type: ignore[arg-type] # noqa: SLF001 - see the module

        inner.on_message = on_message
        inner.on_connect = on_connect
        inner.on_disconnect = on_disconnect
        return client

    def _receive(self, epoch: int, message: MQTTMessage) -> None:
        if not self._intake or epoch != self._epoch:
            return
        token = Token(epoch, message.mid) if message.qos else None
        content_type = getattr(message.properties, "ContentType", None) if message.properties else None
        if not self._batch:
            self._loop.call_soon(self._hand_over)
        self._batch.append(
            Delivery(message.topic, bytes(message.payload), content_type, token, message.retain)
        )

    def _hand_over(self) -> None:
        if self._batch and self._on_batch is not None:
            batch, self._batch = self._batch, []
            try:
                self._on_batch(batch)
            except Exception as error:  # noqa: BLE001 - a fault of ours ends the bridge: no silent stall
                if not self._failed.done():
                    self._failed.set_exception(error)

    def _refuse_ungranted(self, granted: Sequence[object]) -> None:
        refused = [code for code in granted if isinstance(code, ReasonCode) and code.is_failure]
        if refused:
            raise StreamError(
                f"the broker refuses a subscription ({refused[0]}): let the service account "
                f"{self._mqtt.username!r} read {', '.join(self._mqtt.filters)} and "
                f"{self._mqtt.heartbeat_topic}"
            )

    def _judge(self, error: aiomqtt.MqttError) -> None:
        """Raise for the ends that connecting again would only repeat."""
        if self._reason == SESSION_TAKEN_OVER:
            raise StreamError(taken_over(self._mqtt.client_id)) from None
        code = getattr(error, "rc", None)
        if isinstance(error, MqttConnectError) and getattr(code, "value", code) in REFUSALS:
            raise StreamError(
                f"the broker refuses the bridge ({error}): check mqtt.username, its password and its ACL"
            ) from None

    def _tls(self) -> ssl.SSLContext | None:
        mqtt = self._mqtt
        if not mqtt.tls:
            return None
        return make_context("mqtt", ca_file=mqtt.ca_file, cert_file=mqtt.cert_file, key_file=mqtt.key_file)
