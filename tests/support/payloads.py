"""Payloads of every format, written by encoders of their own: nothing here is shared with the readers."""

import struct
from collections.abc import Mapping, Sequence

RECEIVED = 1_700_000_000_000
ASSET = "02iAB00000CdEfGYAV"


def varint(number: int) -> bytes:
    """A protobuf varint; negative ones sign-extended to 64 bits."""
    number &= 2**64 - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: bytes | str | float) -> bytes:
    """A field: int as varint, bytes and str by length, float as double."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def metric(
    name: str | None = None,
    *,
    alias: int | None = None,
    timestamp: int | None = None,
    datatype: int | None = None,
    null: bool = False,
    properties: Mapping[str, str] | None = None,
    **value: float | str | bytes,
) -> bytes:
    """A Sparkplug metric; the value by the name of its member: integer, single, string and so on."""
    found = b""
    if name is not None:
        found += field(1, name)
    for number, given in ((2, alias), (3, timestamp), (4, datatype)):
        if given is not None:
            found += field(number, given)
    if null:
        found += field(7, 1)
    if properties is not None:
        values = (field(1, 12) + field(8, text) for text in properties.values())
        found += field(9, b"".join([*(field(1, key) for key in properties), *(field(2, v) for v in values)]))
    for kind, held in value.items():
        if kind == "single":
            found += varint(12 << 3 | 5) + struct.pack("<f", held)
        elif kind == "boolean":
            found += field(14, int(held))
        else:
            numbers = {"integer": 10, "long": 11, "double": 13, "string": 15, "data": 16, "dataset": 17}
            found += field(numbers[kind], held)
    return found


def payload(metrics: Sequence[bytes], *, timestamp: int | None = None, seq: int | None = None) -> bytes:
    """A Sparkplug payload."""
    found = b"" if timestamp is None else field(1, timestamp)
    found += b"".join(field(2, each) for each in metrics)
    return found if seq is None else found + field(3, seq)


def cbor(value: object) -> bytes:  # noqa: PLR0911 - one return a type
    """An item in CBOR, definite lengths; floats as doubles."""
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, Mapping):
        return _head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())
    assert isinstance(value, Sequence)
    return _head(4, len(value)) + b"".join(cbor(each) for each in value)


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes([major << 5 | info]) + argument.to_bytes(size, "big")
    raise ValueError(argument)


#: SenML's labels in CBOR (RFC 8428, table 4).
LABELS = {
    "bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6,
    "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8,
}  # fmt: skip


def senml_cbor(pack: object) -> bytes:
    """A pack with numbers for labels; what is no pack is written as it is."""
    if not isinstance(pack, list):
        return cbor(pack)
    return cbor([_numbered(each) if isinstance(each, dict) else each for each in pack])


def _numbered(record: Mapping[str, object]) -> dict[object, object]:
    return {LABELS.get(label, label): held for label, held in record.items()}
