"""The fast source against a broker that misbehaves on purpose: a server on a socket."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence

import mqtt5
import pytest

from processor.bridge.codec_source import CodecSource
from processor.bridge.source import Delivery
from processor.errors import StreamError
from processor.metrics import BridgeMetrics
from processor.settings import MqttSettings

Script = Callable[["Peer"], Awaitable[None]]
pytestmark = pytest.mark.timeout(30)


class Peer:
    """The broker's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self) -> mqtt5.Packet:
        data = await self.reader.readexactly(2)
        if data[1] & 0x80:
            data += await self.reader.readexactly(1)
        length = data[1] & 0x7F | (data[2] << 7 if len(data) == 3 else 0)
        packet, _ = mqtt5.read(memoryview(data + await self.reader.readexactly(length)))
        return packet

    async def greet(self) -> None:
        """Let it in and grant what it asks for."""
        assert isinstance(await self.read(), mqtt5.ConnectPacket)
        self.writer.write(mqtt5.ConnAckPacket(session_present=True).write())
        packet = await self.read()
        assert isinstance(packet, mqtt5.SubscribePacket)
        granted = [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * len(packet.topic_filters)
        self.writer.write(mqtt5.SubAckPacket(packet.packet_id, granted).write())

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: RST
        self.writer.transport.abort()


def message(packet_id: int, size: int = 10) -> bytes:
    return mqtt5.PublishPacket(
        "assets/02iAB00000CdEfGYAV/telemetry", b"x" * size, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id
    ).write()


class Stage:
    """A source connected to scripts, one a connection; the last one serves every further one."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.connections = 0
        self.heard: list[Delivery] = []
        self.metrics = BridgeMetrics()
        self.source: CodecSource | None = None

    async def play(self, done: Callable[["Stage"], bool], **settings: object) -> CodecSource:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        mqtt = MqttSettings(port=port, connect_timeout=1.0, **settings)  # type: ignore[arg-type] # a test's own
        source = self.source = CodecSource(mqtt, self.metrics)
        running = asyncio.create_task(source.run(self._take))
        try:
            async with asyncio.timeout(20):
                while not done(self):
                    assert not running.done() or running.result() is None
                    await asyncio.sleep(0.01)
        finally:
            await source.close()
            await asyncio.wait({running}, timeout=5)
            server.close()
        return source

    def _take(self, batch: Sequence[Delivery]) -> None:
        self.heard += batch

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        try:
            await script(Peer(reader, writer))
            await reader.read()
        except (OSError, EOFError):
            return
        finally:
            writer.close()


async def _good(peer: Peer) -> None:
    await peer.greet()
    peer.writer.write(message(1))


def test_packets_that_arrive_byte_by_byte_are_read_whole() -> None:
    async def drip(peer: Peer) -> None:
        await peer.greet()
        for byte in message(1, 300) + message(2):
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)

    stage = Stage(drip)
    asyncio.run(stage.play(lambda stage: len(stage.heard) == 2))
    assert [len(delivery.payload) for delivery in stage.heard] == [300, 10]
    assert [delivery.token and delivery.token.packet_id for delivery in stage.heard] == [1, 2]


@pytest.mark.parametrize(
    "fault",
    [
        b"\xff\xff\xff\xff\xff\xff",
        mqtt5.ConnectPacket("me").write(),
        mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN).write(),
    ],
    ids=["garbage", "a client's packet", "shutdown"],
)
def test_what_no_broker_sends_ends_the_connection_and_the_next_one_serves(fault: bytes) -> None:
    async def bad(peer: Peer) -> None:
        await peer.greet()
        peer.writer.write(fault)
        if fault[0] == 0xE0:
            peer.writer.close()

    stage = Stage(bad, _good)
    asyncio.run(stage.play(lambda stage: len(stage.heard) == 1))
    assert stage.connections == 2


def test_the_broker_is_told_how_large_a_packet_may_be() -> None:
    told = []

    async def listen(peer: Peer) -> None:
        packet = await peer.read()
        assert isinstance(packet, mqtt5.ConnectPacket)
        told.append(packet.max_packet_size)

    asyncio.run(Stage(listen).play(lambda _: bool(told)))
    assert told[0] == 32 * 1024 * 1024


def test_a_reset_connection_is_made_again() -> None:
    async def reset(peer: Peer) -> None:
        await peer.greet()
        await asyncio.sleep(0.05)
        peer.reset()

    stage = Stage(reset, _good)
    asyncio.run(stage.play(lambda stage: len(stage.heard) == 1))


def test_a_broker_that_never_answers_is_left_after_the_timeout() -> None:
    async def silent(peer: Peer) -> None:
        await peer.read()

    stage = Stage(silent, _good)
    asyncio.run(stage.play(lambda stage: len(stage.heard) == 1))
    assert stage.connections == 2


def test_a_link_that_went_dead_is_noticed_by_the_keepalive() -> None:
    async def dead(peer: Peer) -> None:
        await peer.greet()

    stage = Stage(dead, _good)
    asyncio.run(stage.play(lambda stage: len(stage.heard) == 1, keepalive=1))
    assert stage.connections == 2


def test_a_broker_that_overruns_its_window_is_not_read_until_acknowledged() -> None:
    async def flood(peer: Peer) -> None:
        await peer.greet()
        for packet_id in range(1, 60_000):
            peer.writer.write(message(packet_id, 1000))
            await peer.writer.drain()

    stage = Stage(flood)

    async def watch() -> int:
        held = 0

        def settled(stage: Stage) -> bool:
            nonlocal held
            before, held = held, len(stage.heard)
            return held >= 50 and before == held

        await stage.play(settled, receive_maximum=50)
        return held

    # One read's worth above the bound at most: asyncio reads 256 KiB at once.
    assert 50 <= asyncio.run(watch()) < 50 + 300


def test_the_last_acknowledgements_reach_a_broker_whose_messages_were_not_read() -> None:
    heard: list[mqtt5.Packet] = []

    async def flood(peer: Peer) -> None:
        await peer.greet()
        for packet_id in range(1, 60_000):
            peer.writer.write(message(packet_id, 1000))
        # Busy for a moment: what the source says last waits unread.
        await asyncio.sleep(0.3)
        while not heard or not isinstance(heard[-1], mqtt5.DisconnectPacket):
            heard.append(await peer.read())

    stage = Stage(flood)

    def acknowledged(stage: Stage) -> bool:
        if len(stage.heard) < 50:
            return False
        assert stage.source is not None
        stage.source.ack([delivery.token for delivery in stage.heard[:3] if delivery.token is not None])
        return True

    asyncio.run(stage.play(acknowledged, receive_maximum=50))
    assert [packet.packet_id for packet in heard if isinstance(packet, mqtt5.PubAckPacket)] == [1, 2, 3]
    assert isinstance(heard[-1], mqtt5.DisconnectPacket)


def test_a_refused_subscription_ends_the_source_and_names_the_filters() -> None:
    async def refuse(peer: Peer) -> None:
        await peer.read()
        peer.writer.write(mqtt5.ConnAckPacket().write())
        packet = await peer.read()
        assert isinstance(packet, mqtt5.SubscribePacket)
        codes = [mqtt5.SubAckReasonCode.NOT_AUTHORIZED] * len(packet.topic_filters)
        peer.writer.write(mqtt5.SubAckPacket(packet.packet_id, codes).write())

    with pytest.raises(StreamError, match=r"NOT_AUTHORIZED.*assets/\+/telemetry/#"):
        asyncio.run(Stage(refuse).play(lambda _: False))


def test_acknowledgements_of_an_older_connection_are_dropped_and_counted() -> None:
    stage = Stage(_good)

    async def run() -> None:
        source = await stage.play(lambda stage: len(stage.heard) == 1)
        token = stage.heard[0].token
        assert token is not None
        source.ack([token, token])

    asyncio.run(run())
    assert stage.metrics.registry.get_sample_value("processor_bridge_stale_acks_total") == 2
