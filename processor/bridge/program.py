"""The bridge as a program: its parts put together, signals, the ready line."""

import asyncio
import json
import logging
import secrets
import signal
import sys
from collections.abc import Callable

from processor.bridge.aiomqtt_source import AiomqttSource
from processor.bridge.bridge import Bridge
from processor.bridge.codec_source import CodecSource
from processor.bridge.heartbeat import Pulse
from processor.bridge.source import Source
from processor.clock import SystemClock
from processor.kafka.admin import Admin
from processor.metrics import BridgeMetrics, expose
from processor.ratelimit import RateLimit
from processor.settings import MqttSettings, ProcessorSettings

_SOURCES: dict[str, Callable[[MqttSettings, BridgeMetrics], Source]] = {
    "mqtt5": CodecSource,
    "aiomqtt": AiomqttSource,
}


async def main(settings: ProcessorSettings) -> int:
    """Carry until SIGTERM or SIGINT; 0 after a clean stop.

    Raises:
        StreamError: the broker or Kafka cannot be used as it stands.
    """
    handler = logging.StreamHandler(sys.stderr)
    # A refusal that comes again each second, or librdkafka's word on a broker that is away: a few of each.
    handler.addFilter(RateLimit())
    logging.basicConfig(
        level=logging.INFO, handlers=[handler], format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    admin = Admin(settings.kafka)
    await asyncio.to_thread(admin.wait)
    partitions = await asyncio.to_thread(admin.require, settings.topics)
    metrics = BridgeMetrics()
    exposition = expose(metrics.registry, settings.metrics.address, settings.metrics.bridge_port)
    try:
        source = _SOURCES[settings.mqtt.source](settings.mqtt, metrics)
        clock = SystemClock()
        pulse = Pulse(settings.mqtt.client_id, int(clock.now() * 1000), secrets.randbits(48))
        bridge = Bridge(settings, source, partitions=partitions, pulse=pulse, metrics=metrics, clock=clock)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, bridge.stop)
        said = asyncio.create_task(_say_ready(source.ready, exposition.url))
        try:
            await bridge.run()
        finally:
            said.cancel()
    finally:
        exposition.close()
    return 0


async def _say_ready(ready: asyncio.Event, url: str) -> None:
    await ready.wait()
    print(json.dumps({"ready": "bridge", "metrics": url}), flush=True)  # noqa: T201 - the ready line
