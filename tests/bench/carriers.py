"""One contestant of the bridge's bench: carries a backlog from MQTT to Kafka and says what it cost.

``python -m tests.bench.carriers NAME SETTINGS COUNT`` prints CPU microseconds a message, of the whole
process from just before it connects until the broker has been told of every message.
"""

import asyncio
import functools
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import mqtt5
from confluent_kafka import Producer
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from processor.bridge.aiomqtt_source import AiomqttSource
from processor.bridge.bridge import Bridge
from processor.bridge.codec_source import CodecSource
from processor.bridge.heartbeat import Pulse
from processor.bridge.route import Router
from processor.bridge.source import Source
from processor.clock import SystemClock
from processor.kafka.client import client_config
from processor.metrics import BridgeMetrics
from processor.settings import MqttSettings, ProcessorSettings
from processor.settings.load import load

_PATIENCE = 120.0


async def _bridge(
    settings: ProcessorSettings, count: int, make: Callable[[MqttSettings, BridgeMetrics], Source]
) -> float:
    """The product's own bridge on one of its sources."""
    metrics = BridgeMetrics()
    clock = SystemClock()
    source = make(settings.mqtt, metrics)
    pulse = Pulse(settings.mqtt.client_id, int(clock.now() * 1000), 1)
    bridge = Bridge(settings, source, partitions=4, pulse=pulse, metrics=metrics, clock=clock)
    began = time.process_time()
    running = asyncio.create_task(bridge.run())
    async with asyncio.timeout(_PATIENCE):
        while (  # noqa: ASYNC110 - a counter tells nobody
            metrics.registry.get_sample_value("processor_bridge_acks_total") or 0
        ) < count:
            await asyncio.sleep(0.02)
    cost = time.process_time() - began
    bridge.stop()
    await running
    return cost


def _producer(settings: ProcessorSettings) -> Producer:
    return Producer(
        client_config(settings.kafka)
        | {
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": settings.bridge.compression,
            "linger.ms": settings.bridge.linger * 1000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )


def _paho(settings: ProcessorSettings, count: int) -> float:
    """The client paho used directly, with the same header and the same checks, acknowledging after Kafka."""
    mqtt = settings.mqtt
    producer = _producer(settings)
    router = Router(settings.topics, settings.bridge.topic_cache)
    client = Client(CallbackAPIVersion.VERSION2, mqtt.client_id, protocol=MQTTv5, manual_ack=True)
    client.username_pw_set(mqtt.username, mqtt.read_password())
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho left it so
    properties.SessionExpiryInterval = mqtt.session_expiry
    properties.ReceiveMaximum = mqtt.receive_maximum
    done = 0
    over = threading.Event()

    def report(packet_id: int, error: object, _message: object) -> None:
        nonlocal done
        assert error is None, error
        client.ack(packet_id, 1)
        done += 1

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        payload = bytes(message.payload)
        content_type = getattr(message.properties, "ContentType", None) if message.properties else None
        found = router.route(message.topic)
        assert found is not None
        assert len(payload) <= settings.bridge.max_payload
        headers = found.headers
        if content_type is not None:
            headers = [*headers, ("ct", content_type.encode())]
        producer.produce(
            found.topic,
            payload,
            found.key,
            on_delivery=functools.partial(report, message.mid),
            timestamp=int(time.time() * 1000),
            headers=headers,  # type: ignore[arg-type] # the stub knows no list of pairs
        )

    client.on_message = on_message
    began = time.process_time()
    client.connect(mqtt.host, mqtt.port, mqtt.keepalive, clean_start=False, properties=properties)
    deadline = time.monotonic() + _PATIENCE
    while done < count:
        assert time.monotonic() < deadline, f"{done} of {count} carried"
        client.loop(0.004)
        producer.poll(0)
    cost = time.process_time() - began
    over.set()
    client.disconnect()
    return cost


class _Bare(asyncio.Protocol):
    """Parse, produce, acknowledge, and nothing else: no checks, no order, no header, no reconnect."""

    def __init__(self, settings: ProcessorSettings, count: int) -> None:
        self._settings = settings
        self._count = count
        self._producer = _producer(settings)
        self._rest = b""
        self._done: list[bytes] = []
        self._carried = 0
        self.finished = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        mqtt = self._settings.mqtt
        transport.write(
            mqtt5.ConnectPacket(
                mqtt.client_id,
                username=mqtt.username,
                password=(mqtt.read_password() or "").encode(),
                session_expiry_interval=mqtt.session_expiry,
                receive_max=mqtt.receive_maximum,
            ).write()
        )
        self._poll()

    def data_received(self, data: bytes) -> None:
        view = memoryview(self._rest + data if self._rest else data)
        topic, produce, done = self._settings.topics.telemetry, self._producer.produce, self._report
        while view:
            try:
                packet, size = mqtt5.read(view)
            except IndexError:
                break
            view = view[size:]
            if isinstance(packet, mqtt5.PublishPacket):
                key = packet.topic.split("/", 2)[1]
                assert packet.packet_id is not None
                produce(topic, packet.payload, key, on_delivery=functools.partial(done, packet.packet_id))
        self._rest = bytes(view)

    def _report(self, packet_id: int, error: object, _message: object) -> None:
        assert error is None, error
        self._done.append(b"\x40\x02" + packet_id.to_bytes(2, "big"))

    def _poll(self) -> None:
        self._producer.poll(0)
        if self._done:
            self._carried += len(self._done)
            self._transport.write(b"".join(self._done))
            self._done.clear()
        if self._carried >= self._count:
            self.finished.set()
        else:
            asyncio.get_running_loop().call_later(0.004, self._poll)


async def _bare(settings: ProcessorSettings, count: int) -> float:
    began = time.process_time()
    protocol = _Bare(settings, count)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, settings.mqtt.host, settings.mqtt.port)
    async with asyncio.timeout(_PATIENCE):
        await protocol.finished.wait()
    cost = time.process_time() - began
    transport.write(mqtt5.DisconnectPacket().write())
    transport.close()
    return cost


def carry(name: str, settings: ProcessorSettings, count: int) -> float:
    """CPU seconds that a contestant takes for a backlog."""
    if name == "paho":
        return _paho(settings, count)
    if name == "bare":
        return asyncio.run(_bare(settings, count))
    return asyncio.run(_bridge(settings, count, CodecSource if name == "mqtt5" else AiomqttSource))


if __name__ == "__main__":
    total = int(sys.argv[3])
    print(carry(sys.argv[1], load(Path(sys.argv[2])), total) / total * 1e6)
