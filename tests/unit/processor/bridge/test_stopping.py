import asyncio
import contextlib

from processor.bridge.bridge import Bridge
from processor.bridge.heartbeat import Pulse
from processor.clock import SystemClock
from processor.metrics import BridgeMetrics
from processor.settings import load


class DeafSource:
    """A source whose publish hears no cancellation, as `asyncio.wait_for` of Python 3.11 can behave."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.publishing = asyncio.Event()
        self._closed = asyncio.Event()

    async def run(self, on_batch: object) -> None:
        del on_batch
        await self._closed.wait()

    async def publish(self, topic: str, payload: bytes) -> bool:
        del topic, payload
        self.publishing.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return True

    def ack(self, tokens: object) -> None:
        del tokens

    def stop_intake(self) -> None:
        pass

    async def close(self) -> None:
        self._closed.set()


def test_a_heartbeat_that_hears_no_cancellation_does_not_hold_the_stop() -> None:
    async def story() -> None:
        source, clock = DeafSource(), SystemClock()
        settings = load(
            None, {"PROCESSOR_KAFKA__BOOTSTRAP": "127.0.0.1:1", "PROCESSOR_BRIDGE__FLUSH_TIMEOUT": "0.1"}
        )
        pulse = Pulse("bridge", 0, 1)
        bridge = Bridge(settings, source, partitions=1, pulse=pulse, metrics=BridgeMetrics(), clock=clock)
        running = asyncio.create_task(bridge.run())
        await source.publishing.wait()
        bridge.stop()
        done, _ = await asyncio.wait({running}, timeout=20)
        assert done == {running}

    asyncio.run(story())
