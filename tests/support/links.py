"""How a raw MQTT client reaches a broker: TCP, TLS, or MQTT over WebSocket (RFC 6455).

Every link has what the client uses of a socket: ``sendall``, ``recv``, ``settimeout``, ``close``.
"""

import base64
import os
import socket
import ssl
import struct
from enum import StrEnum
from typing import Protocol

DEADLINE = 30.0
_CONTINUE, _BINARY, _CLOSE = 0, 2, 8
_FINAL, _MASKED = 0x80, 0x80
_EXTENDED_16, _EXTENDED_64 = 126, 127


class Transport(StrEnum):
    """What a listener of the broker speaks."""

    TCP = "tcp"
    TLS = "tls"
    WEBSOCKET = "websocket"


class Link(Protocol):
    """The part of a socket that a client uses."""

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, size: int, /) -> bytes: ...

    def settimeout(self, seconds: float, /) -> None: ...

    def close(self) -> None: ...


def open_link(
    port: int,
    transport: Transport = Transport.TCP,
    *,
    certificate: tuple[str, str] | None = None,
    source: str = "",
) -> Link:
    """Connect to 127.0.0.1.

    Args:
        port: of the listener.
        transport: what it speaks.
        certificate: PEM files of a client's certificate and key, for TLS.
        source: address to come from, of 127.0.0.0/8; "" for whichever.
    """
    plain = socket.create_connection(
        ("127.0.0.1", port), timeout=DEADLINE, source_address=(source, 0) if source else None
    )
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if transport is Transport.TLS:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # A broker of a test has a certificate of its own making; what is tested is behind it.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if certificate is not None:
                context.load_cert_chain(*certificate)
            return context.wrap_socket(plain)
        if transport is Transport.WEBSOCKET:
            return WebSocket(plain)
    except BaseException:
        plain.close()
        raise
    return plain


class WebSocket:
    """A client's end, subprotocol ``mqtt``; each send is one masked frame, frames received are joined."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain = plain
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        plain.sendall(
            f"GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: mqtt\r\n"
            f"Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"the broker does not switch to WebSocket: {head.splitlines()[0]!r}")

    def sendall(self, data: bytes, /) -> None:
        mask = os.urandom(4)
        length = len(data)
        if length < _EXTENDED_16:
            size = bytes([_MASKED | length])
        elif length < 1 << 16:
            size = bytes([_MASKED | _EXTENDED_16]) + struct.pack("!H", length)
        else:
            size = bytes([_MASKED | _EXTENDED_64]) + struct.pack("!Q", length)
        stream = (mask * (length // 4 + 1))[:length]
        body = (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(length)
        self._plain.sendall(bytes([_FINAL | _BINARY]) + size + mask + body)

    def recv(self, _: int, /) -> bytes:
        while True:
            frame = self._split()
            if frame is None:
                self._more()
                continue
            opcode, body = frame
            if opcode == _CLOSE:
                return b""
            if opcode in {_CONTINUE, _BINARY} and body:
                return body

    def settimeout(self, seconds: float, /) -> None:
        self._plain.settimeout(seconds)

    def close(self) -> None:
        self._plain.close()

    def _more(self) -> None:
        data = self._plain.recv(65536)
        if not data:
            raise ConnectionResetError("the broker closed the connection")
        self._buffer += data

    def _split(self) -> tuple[int, bytes] | None:
        """The next whole frame; a server's frames are never masked (RFC 6455 §5.1)."""
        if len(self._buffer) < 2:
            return None
        length, start = self._buffer[1] & 0x7F, 2
        for marker, size in ((_EXTENDED_16, 2), (_EXTENDED_64, 8)):
            if length == marker and start == 2:
                if len(self._buffer) < 2 + size:
                    return None
                length, start = int.from_bytes(self._buffer[2 : 2 + size]), 2 + size
        if len(self._buffer) < start + length:
            return None
        opcode, body = self._buffer[0] & 15, self._buffer[start : start + length]
        self._buffer = self._buffer[start + length :]
        return opcode, body
