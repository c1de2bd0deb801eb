"""Sparkplug B payloads whose metrics carry their names (Eclipse Sparkplug 3.0, 6.4).

Stateless: what only a birth certificate would tell, the name behind an alias, makes a dead letter. A name's
``/`` becomes ``.`` and its blanks ``_``. The property ``engUnit`` is the unit. Texts, bytes, sets and nulls
beside numbers are passed over.
"""

import struct
from typing import Any

from processor.codec.instant import check_time
from processor.codec.pack import Packs, Value
from processor.codec.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, ProtobufError, read_fields
from processor.codec.reading import Reading
from processor.errors import DeadLetter, DeadReason

#: Number → (name, wire type) in the messages Payload, Payload.Metric, PropertySet and PropertyValue.
_PAYLOAD = {1: ("timestamp", VARINT), 2: ("metric", BYTES), 3: ("seq", VARINT), 4: ("uuid", BYTES), 5: ("body", BYTES)}  # fmt: skip # noqa: E501 - a table
_METRIC = {
    1: ("name", BYTES), 2: ("alias", VARINT), 3: ("timestamp", VARINT), 4: ("datatype", VARINT),
    5: ("is_historical", VARINT), 6: ("is_transient", VARINT), 7: ("is_null", VARINT), 8: ("metadata", BYTES),
    9: ("properties", BYTES), 10: ("int", VARINT), 11: ("long", VARINT), 12: ("float", FIXED32),
    13: ("double", FIXED64), 14: ("boolean", VARINT), 15: ("string", BYTES), 16: ("bytes", BYTES),
    17: ("dataset", BYTES), 18: ("template", BYTES), 19: ("extension", BYTES),
}  # fmt: skip
_PROPERTIES = {1: ("key", BYTES), 2: ("value", BYTES)}
_PROPERTY = {8: ("string", BYTES)}
_ONE_OF = ("int", "long", "float", "double", "boolean", "string", "bytes", "dataset", "template", "extension")
_UNIT = b"engUnit"
_LONGEST_UNIT = 32
#: Datatype → bits, signed (Sparkplug 3.0, 6.4.16).
_INTEGERS = {1: (8, True), 2: (16, True), 3: (32, True), 4: (64, True),
             5: (8, False), 6: (16, False), 7: (32, False), 8: (64, False)}  # fmt: skip
_FLOATS = {9, 10}
_BOOLEAN = 11
_LARGEST_SEQ = 2**53 - 1
#: Numbers go on with 0 after 255 (6.4.6); those of a device that counts on are taken as they are.
_CYCLE = 256
#: Fields that a metric may have on average; beyond, the payload is oversize.
_FIELDS = 32
_NAMES = str.maketrans("/ ", "._")


class SparkplugCodec:
    """Decodes payloads; see `processor.codec.formats.Format`.

    Args:
        packs: makes the readings.
        metrics: most metrics in a payload, whatever their times.
        ahead: how far event time may be ahead of receipt, milliseconds.
    """

    def __init__(self, packs: Packs, *, metrics: int, ahead: int) -> None:
        self._packs = packs
        self._metrics = metrics
        self._ahead = ahead

    def telemetry(self, value: bytes, received: int, _asset: str) -> tuple[Reading, ...]:
        """Readings of a payload."""
        try:
            return self._read(value, received)
        except ProtobufError as error:
            raise DeadLetter(DeadReason.MALFORMED, str(error)) from None

    def metric(self, value: bytes, received: int, asset: str, _name: str) -> tuple[Reading, ...]:
        """Readings of a payload: its metrics have names of their own."""
        return self.telemetry(value, received, asset)

    def _read(self, value: bytes, received: int) -> tuple[Reading, ...]:
        head: dict[str, Field] = {}
        metrics: list[bytes] = []
        left = (self._metrics + 1) * _FIELDS
        for field in read_fields(value):
            left -= 1
            name = _name(field, _PAYLOAD)
            if name == "metric":
                metrics.append(field.data)
            elif name is not None:
                _add(head, name, field)
            if left < 0 or len(metrics) > self._metrics:
                raise DeadLetter(DeadReason.OVERSIZE, f"more than {self._metrics} metrics")
        if not metrics:
            what = "a compressed payload" if "body" in head else "a payload without metrics"
            raise DeadLetter(DeadReason.WRONG_TYPE, what)
        seq = head["seq"].integer if "seq" in head else -1
        if seq > _LARGEST_SEQ:
            raise DeadLetter(DeadReason.WRONG_TYPE, "seq is beyond its bound")
        t = head["timestamp"].integer if "timestamp" in head else None
        found = [self._value(each, t, received) for each in metrics]
        values = [each for each in found if each is not None]
        return self._packs.build(values, passed_over=len(found) - len(values), seq=seq, cyclic=seq < _CYCLE)

    def _value(self, metric: bytes, t: int | None, received: int) -> Value | None:
        """A metric's value; None when it is well made and no number."""
        fields = _collect(metric, _METRIC)
        if "name" not in fields:
            if "alias" in fields:
                raise DeadLetter(DeadReason.ALIAS_ONLY, "a metric with an alias and no name")
            raise DeadLetter(DeadReason.METRIC_NAME, "a metric without a name")
        told = [each for each in _ONE_OF if each in fields]
        null = "is_null" in fields and fields["is_null"].integer
        if len(told) > 1 or (not told and not null):
            raise DeadLetter(DeadReason.WRONG_TYPE, "a metric without a value, or with several")
        name = _text(fields["name"].data).translate(_NAMES)
        v = None if null or not told else _number(told[0], fields)
        if v is None:
            return None
        at = fields["timestamp"].integer if "timestamp" in fields else t
        unit = _unit(fields["properties"].data) if "properties" in fields else ""
        if at is None:
            return Value(received, name, v, unit, stamped=False)
        return Value(check_time(at, received, self._ahead), name, v, unit)


def _name(field: Field, table: dict[int, tuple[str, int]]) -> str | None:
    """The field's name; None for one that a later version may have added."""
    name, wire = table.get(field.number, (None, field.wire))
    if wire != field.wire:
        raise ProtobufError("a field with another wire type than its own")
    return name


def _add(fields: dict[str, Field], name: str, field: Field) -> None:
    if name in fields:
        raise ProtobufError("a field that comes twice")
    fields[name] = field


def _collect(message: bytes, table: dict[int, tuple[str, int]]) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for field in read_fields(message):
        name = _name(field, table)
        if name is not None:
            _add(fields, name, field)
    return fields


def _number(told: str, fields: dict[str, Field]) -> float | None:
    """The number in a metric's value; None for what is no number.

    Raises:
        DeadLetter: value and datatype do not agree, or the number is not finite.
    """
    datatype = fields["datatype"].integer if "datatype" in fields else 0
    field = fields[told]
    if told in {"int", "long"}:
        if datatype in _INTEGERS:
            return _integer(field.integer, 32 if told == "int" else 64, *_INTEGERS[datatype])
        if not datatype:
            return _bare(field.integer, 32 if told == "int" else 64)
    elif told in {"float", "double"} and (datatype in _FLOATS or not datatype):
        number: float = struct.unpack("<f" if told == "float" else "<d", field.data)[0]
        if number - number != 0:
            raise DeadLetter(DeadReason.NON_FINITE, "a number is NaN or infinite")
        return number
    elif told == "boolean" and datatype in {0, _BOOLEAN}:
        return float(bool(field.integer))
    if datatype in _INTEGERS or datatype in _FLOATS or datatype == _BOOLEAN:
        raise DeadLetter(DeadReason.WRONG_TYPE, "a value of another type than the metric's datatype")
    return None


def _integer(raw: int, carried: int, bits: int, signed: bool) -> float:  # noqa: FBT001 - a row of the table
    """An integer of its datatype; negative ones are in two's complement of their bits or the carrier's."""
    if raw >= 2**carried:
        # protobuf lets an encoder sign-extend to 64 bits.
        raw -= 2**64 - 2**carried
    if signed and raw >= 2**carried - 2 ** (bits - 1):
        return float(raw - 2**carried)
    if not 0 <= raw < 2**bits:
        raise DeadLetter(DeadReason.WRONG_TYPE, "an integer beyond its datatype")
    return float(raw - 2**bits if signed and raw >= 2 ** (bits - 1) else raw)


def _bare(raw: int, carried: int) -> float:
    """An integer without a datatype, which data messages may leave to the birth certificate."""
    if raw >= 2 ** (carried - 1):
        raise DeadLetter(DeadReason.WRONG_TYPE, "an integer that without its datatype may be negative")
    return float(raw)


def _unit(properties: bytes) -> str:
    """The unit among a metric's properties: keys and values lie side by side."""
    keys: list[bytes] = []
    values: list[bytes] = []
    for field in read_fields(properties):
        name = _name(field, _PROPERTIES)
        if name is not None:
            (keys if name == "key" else values).append(field.data)
    if len(keys) != len(values):
        raise ProtobufError("properties with more keys than values, or fewer")
    if _UNIT not in keys:
        return ""
    held: dict[str, Any] = _collect(values[keys.index(_UNIT)], _PROPERTY)
    unit = _text(held["string"].data) if "string" in held else ""
    if len(unit) > _LONGEST_UNIT or not unit.isprintable():
        raise DeadLetter(DeadReason.WRONG_TYPE, f"engUnit is longer than {_LONGEST_UNIT}, or not printable")
    return unit


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ProtobufError("a text that is not UTF-8") from None
