"""Plain JSON: telemetry, one metric a topic, device events; strict in form, bounded in size.

The usual message takes one typed decode and a dictionary look-up. Whatever that refuses (units, booleans,
text times, batches, and everything wrong) is read again by the general decoder, which says why.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from processor.codec.identity import check_asset
from processor.codec.instant import check_time, refuse_time
from processor.codec.reading import Reading
from processor.codec.shape import Shapes
from processor.errors import DeadLetter, DeadReason

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
        shapes: the names, shared by all formats.
        messages: most messages in a batch.
        ahead: how far event time may be ahead of receipt, milliseconds.
    """

    def __init__(self, shapes: Shapes, *, messages: int, ahead: int) -> None:
        self._messages = messages
        self._ahead = ahead
        self._known = shapes.known
        self._admit = shapes.admit

    def telemetry(self, value: bytes, received: int, asset: str) -> tuple[Reading, ...]:
        """Readings of a message or a batch; see `processor.codec.formats.Format`."""
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
            check_asset(plain.asset, asset)
        stamped = ts is not None
        if ts is None:
            ts = received
        else:
            members += 1
        # As many colons as members: none was repeated, none is unknown.
        if value.count(b":") != members:
            return self._general(value, received, asset)
        if not 0 <= ts <= received + self._ahead:
            refuse_time(ts, received)
        shape = tuple(metrics)
        names = self._known.get(shape) or self._admit(shape)
        return (Reading(ts, seq, names, tuple(metrics.values()), stamped=stamped),)

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
            check_asset(message.asset, asset)
        t = self._time(message.ts, received)
        shape = tuple(message.metrics)
        names = self._known.get(shape) or self._admit(shape)
        pairs = [_number(each) for each in message.metrics.values()]
        units = tuple(unit for _, unit in pairs)
        return Reading(
            t,
            message.seq,
            names,
            tuple(v for v, _ in pairs),
            units if any(units) else None,
            stamped=message.ts is not UNSET,
        )

    def metric(self, value: bytes, received: int, asset: str, name: str) -> tuple[Reading, ...]:
        """The whole message, or only the value of the metric that the topic names."""
        if b'"metrics"' in value:
            return self.telemetry(value, received, asset)
        v, unit = _number(_decode(_SINGLE, value))
        names = self._known.get((name,)) or self._admit((name,))
        return (Reading(received, -1, names, (v,), (unit,) if unit else None, stamped=False),)

    def event(self, value: bytes, received: int, asset: str, name: str) -> tuple[Reading, ...]:
        """The device's own event, named by its topic."""
        found: _Event = _decode(_EVENT, value)
        if found.asset is not UNSET:
            check_asset(found.asset, asset)
        t = self._time(found.ts, received)
        return (Reading(t, found.seq, (name,), (1.0,), None, name, found.ts is not UNSET),)

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
        return check_time(ts, received, self._ahead)


def _number(value: bool | float | _Quantity) -> tuple[float, str]:  # noqa: FBT001 - a JSON value
    """A value and its unit."""
    return (float(value.v), value.u) if isinstance(value, _Quantity) else (float(value), "")


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
