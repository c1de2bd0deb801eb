"""SenML, whatever its encoding: records with base fields resolved to values (RFC 8428, section 4).

A value's metric is its resolved name without the device in front of it (a URN such as
``urn:dev:mac:0024befffe804ff1``, or the asset's id), with ``.`` for ``/`` and ``:``. Numbers and booleans are
judged; texts, data and sums beside them are passed over.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from processor.codec.identity import check_asset, names_asset
from processor.codec.instant import LATEST, check_time
from processor.codec.pack import Packs, Value
from processor.codec.reading import Reading
from processor.errors import DeadLetter, DeadReason

#: A time below this many seconds is relative to now (RFC 8428, 4.5.3).
_RELATIVE = 2**28
#: Versions that mean what we read: up to RFC 8428's own, and it with secondary units (RFC 9100, RFC 8798).
_VERSION = 10
_SECONDARY_UNITS = 26
_LONGEST_UNIT = 32
#: Longer than any name that leaves a metric's name behind its device.
_LONGEST_NAME = 512
_BASES = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})
_REGULAR = frozenset({"n", "u", "t", "ut"})
_KNOWN = _BASES | _REGULAR | {"v", "vs", "vb", "vd", "s"}
_VALUES = ("v", "vb", "vs", "vd")
#: RFC 8428, 4.5.1; a leading slash as LwM2M writes it.
_NAME = re.compile(r"/?[A-Za-z0-9][A-Za-z0-9\-:./_]*")
#: A device's URN (RFC 9039 and others) and what follows it.
_URN = re.compile(r"(urn:(?:dev:)?[^:/]+:([^:/]+))(?:[:/](.*))?")
#: Names remembered, of all assets together, and the longest.
_LOCATED = 65_536
_LONGEST_LOCATED = 128
_SEPARATORS = str.maketrans("/:", "..")


class Base(NamedTuple):
    """The base fields in force (RFC 8428, 4.1): name, time in seconds, unit, value."""

    name: str = ""
    t: float = 0.0
    unit: str = ""
    v: float = 0.0


class SenML:
    """Resolves records.

    Args:
        packs: makes the readings.
        records: most records in a pack.
        ahead: how far event time may be ahead of receipt, milliseconds.
    """

    def __init__(self, packs: Packs, *, records: int, ahead: int) -> None:
        self._packs = packs
        self._records = records
        self._ahead = ahead

    def read(self, pack: object, received: int, asset: str, topic_name: str) -> tuple[Reading, ...]:
        """Readings of a pack.

        Args:
            pack: list of records by their JSON labels; data values may be bytes.
            received: time of receipt, milliseconds since the epoch: SenML's "now".
            asset: the asset id of the topic.
            topic_name: metric of a record that names only its device; "" when the topic has none.

        Raises:
            DeadLetter: with the reason.
        """
        if not isinstance(pack, list) or not pack:
            raise DeadLetter(DeadReason.WRONG_TYPE, "a pack is an array with at least one record")
        if len(pack) > self._records:
            raise DeadLetter(DeadReason.OVERSIZE, f"{len(pack)} records, at most {self._records}")
        base, values, devices, passed_over = Base(), list[Value](), set[str](), 0
        for record in pack:
            _check_labels(record)
            base = _rebase(base, record)
            kinds = [label for label in _VALUES if label in record]
            if len(kinds) > 1:
                raise DeadLetter(DeadReason.WRONG_TYPE, "a record with more than one value")
            if not kinds and "s" not in record:
                if not _REGULAR.isdisjoint(record):
                    raise DeadLetter(DeadReason.WRONG_TYPE, "a record without a value")
                continue
            told = base.name + _text(record, "n")
            locate = _locate if len(told) <= _LONGEST_LOCATED else _locate.__wrapped__
            device, name = locate(told, asset)
            devices.add(device)
            v = _value(record, kinds, base)
            if v is None:
                passed_over += 1
                continue
            seconds = base.t + _number(record.get("t", 0))
            unit = _unit(record, "u") or base.unit
            stamped = seconds >= _RELATIVE
            values.append(Value(self._time(seconds, received), name or topic_name, v, unit, stamped))
        if len(devices) > 1:
            raise DeadLetter(DeadReason.IDENTITY_MISMATCH, "a pack that speaks of several devices")
        return self._packs.build(values, passed_over=passed_over)

    def _time(self, seconds: float, received: int) -> int:
        """Event time: absolute, or relative to the receipt."""
        if not -LATEST < seconds < LATEST:
            raise DeadLetter(DeadReason.TIME_INVALID, "the time is outside the years 1970 to 9999")
        milliseconds = round(seconds * 1000)
        t = received + milliseconds if seconds < _RELATIVE else milliseconds
        return check_time(t, received, self._ahead)


def _check_labels(record: Any) -> None:  # noqa: ANN401 - whatever the device sent
    """Refuse what is no record, and fields that must be understood (RFC 8428, 4.4)."""
    if not isinstance(record, dict):
        raise DeadLetter(DeadReason.WRONG_TYPE, "a record is a map")
    for label in record:
        if label not in _KNOWN and isinstance(label, str) and label.endswith("_"):
            raise DeadLetter(DeadReason.WRONG_TYPE, "a field that must be understood, and is not known")
    version = record.get("bver", _VERSION)
    if type(version) is not int or not (0 < version <= _VERSION or version == _SECONDARY_UNITS):
        raise DeadLetter(DeadReason.WRONG_TYPE, "bver is not 10 or less, nor 26")
    for label in ("bs", "s", "ut"):
        if label in record:
            _number(record[label])


def _rebase(base: Base, record: dict[str, Any]) -> Base:
    """The base fields from this record on."""
    if _BASES.isdisjoint(record):
        return base
    return Base(
        _text(record, "bn") if "bn" in record else base.name,
        _number(record["bt"]) if "bt" in record else base.t,
        _unit(record, "bu") if "bu" in record else base.unit,
        _number(record["bv"]) if "bv" in record else base.v,
    )


def _value(record: dict[str, Any], kinds: list[str], base: Base) -> float | None:
    """What is judged of a record; None when it is well made and no number."""
    if "v" in kinds:
        v = _number(record["v"]) + base.v
        if v - v != 0:
            raise DeadLetter(DeadReason.NON_FINITE, "a value with its base is beyond a double")
        return v
    if "vb" in kinds:
        if not isinstance(record["vb"], bool):
            raise DeadLetter(DeadReason.WRONG_TYPE, "vb is not a boolean")
        return float(record["vb"])
    if kinds and not isinstance(record[kinds[0]], str if kinds[0] == "vs" else (str, bytes)):
        raise DeadLetter(DeadReason.WRONG_TYPE, f"{kinds[0]} is of another type")
    return None


@lru_cache(_LOCATED)
def _locate(name: str, asset: str) -> tuple[str, str]:
    """Device ("" for none) and metric of a resolved name; remembered, because devices repeat themselves.

    Raises:
        DeadLetter: it is no name, or names another asset.
    """
    if len(name) > _LONGEST_NAME or (name and not _NAME.fullmatch(name)):
        raise DeadLetter(DeadReason.METRIC_NAME, "a name has other letters than RFC 8428 allows")
    urn = _URN.fullmatch(name)
    if urn:
        device, told, rest = urn[1], urn[2], urn[3] or ""
    else:
        told, _, rest = name.translate(_SEPARATORS).partition(".")
        device = told
    if names_asset(told, asset):
        check_asset(told, asset)
    elif not urn:
        device, rest = "", name
    return device, rest.strip("/:").translate(_SEPARATORS)


def _text(record: dict[str, Any], label: str) -> str:
    text = record.get(label, "")
    if not isinstance(text, str):
        raise DeadLetter(DeadReason.WRONG_TYPE, f"{label} is not a text")
    return text


def _unit(record: dict[str, Any], label: str) -> str:
    unit = _text(record, label)
    if len(unit) > _LONGEST_UNIT or not unit.isprintable():
        raise DeadLetter(DeadReason.WRONG_TYPE, f"{label} is longer than {_LONGEST_UNIT}, or not printable")
    return unit


def _number(found: object) -> float:
    if type(found) is not int and type(found) is not float:
        raise DeadLetter(DeadReason.WRONG_TYPE, "a field that holds a number holds something else")
    try:
        number = float(found)
    except OverflowError:
        number = float("inf")
    if number - number != 0:
        raise DeadLetter(DeadReason.NON_FINITE, "a number is NaN, infinite or beyond a double")
    return number
