"""A small MQTT client over a raw socket, for what real clients are too polite to send.

3.1 (level 3), 3.1.1 (4) and 5. Everything blocks, with a deadline. `Client.connect` returns what
the broker said; nothing is retried and nothing is answered by itself.
"""

import contextlib
import socket
import struct
import time
from types import TracebackType
from typing import NamedTuple, Self

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = 10, 11, 12, 13, 14, 15

NOBODY_SUBSCRIBED = 0x10

DEADLINE = 10.0


class Closed(Exception):
    """The broker closed the connection."""


class Packet(NamedTuple):
    kind: int
    flags: int
    body: bytes


class Message(NamedTuple):
    topic: str
    payload: bytes
    retain: bool


class Will(NamedTuple):
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


def text(value: str | bytes) -> bytes:
    """A string with its two-byte length; bytes go as they are, valid or not."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(raw)) + raw


def packet(kind: int, flags: int, body: bytes) -> bytes:
    length, head = len(body), bytearray([kind << 4 | flags])
    while True:
        length, digit = divmod(length, 128)
        head.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(head) + body


class Client:
    """One connection.

    Args:
        port: of the broker on 127.0.0.1.
        version: 3, 4 or 5.
    """

    def __init__(self, port: int, *, version: int = 4) -> None:
        self.version = version
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._inbox: list[Packet] = []
        self._packet_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection without DISCONNECT: the will, if any, is due."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Closed from error

    def receive(self, deadline: float = DEADLINE) -> Packet:
        """The next packet.

        Raises:
            Closed: there will be none.
            TimeoutError: none came in time.
        """
        if self._inbox:
            return self._inbox.pop(0)
        end = time.monotonic() + deadline
        while True:
            whole = self._split()
            if whole is not None:
                return whole
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no packet came")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise TimeoutError("no packet came") from None
            except OSError:
                data = b""
            if not data:
                raise Closed
            self._buffer += data

    def _split(self) -> Packet | None:
        length, shift = 0, 0
        for position, digit in enumerate(self._buffer[1:5], start=1):
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                end = position + 1 + length
                if len(self._buffer) < end:
                    return None
                first, body = self._buffer[0], self._buffer[position + 1 : end]
                self._buffer = self._buffer[end:]
                return Packet(first >> 4, first & 15, body)
        return None

    def expect(self, kind: int, deadline: float = DEADLINE) -> Packet:
        """The next packet of a kind; messages that come before it wait for `messages`."""
        end = time.monotonic() + deadline
        aside: list[Packet] = []
        try:
            while True:
                got = self.receive(max(0.01, end - time.monotonic()))
                if got.kind == kind:
                    return got
                aside.append(got)
        finally:
            self._inbox = aside + self._inbox

    def connect(
        self,
        client_id: str | bytes,
        username: str | bytes | None = None,
        password: str | bytes | None = None,
        *,
        will: Will | None = None,
        clean: bool = True,
        keepalive: int = 60,
        expiry: int = 0,
    ) -> int:
        """CONNECT; the CONNACK's return code (3.x) or reason code (5): 0 is yes.

        Raises:
            Closed: the broker closed without a CONNACK.
        """
        flags = (0x02 if clean else 0) | (0x80 if username is not None else 0)
        flags |= 0x40 if password is not None else 0
        body = text(client_id)
        if will is not None:
            flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
            body += (b"\0" if self.version == 5 else b"") + text(will.topic) + text(will.payload)
        body += text(username) if username is not None else b""
        body += text(password) if password is not None else b""
        name = "MQIsdp" if self.version == 3 else "MQTT"
        head = text(name) + bytes([self.version, flags]) + struct.pack("!H", keepalive)
        if self.version == 5:
            head += b"\x05\x11" + struct.pack("!I", expiry) if expiry else b"\0"
        self.send(packet(CONNECT, 0, head + body))
        return self.receive().body[1]

    def publish(
        self, topic: str | bytes, payload: bytes = b"{}", *, qos: int = 1, retain: bool = False
    ) -> int | None:
        """PUBLISH; the PUBACK's reason code at QoS 1 (0 below version 5), None at QoS 0.

        "No matching subscribers" (0x10) is a yes, and 0 here.
        """
        self._packet_id += 1
        body = text(topic) + (struct.pack("!H", self._packet_id) if qos else b"")
        body += b"\0" if self.version == 5 else b""
        self.send(packet(PUBLISH, qos << 1 | (1 if retain else 0), body + payload))
        if not qos:
            return None
        answer = self.expect(PUBACK).body
        code = answer[2] if len(answer) > 2 else 0
        return 0 if code == NOBODY_SUBSCRIBED else code

    def subscribe(self, *filters: str, qos: int = 1) -> list[int]:
        """SUBSCRIBE; one code for each filter: 0 to 2 is granted, 0x80 and above refused."""
        self._packet_id += 1
        body = struct.pack("!H", self._packet_id) + (b"\0" if self.version == 5 else b"")
        body += b"".join(text(each) + bytes([qos]) for each in filters)
        self.send(packet(SUBSCRIBE, 2, body))
        answer = self.expect(SUBACK).body
        return list(answer[3:] if self.version == 5 else answer[2:])

    def messages(self, count: int, deadline: float = DEADLINE) -> list[Message]:
        """The next ``count`` messages, acknowledged."""
        return [self._message(self.expect(PUBLISH, deadline)) for _ in range(count)]

    def _message(self, got: Packet) -> Message:
        size = struct.unpack("!H", got.body[:2])[0]
        topic, rest = got.body[2 : 2 + size].decode(), got.body[2 + size :]
        if got.flags >> 1 & 3:
            self.send(packet(PUBACK, 0, rest[:2]))
            rest = rest[2:]
        if self.version == 5:
            rest = rest[1 + rest[0] :]
        return Message(topic, rest, bool(got.flags & 1))

    def ping(self) -> None:
        """One round trip: whatever was sent before has been dealt with."""
        self.send(packet(PINGREQ, 0, b""))
        self.expect(PINGRESP)

    def wait_closed(self, deadline: float = DEADLINE) -> int | None:
        """Wait until the broker ends the connection; the reason code of its DISCONNECT (5), if any."""
        reason = None
        end = time.monotonic() + deadline
        with contextlib.suppress(Closed):
            while True:
                got = self.receive(max(0.01, end - time.monotonic()))
                if got.kind == DISCONNECT:
                    reason = got.body[0] if got.body else 0
        return reason

    def disconnect(self) -> None:
        """DISCONNECT: no will."""
        with contextlib.suppress(Closed):
            self.send(packet(DISCONNECT, 0, b""))
        self.close()
