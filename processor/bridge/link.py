"""One MQTT 5 connection on the codec ``mqtt5``: bytes to packets, and what a client owes the broker.

The codec is sans-I/O and strict; this adds the socket: a buffer for what is not whole yet, keep-alive
(MQTT 5, 3.1.2.10), packet ids of our own, and a pause of reading when too much is unacknowledged.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import mqtt5

from processor.bridge.source import Delivery, Token

_PINGREQ = mqtt5.PingReqPacket().write()
#: PUBACK of a good delivery: type 4, two bytes, the packet id (MQTT 5, 3.4.2.1: success needs no reason).
_PUBACK = b"\x40\x02"
_LAST_PACKET_ID = 65535
#: Makes a named tuple at half the cost of calling its class.
_new = tuple.__new__


class Link(asyncio.Protocol):
    """A connection, from connect to its end.

    Args:
        epoch: names the connection in tokens.
        most: deliveries that may be unacknowledged before reading pauses: a broker that counts its own
            window wrongly (Mosquitto before 2.0.13) must not fill our memory.
        on_batch: takes what one read brought.

    Attributes:
        connack: the broker's answer to CONNECT.
        ended: done when the connection is over, with the exception that ended it, if one did.
        reason: of the broker's DISCONNECT, None when it sent none.
    """

    def __init__(self, epoch: int, most: int, on_batch: Callable[["Link", Sequence[Delivery]], None]) -> None:
        loop = asyncio.get_running_loop()
        self.epoch = epoch
        self.connack: asyncio.Future[mqtt5.ConnAckPacket] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.reason: int | None = None
        self._loop = loop
        self._most = most
        self._on_batch = on_batch
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self._need = 0
        self._unacknowledged = 0
        self._paused = False
        self._deaf = False
        self._gone: asyncio.Future[None] = loop.create_future()
        self._packet_id = 0
        self._waiting: dict[int, asyncio.Future[mqtt5.SubAckPacket | mqtt5.PubAckPacket]] = {}
        self._heard = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; the source writes CONNECT."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what asyncio gives a stream protocol
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and let nobody wait for what will not come."""
        self._transport = None
        self._gone.set_result(None)
        gone = exc or ConnectionResetError("the broker closed the connection")
        everyone: list[asyncio.Future[Any]] = [self.connack, *self._waiting.values()]
        for waiting in everyone:
            if not waiting.done():
                waiting.set_exception(gone)
                waiting.exception()  # heard: whoever waited may be gone by now
        self._waiting.clear()
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Read every whole packet, and hand the deliveries over as one batch."""
        if self._deaf:
            return
        self._heard = self._loop.time()
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data, self._rest = bytes(self._rest), bytearray()
        try:
            self._read(memoryview(data))
        except ValueError as error:
            self.abort(ConnectionError(f"the broker sent what is no MQTT 5: {error}"))

    def write(self, data: bytes) -> None:
        """Write; nothing when the connection is over."""
        if self._transport is not None:
            self._transport.write(data)

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Write one PUBACK each, in one piece."""
        self._unacknowledged -= len(packet_ids)
        self.write(b"".join([_PUBACK + packet_id.to_bytes(2, "big") for packet_id in packet_ids]))
        if self._paused and self._unacknowledged < self._most and self._transport is not None:
            self._paused = False
            self._heard = self._loop.time()
            self._transport.resume_reading()

    async def request(
        self, write: Callable[[int], bytes], patience: float
    ) -> mqtt5.SubAckPacket | mqtt5.PubAckPacket:
        """Send a packet under a fresh id and wait for its answer.

        Raises:
            OSError: the connection ended.
            TimeoutError: no answer within ``patience`` seconds.
        """
        if self._transport is None:
            raise ConnectionResetError("the connection is over")
        packet_id = self._fresh_id()
        answer: asyncio.Future[mqtt5.SubAckPacket | mqtt5.PubAckPacket] = self._loop.create_future()
        self._waiting[packet_id] = answer
        self.write(write(packet_id))
        try:
            async with asyncio.timeout(patience):
                return await answer
        finally:
            self._waiting.pop(packet_id, None)

    async def keep_alive(self, seconds: float) -> None:
        """Ping, and abort the connection when the broker is silent for half as long again."""
        while True:
            await asyncio.sleep(seconds / 2)
            if not self._paused and self._loop.time() - self._heard > seconds * 1.5:
                self.abort(ConnectionError(f"the broker was silent for {seconds * 1.5:g} s"))
                return
            self.write(_PINGREQ)

    async def disconnect(self, patience: float) -> None:
        """Send DISCONNECT and read on until the broker closes, ``patience`` seconds at most.

        A socket that is closed with bytes unread resets the connection, and the reset takes the last
        acknowledgements with it that the broker has not read yet.
        """
        if self._transport is None:
            return
        self._deaf = True
        self._transport.write(mqtt5.DisconnectPacket().write())
        self._transport.resume_reading()
        await asyncio.wait({self._gone}, timeout=patience)
        if self._transport is not None:
            self._transport.abort()

    def abort(self, error: Exception) -> None:
        """End at once, for a reason of ours."""
        if not self.ended.done():
            self.ended.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    def _read(self, view: memoryview) -> None:
        batch: list[Delivery] = []
        read, epoch = mqtt5.read, self.epoch
        counted = 0
        while view:
            try:
                packet, size = read(view)
            except IndexError:
                self._rest = bytearray(view)
                self._need = _whole(view)
                break
            view = view[size:]
            if isinstance(packet, mqtt5.PublishPacket):
                token, packet_id = None, packet.packet_id
                if packet_id is not None:  # QoS 1: more was not asked for, and QoS 0 has no id
                    token = _new(Token, (epoch, packet_id))
                    counted += 1
                fields = (packet.topic, packet.payload, packet.content_type, token, packet.retain)
                batch.append(_new(Delivery, fields))
            else:
                self._answer(packet)
        if batch:
            self._unacknowledged += counted
            if self._unacknowledged >= self._most and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
            self._on_batch(self, batch)

    def _answer(self, packet: mqtt5.Packet) -> None:
        if isinstance(packet, mqtt5.PubAckPacket | mqtt5.SubAckPacket):
            waiting = self._waiting.get(packet.packet_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(packet)
        elif isinstance(packet, mqtt5.ConnAckPacket):
            if not self.connack.done():
                self.connack.set_result(packet)
        elif isinstance(packet, mqtt5.DisconnectPacket):
            self.reason = int(packet.reason_code)
        elif not isinstance(packet, mqtt5.PingRespPacket):
            self.abort(ConnectionError(f"the broker sent {type(packet).__name__}, which nobody asked for"))

    def _fresh_id(self) -> int:
        for _ in range(_LAST_PACKET_ID):
            self._packet_id = self._packet_id % _LAST_PACKET_ID + 1
            if self._packet_id not in self._waiting:
                return self._packet_id
        raise ConnectionError("every packet id waits for an answer")


def _whole(view: memoryview) -> int:
    """Bytes of the packet that ``view`` begins with; 2 when not even its length is whole (MQTT 5, 1.5.5)."""
    length, shift = 0, 0
    for byte in view[1:5]:
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a variable byte integer has no high bit
            return 1 + shift // 7 + length
    return 2
