"""The few MQTT 5 packets a device sends, as bytes: for clients without a library, and for tests of a broker.

References are to MQTT Version 5.0, OASIS Standard. Nothing here keeps state or does I/O.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from authplugin.client.login import Will

CONNECT, CONNACK, PUBLISH, PUBACK, DISCONNECT, AUTH = 1, 2, 3, 4, 14, 15
"""Packet types (§2.1.2)."""

SUCCESS, CONTINUE, REAUTHENTICATE, NOT_AUTHORIZED = 0x00, 0x18, 0x19, 0x87
"""Reason codes (§2.4); the first three are those of AUTH (§3.15.2.1)."""

_METHOD, _DATA = 0x15, 0x16
_LEVEL = 5
_CLEAN_START = 0x02


@dataclass(frozen=True, slots=True)
class Packet:
    """A whole packet as received: its type, the flags of its first byte, and what follows the length."""

    kind: int
    flags: int
    body: bytes

    @property
    def reason(self) -> int:
        """The reason code of a CONNACK, PUBACK, DISCONNECT or AUTH; absent means success (§3.4.2.1)."""
        position = {CONNACK: 1, PUBACK: 2}.get(self.kind, 0)
        return self.body[position] if len(self.body) > position else SUCCESS


def write_connect(
    client_id: str,
    *,
    username: str | None = None,
    password: bytes | None = None,
    will: Will | None = None,
    method: str | None = None,
    data: bytes | None = None,
    keepalive: int = 60,
) -> bytes:
    """CONNECT with a clean start (§3.1).

    Args:
        client_id: asset id, or asset id, ``:`` and a suffix.
        username: None for none.
        password: the token, unless it goes into ``data``.
        will: None for none.
        method: authentication method, ``ace`` for proof of possession.
        data: authentication data, with ``method`` only.
        keepalive: seconds.
    """
    flags = _CLEAN_START
    payload = _text(client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        payload += b"\0" + _text(will.topic) + _binary(will.payload)
    if username is not None:
        flags |= 0x80
        payload += _text(username)
    if password is not None:
        flags |= 0x40
        payload += _binary(password)
    head = _text("MQTT") + struct.pack("!BBH", _LEVEL, flags, keepalive)
    return _packet(CONNECT, 0, head + _properties(method, data) + payload)


def write_auth(reason: int, method: str, data: bytes) -> bytes:
    """AUTH (§3.15): ``CONTINUE`` answers a challenge, ``REAUTHENTICATE`` brings the next token."""
    return _packet(AUTH, 0, bytes([reason]) + _properties(method, data))


def write_publish(topic: str, payload: bytes, packet_id: int) -> bytes:
    """PUBLISH with QoS 1 (§3.3)."""
    return _packet(PUBLISH, 0x02, _text(topic) + struct.pack("!H", packet_id) + b"\0" + payload)


def write_disconnect() -> bytes:
    """DISCONNECT that discards the will (§3.14)."""
    return _packet(DISCONNECT, 0, b"")


def split_packet(buffer: bytes) -> tuple[Packet, bytes] | None:
    """The first packet in ``buffer`` and what follows it; None while it is incomplete.

    Raises:
        ValueError: the length is none (§1.5.5).
    """
    length = 0
    for position in range(1, 5):
        if len(buffer) <= position:
            return None
        length |= (buffer[position] & 0x7F) << 7 * (position - 1)
        if not buffer[position] & 0x80:
            end = position + 1 + length
            if len(buffer) < end:
                return None
            packet = Packet(buffer[0] >> 4, buffer[0] & 0x0F, buffer[position + 1 : end])
            return packet, buffer[end:]
    raise ValueError("the packet's length has more than four bytes")


def _properties(method: str | None, data: bytes | None) -> bytes:
    """Properties with their length; those of authentication only (§2.2.2)."""
    written: Iterable[bytes] = (
        bytes([_METHOD]) + _text(method) if method is not None else b"",
        bytes([_DATA]) + _binary(data) if data is not None else b"",
    )
    properties = b"".join(written)
    return _length(len(properties)) + properties


def _packet(kind: int, flags: int, body: bytes) -> bytes:
    return bytes([kind << 4 | flags]) + _length(len(body)) + body


def _length(value: int) -> bytes:
    """A variable byte integer (§1.5.5)."""
    digits = bytearray()
    while True:
        value, digit = divmod(value, 128)
        digits.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(digits)


def _text(value: str) -> bytes:
    return _binary(value.encode())


def _binary(value: bytes) -> bytes:
    """Two bytes of length, then the bytes (§1.5.6)."""
    return struct.pack("!H", len(value)) + value
