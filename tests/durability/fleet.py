"""The devices' side: gateways that publish at QoS 1, in order, until the broker has accepted every message.

A gateway whose connection ends makes another and sends again what was not acknowledged, oldest first, as
MQTT asks (MQTT 3.1.1, 4.4); how often each message was handed over is remembered, so that what Kafka holds
more often than that was repeated further down the road.
"""

import asyncio
import contextlib
import itertools
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator

from tests.durability.samples import Message, Sort, messages
from tests.support.mqtt import CONNECT, PUBLISH, packet, text

_WINDOW = 200
_PAUSE = 0.2
_PATIENCE = 5.0
_CONNACK, _PUBACK = 0x20, 0x40


class Gateway:
    """One connection's worth of assets.

    Args:
        port: of the broker on 127.0.0.1.
        number: names the client.
        source: what to publish.
        rate: messages a second on average, in bursts; what an outage held back follows at once.
        burst: messages that go out together.
        books: whether each message handed over is remembered.
    """

    def __init__(
        self,
        port: int,
        number: int,
        source: Iterator[Message],
        rate: float,
        burst: int,
        *,
        books: bool = True,
    ) -> None:
        self._port, self._number, self._source, self._books = port, number, source, books
        self._rate, self._burst = rate, burst
        self._pending: deque[tuple[int, Message]] = deque()
        self._packet_id = 0
        self._taken = 0
        self._started = 0.0
        self._exhausted = False
        #: Handed to the broker, by (asset, payload): more than once after a lost connection.
        self.attempts: Counter[tuple[str, bytes]] = Counter()
        #: Accepted by the broker.
        self.accepted: Counter[Sort] = Counter()
        self.reconnects = -1

    async def run(self) -> None:
        """Publish everything."""
        self._started = time.monotonic()
        while self._pending or not self._exhausted:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._session()
            await asyncio.sleep(_PAUSE)

    async def _session(self) -> None:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self._port), _PATIENCE)
        try:
            head = text("MQTT") + bytes([4, 0x02]) + struct.pack("!H", 0)
            writer.write(packet(CONNECT, 0, head + text(f"gateway-{self._number}")))
            answer = await asyncio.wait_for(reader.readexactly(4), _PATIENCE)
            if answer[0] != _CONNACK or answer[3]:
                raise ConnectionRefusedError(f"CONNACK {answer.hex()}")
            self.reconnects += 1
            for number, message in self._pending:
                self._write(writer, number, message)
            feeding = asyncio.create_task(self._feed(writer))
            listening = asyncio.create_task(self._listen(reader))
            done, _ = await asyncio.wait({feeding, listening}, return_when=asyncio.FIRST_COMPLETED)
            # With nothing more to come, listening ends with the last acknowledgement, if one is due.
            if feeding in done and not feeding.exception() and self._pending:
                await listening
            for task in (feeding, listening):
                task.cancel()
            await asyncio.gather(feeding, listening, return_exceptions=True)
        finally:
            writer.close()

    async def _feed(self, writer: asyncio.StreamWriter) -> None:
        while not self._exhausted:
            if time.monotonic() < self._started + self._taken / self._rate or len(self._pending) > _WINDOW:
                await asyncio.sleep(0.01)
                continue
            for _ in range(self._burst):
                message = next(self._source, None)
                if message is None:
                    self._exhausted = True
                    break
                self._taken += 1
                self._packet_id = self._packet_id % 65535 + 1
                self._pending.append((self._packet_id, message))
                self._write(writer, self._packet_id, message)
            await writer.drain()

    def _write(self, writer: asyncio.StreamWriter, number: int, message: Message) -> None:
        if self._books:
            self.attempts[message.asset, message.payload] += 1
        body = text(f"assets/{message.asset}/telemetry") + struct.pack("!H", number) + message.payload
        writer.write(packet(PUBLISH, 0b0010, body))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Acknowledgements come in the order of the messages (MQTT 3.1.1, 4.6)."""
        while self._pending or not self._exhausted:
            answer = await reader.readexactly(4)
            number, message = self._pending.popleft()
            if answer[0] != _PUBACK or int.from_bytes(answer[2:]) != number:
                raise AssertionError(f"acknowledged {answer.hex()}, {number} was next")
            self.accepted[message.sort] += 1


class Fleet:
    """All gateways, in a thread of their own.

    Args:
        port: of the broker.
        assets: how many.
        per_asset: messages of each that are to be judged; None: until `stop`, and no books are kept.
        rate: messages a second, all together.
        gateways: connections; each asset has its own one.
    """

    def __init__(
        self, port: int, *, assets: int, per_asset: int | None, rate: float, gateways: int = 20
    ) -> None:
        self._stopping = False

        def of(number: int) -> Iterator[Message]:
            for seq in itertools.count() if per_asset is None else range(per_asset):
                if self._stopping:
                    return
                for asset in range(number, assets, gateways):
                    yield from messages(asset, seq)

        share = rate / gateways
        self._gateways = [
            Gateway(
                port,
                number,
                of(number),
                share,
                max(1, min(25, assets // gateways)),
                books=per_asset is not None,
            )
            for number in range(gateways)
        ]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Publish the round that was begun, and return when the broker has accepted everything."""
        self._stopping = True
        self._thread.join()

    async def _run(self) -> None:
        try:
            await asyncio.gather(*(gateway.run() for gateway in self._gateways))
        except BaseException as error:
            self.failure = error
            raise

    @property
    def done(self) -> bool:
        """Whether the broker has accepted everything."""
        return not self._thread.is_alive()

    @property
    def accepted(self) -> Counter[Sort]:
        """Messages that the broker has accepted."""
        return sum((gateway.accepted for gateway in self._gateways), Counter())

    @property
    def attempts(self) -> Counter[tuple[str, bytes]]:
        """How often each message was handed over, by (asset, payload)."""
        found: Counter[tuple[str, bytes]] = Counter()
        for gateway in self._gateways:
            found.update(gateway.attempts)
        return found

    @property
    def reconnects(self) -> int:
        """Connections made after the first."""
        return sum(max(0, gateway.reconnects) for gateway in self._gateways)
