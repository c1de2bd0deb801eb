"""A small MQTT client over a raw link, for what real clients are too polite to send.

3.1 (level 3), 3.1.1 (4) and 5, over TCP, TLS and WebSocket. Everything blocks, with a deadline.
`Client.connect` returns what the broker said; nothing is retried and nothing is answered by itself.
"""

import contextlib
import struct
import time
from types import TracebackType
from typing import NamedTuple, Self

from tests.support.links import DEADLINE, Transport, open_link

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK = 8, 9
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = 10, 11, 12, 13, 14, 15

NOBODY_SUBSCRIBED = 0x10
FAILED = 0x80
CONTINUE_AUTHENTICATION, RE_AUTHENTICATE = 0x18, 0x19
_METHOD, _DATA = 0x15, 0x16


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
    #: Seconds after the end of the connection at which it is sent (5).
    delay: int = 0


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


def _exchange(method: str, data: bytes) -> bytes:
    """The properties of an exchange, after their length, which is below 16384 bytes."""
    properties = bytes([_METHOD]) + text(method) + bytes([_DATA]) + text(data)
    low, high = len(properties) % 128, len(properties) // 128
    return (bytes([low | 0x80, high]) if high else bytes([low])) + properties


def authentication_data(body: bytes) -> bytes:
    """The Authentication Data in an AUTH packet (5), empty when it has none."""
    start = 1 + (2 if body[1] & 0x80 else 1)
    rest = body[start:]
    while rest:
        length = int.from_bytes(rest[1:3])
        if rest[0] == _DATA:
            return rest[3 : 3 + length]
        rest = rest[3 + length :]
    return b""


class Client:
    """One connection.

    Args:
        port: of the broker on 127.0.0.1.
        version: 3, 4 or 5.
        transport: what that port speaks.
        certificate: PEM files of a client's certificate and key, for TLS.
        source: address to come from, of 127.0.0.0/8; "" for whichever.
    """

    def __init__(
        self,
        port: int,
        *,
        version: int = 4,
        transport: Transport = Transport.TCP,
        certificate: tuple[str, str] | None = None,
        source: str = "",
    ) -> None:
        self.version = version
        self._socket = open_link(port, transport, certificate=certificate, source=source)
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
        bridge: bool = False,
    ) -> int:
        """CONNECT; the CONNACK's return code (3.x) or reason code (5): 0 is yes.

        Args:
            client_id: the client id.
            username: None to send none.
            password: None to send none.
            will: sent by the broker when the connection ends without DISCONNECT.
            clean: clean session (3.x), clean start (5).
            keepalive: seconds.
            expiry: seconds for which the session is kept (5).
            bridge: say that this is another broker, as Mosquitto's bridges do.

        Raises:
            Closed: the broker closed without a CONNACK.
        """
        flags = (0x02 if clean else 0) | (0x80 if username is not None else 0)
        flags |= 0x40 if password is not None else 0
        body = text(client_id)
        if will is not None:
            flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
            delay = b"\x05\x18" + struct.pack("!I", will.delay) if will.delay else b"\0"
            body += (delay if self.version == 5 else b"") + text(will.topic) + text(will.payload)
        body += text(username) if username is not None else b""
        body += text(password) if password is not None else b""
        name = "MQIsdp" if self.version == 3 else "MQTT"
        head = (
            text(name) + bytes([self.version | (0x80 if bridge else 0), flags]) + struct.pack("!H", keepalive)
        )
        if self.version == 5:
            head += b"\x05\x11" + struct.pack("!I", expiry) if expiry else b"\0"
        self.send(packet(CONNECT, 0, head + body))
        return self.receive().body[1]

    def begin(self, client_id: str, method: str, data: bytes, *, keepalive: int = 60) -> Packet:
        """CONNECT with an authentication method (5); the AUTH or CONNACK that answers it."""
        head = text("MQTT") + bytes([5, 0x02]) + struct.pack("!H", keepalive)
        self.send(packet(CONNECT, 0, head + _exchange(method, data) + text(client_id)))
        return self.receive()

    def authenticate(self, reason: int, method: str, data: bytes) -> Packet:
        """AUTH (5) with a reason code; the AUTH, CONNACK or DISCONNECT that answers it."""
        self.send(packet(AUTH, 0, bytes([reason]) + _exchange(method, data)))
        return self.receive()

    def publish(
        self,
        topic: str | bytes,
        payload: bytes = b"{}",
        *,
        qos: int = 1,
        retain: bool = False,
        alias: int | None = None,
    ) -> int | None:
        """PUBLISH; the reason code of its PUBACK or PUBREC (0 below version 5), None at QoS 0.

        "No matching subscribers" (0x10) is a yes, and 0 here. A QoS 2 publish goes to its PUBCOMP.

        Args:
            topic: the topic, empty when ``alias`` names it.
            payload: the message.
            qos: 0, 1 or 2.
            retain: whether it is retained.
            alias: topic alias (5).
        """
        self._packet_id += 1
        packet_id = struct.pack("!H", self._packet_id)
        body = text(topic) + (packet_id if qos else b"")
        if self.version == 5:
            body += b"\0" if alias is None else b"\x03\x23" + struct.pack("!H", alias)
        self.send(packet(PUBLISH, qos << 1 | (1 if retain else 0), body + payload))
        if not qos:
            return None
        answer = self.expect(PUBACK if qos == 1 else PUBREC).body
        code = answer[2] if len(answer) > 2 else 0
        if qos == 2 and code < FAILED:
            self.send(packet(PUBREL, 2, packet_id))
            self.expect(PUBCOMP)
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
        if qos := got.flags >> 1 & 3:
            self.send(packet(PUBACK if qos == 1 else PUBREC, 0, rest[:2]))
            if qos == 2:
                self.expect(PUBREL)
                self.send(packet(PUBCOMP, 0, rest[:2]))
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
