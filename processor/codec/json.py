"""Plain JSON: telemetry, one metric a topic, device events; strict in form, bounded in size.

The usual message takes one typed decode and a dictionary look-up. Whatever that refuses (units, booleans,
text times, batches, and everything wrong) is read again by the general decoder, which says why.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import UNSET, Meta, UnsetType

from processor.codec.identity import extend
from processor.codec.reading import Reading
from processor.errors import DeadLetter, DeadReason

#: Letters of a metric's name and of an event's type.
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
#: Longest name.
_NAME = 64
#: Names kept in interned shapes; shapes beyond that are validated each time.
_INTERNED = 100_000
#: 9999-12-31T23:59:59.999Z: the last millisecond that RFC 3339 can say.
_LATEST = 253_402_300_799_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Sequence = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_Unit = Annotated[str, Meta(max_length=32)]


class _Plain(msgspec.Struct, gc=False):
    """The usual telemetry message."""

    metrics: dict[str, float]
    ts: int | None = None
    seq: _Sequence | None = None
    asset: str | None = None


class _Quantity(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    v: bool | float
    u: _Unit = ""


class _Telemetry(msgspec.Struct):
    metrics: dict[str, bool | float | _Quantity]
    ts: Any = UNSET
    seq: _Sequence = -1
    asset: str | UnsetType = UNSET


class _Event(msgspec.Struct):
    ts: Any = UNSET
    data: dict[str, Any] | UnsetType = UNSET
    seq: _Sequence = -1
    asset: str | UnsetType = UNSET


_PLAIN = msgspec.json.Decoder(_Plain).decode
_TELEMETRY = msgspec.json.Decoder(_Telemetry | list[_Telemetry])
_SINGLE = msgspec.json.Decoder(bool | float | _Quantity)
_EVENT = msgspec.json.Decoder(_Event)
_ZONED = Annotated[datetime, Meta(tz=True)]


class JsonCodec:
    """Decodes JSON payloads.

    Args:
        payload_bytes: largest payload.
        messages: most messages in a batch.
        metrics: most metrics in a message.
        ahead: how far event time may be ahead of receipt, milliseconds.
    """

    def __init__(self, *, payload_bytes: int, messages: int, metrics: int, ahead: int) -> None:
        self._payload_bytes = payload_bytes
        self._messages = messages
        self._metrics = metrics
        self._ahead = ahead
        self._shapes: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._room = _INTERNED

    def read(self, tail: bytes, value: bytes | None, received: int, asset: str) -> tuple[Reading, ...]:
        """Readings of one record; never an empty tuple for telemetry.

        Args:
            tail: MQTT topic after ``assets/<asset id>/``.
            value: the payload.
            received: time of receipt, milliseconds since the epoch.
            asset: the asset id the topic carried, which the broker's gate has enforced.

        Raises:
            DeadLetter: with the reason; nothing of the record is to be judged.
        """
        if value is None:
            raise DeadLetter(DeadReason.MALFORMED, "no payload")
        if not 0 <= received <= _LATEST:
            raise DeadLetter(DeadReason.TIME_INVALID, "the record has no time of receipt")
        if len(value) > self._payload_bytes:
            raise DeadLetter(DeadReason.OVERSIZE, f"{len(value)} bytes, at most {self._payload_bytes}")
        if tail == b"telemetry":
            return self._telemetry(value, received, asset)
        kind, _, name = tail.partition(b"/")
        if kind == b"telemetry":
            return self._single(value, received, asset, _topic_name(name))
        if kind == b"events":
            return self._event(value, received, asset, _topic_name(name))
        if tail == b"status":
            return ()
        raise DeadLetter(DeadReason.TOPIC_INVALID, "neither telemetry, events nor status")

    def intern(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The one object that stands for this shape in every reading."""
        return self._shapes.setdefault(names, names)

    def _telemetry(self, value: bytes, received: int, asset: str) -> tuple[Reading, ...]:
        try:
            plain = _PLAIN(value)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return self._general(value, received, asset)
        metrics, ts, seq = plain.metrics, plain.ts, plain.seq
        members = len(metrics) + 1
        if seq is None:
            seq = -1
        else:
            members += 1
        if plain.asset is not None:
            members += 1
            _check_asset(plain.asset, asset)
        if ts is None:
            ts = received
        else:
            members += 1
        # As many colons as members: none was repeated, none is unknown.
        if value.count(b":") != members:
            return self._general(value, received, asset)
        if not 0 <= ts <= received + self._ahead:
            _refuse_time(ts, received)
        shape = tuple(metrics)
        names = self._shapes.get(shape) or self._shape(shape)
        return (Reading(ts, seq, names, tuple(metrics.values())),)

    def _general(self, value: bytes, received: int, asset: str) -> tuple[Reading, ...]:
        found = _decode(_TELEMETRY, value)
        messages: list[_Telemetry] = found if isinstance(found, list) else [found]
        if not messages:
            raise DeadLetter(DeadReason.WRONG_TYPE, "an empty batch")
        if len(messages) > self._messages:
            raise DeadLetter(DeadReason.OVERSIZE, f"{len(messages)} messages, at most {self._messages}")
        return tuple(self._reading(message, received, asset) for message in messages)

    def _reading(self, message: _Telemetry, received: int, asset: str) -> Reading:
        if message.asset is not UNSET:
            _check_asset(message.asset, asset)
        t = self._time(message.ts, received)
        shape = tuple(message.metrics)
        names = self._shapes.get(shape) or self._shape(shape)
        pairs = [_number(each) for each in message.metrics.values()]
        units = tuple(unit for _, unit in pairs)
        return Reading(t, message.seq, names, tuple(v for v, _ in pairs), units if any(units) else None)

    def _single(self, value: bytes, received: int, asset: str, name: str) -> tuple[Reading, ...]:
        """The whole message, or only the value of the metric that the topic names."""
        if b'"metrics"' in value:
            return self._telemetry(value, received, asset)
        v, unit = _number(_decode(_SINGLE, value))
        names = self._shapes.get((name,)) or self._shape((name,))
        return (Reading(received, -1, names, (v,), (unit,) if unit else None),)

    def _event(self, value: bytes, received: int, asset: str, name: str) -> tuple[Reading, ...]:
        found: _Event = _decode(_EVENT, value)
        if found.asset is not UNSET:
            _check_asset(found.asset, asset)
        return (Reading(self._time(found.ts, received), found.seq, (name,), (1.0,), None, name),)

    def _shape(self, shape: tuple[str, ...]) -> tuple[str, ...]:
        """Check names that were not met before, and remember them."""
        if not shape:
            raise DeadLetter(DeadReason.WRONG_TYPE, "metrics holds nothing")
        if len(shape) > self._metrics:
            raise DeadLetter(DeadReason.OVERSIZE, f"{len(shape)} metrics, at most {self._metrics}")
        for name in shape:
            if not 0 < len(name) <= _NAME or not _LETTERS.issuperset(name):
                raise DeadLetter(DeadReason.METRIC_NAME, "a name is 1 to 64 of A-Z a-z 0-9 . _ -")
        if len(shape) <= self._room:
            self._room -= len(shape)
            self._shapes[shape] = shape
        return shape

    def _time(self, ts: object, received: int) -> int:
        if ts is UNSET:
            return received
        if isinstance(ts, str):
            try:
                moment = msgspec.convert(ts, _ZONED)
            except (msgspec.ValidationError, ValueError, OverflowError):
                raise DeadLetter(DeadReason.TIME_INVALID, "ts is not RFC 3339 with a zone") from None
            ts = (moment - _EPOCH) // timedelta(milliseconds=1)
        if isinstance(ts, bool) or not isinstance(ts, int):
            raise DeadLetter(DeadReason.TIME_INVALID, "ts is neither integer milliseconds nor RFC 3339")
        if not 0 <= ts <= received + self._ahead:
            _refuse_time(ts, received)
        return ts


def _number(value: bool | float | _Quantity) -> tuple[float, str]:  # noqa: FBT001 - a JSON value
    """A value and its unit."""
    return (float(value.v), value.u) if isinstance(value, _Quantity) else (float(value), "")


def _refuse_time(ts: int, received: int) -> NoReturn:
    if 0 <= ts <= _LATEST:
        raise DeadLetter(DeadReason.CLOCK_AHEAD, f"{(ts - received) / 1000:.0f} s ahead of receipt")
    raise DeadLetter(DeadReason.TIME_INVALID, "ts is outside the years 1970 to 9999")


def _check_asset(claimed: str, asset: str) -> None:
    if claimed != asset and extend(claimed) != asset:
        raise DeadLetter(DeadReason.IDENTITY_MISMATCH, "asset differs from the topic's")


def _topic_name(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    if not 0 < len(text) <= _NAME or not _LETTERS.issuperset(text):
        raise DeadLetter(DeadReason.TOPIC_INVALID, "a level is 1 to 64 of A-Z a-z 0-9 . _ -")
    return text


def _decode(decoder: Any, value: bytes) -> Any:  # noqa: ANN401 - what the decoder's type says
    """Decode or say why not; a member named twice is a refusal, not a choice."""
    try:
        found = decoder.decode(value)
        json.loads(value, object_pairs_hook=_unique)
    except msgspec.ValidationError as error:
        reason = DeadReason.NON_FINITE if "out of range" in str(error) else DeadReason.WRONG_TYPE
        raise DeadLetter(reason, _detail(str(error))) from None
    except msgspec.DecodeError as error:
        reason = DeadReason.NON_FINITE if _holds_constant(value) else DeadReason.MALFORMED
        raise DeadLetter(reason, str(error)) from None
    except (RecursionError, ValueError):
        raise DeadLetter(DeadReason.MALFORMED, "nested too deeply, or not UTF-8") from None
    return found


def _detail(text: str) -> str:
    # The path in msgspec's text names positions and our own fields, never a device's words.
    return text.replace("`", "")


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise DeadLetter(DeadReason.MALFORMED, "a member is named twice")


def _holds_constant(value: bytes) -> bool:
    """Whether only NaN or Infinity, which JSON does not know, keep the payload from being JSON."""
    met: list[str] = []
    note: Callable[[str], None] = met.append
    try:
        json.loads(value, parse_constant=note)
    except (ValueError, RecursionError):
        return False
    return bool(met)
