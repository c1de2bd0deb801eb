"""Which format a payload has, and what is the same for all: topic, size, time of receipt.

The format is the setting's for the topic, else what the content type says, else JSON. A device's events are
JSON always: their contract is an object.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from processor.codec.instant import LATEST
from processor.codec.json import JsonCodec
from processor.codec.pack import Packs
from processor.codec.reading import Reading
from processor.codec.senml import SenML
from processor.codec.senml_cbor import SenmlCborCodec
from processor.codec.senml_json import SenmlJsonCodec
from processor.codec.shape import Shapes, is_name
from processor.codec.sparkplug import SparkplugCodec
from processor.codec.text import TextCodec
from processor.errors import DeadLetter, DeadReason
from processor.limits import Format as Name
from processor.limits import Limits
from processor.model import TAIL

#: Media type, in lower case and without parameters → format. Sparkplug has none of its own: protobuf's.
CONTENT_TYPES: Mapping[bytes, Name] = {
    b"application/json": "json",
    b"application/senml+json": "senml+json",
    b"application/sensml+json": "senml+json",
    b"application/senml+cbor": "senml+cbor",
    b"application/sensml+cbor": "senml+cbor",
    b"application/protobuf": "sparkplug",
    b"application/x-protobuf": "sparkplug",
    b"application/vnd.google.protobuf": "sparkplug",
    b"text/plain": "text",
}
#: Topics with their content types whose format is remembered, and the longest: devices choose both.
_REMEMBERED = 16_384
_LONGEST = 256


class Format(Protocol):
    """One format of telemetry payloads. Each method gives one reading at least, or raises `DeadLetter`."""

    def telemetry(self, value: bytes, received: int, asset: str, /) -> tuple[Reading, ...]:
        """Readings of what came on ``…/telemetry``."""

    def metric(self, value: bytes, received: int, asset: str, name: str, /) -> tuple[Reading, ...]:
        """Readings of what came on ``…/telemetry/<name>``."""


class _Filter(NamedTuple):
    asset: str
    tail: str
    format: Name


class Codec:
    """Decodes payloads of every format.

    Args:
        limits: bounds, and the formats of topics.
    """

    def __init__(self, limits: Limits) -> None:
        self._payload_bytes = limits.payload_bytes
        self._filters = [_make_filter(topic, name) for topic, name in limits.formats.items()]
        self._chosen: dict[tuple[bytes, str, bytes], Format] = {}
        #: The header of the usual record, whose payload is JSON whatever it holds; None when a setting may
        #: give it another format.
        self.usual = None if limits.formats else (TAIL, b"telemetry")
        self._shapes = Shapes(limits.metrics)
        self._packs = Packs(self._shapes)
        ahead = round(limits.clock_ahead * 1000)
        self._json = JsonCodec(self._shapes, messages=limits.messages, ahead=ahead)
        senml = SenML(self._packs, records=limits.messages, ahead=ahead)
        self._formats: dict[Name, Format] = {
            "json": self._json,
            "senml+json": SenmlJsonCodec(senml),
            "senml+cbor": SenmlCborCodec(senml, records=limits.messages),
            "sparkplug": SparkplugCodec(self._packs, metrics=limits.messages, ahead=ahead),
            "text": TextCodec(self._shapes),
        }

    def read(
        self, tail: bytes, value: bytes | None, received: int, asset: str, content_type: bytes = b""
    ) -> tuple[Reading, ...]:
        """Readings of one record; never an empty tuple for telemetry.

        Args:
            tail: MQTT topic after ``assets/<asset id>/``.
            value: the payload.
            received: time of receipt, milliseconds since the epoch.
            asset: the asset id the topic carried, which the broker's gate has enforced.
            content_type: as the publisher set it; empty for none.

        Raises:
            DeadLetter: with the reason; nothing of the record is to be judged.
        """
        if value is None:
            raise DeadLetter(DeadReason.MALFORMED, "no payload")
        if not 0 <= received <= LATEST:
            raise DeadLetter(DeadReason.TIME_INVALID, "the record has no time of receipt")
        if len(value) > self._payload_bytes:
            raise DeadLetter(DeadReason.OVERSIZE, f"{len(value)} bytes, at most {self._payload_bytes}")
        if tail == b"telemetry":
            if content_type or self._filters:
                return self._choose(tail, asset, content_type).telemetry(value, received, asset)
            return self._json.telemetry(value, received, asset)
        kind, _, name = tail.partition(b"/")
        if kind == b"telemetry":
            # What is no name is refused before anything of it is kept.
            metric = _topic_name(name)
            return self._choose(tail, asset, content_type).metric(value, received, asset, metric)
        if kind == b"events":
            return self._json.event(value, received, asset, _topic_name(name))
        if tail == b"status":
            return ()
        raise DeadLetter(DeadReason.TOPIC_INVALID, "neither telemetry, events nor status")

    @property
    def passed_over(self) -> int:
        """Values so far that no rule could judge: texts, bytes, sums and nulls beside numbers."""
        return self._packs.passed_over

    @property
    def remembered(self) -> int:
        """Topics and content types whose format is remembered."""
        return len(self._chosen)

    def _choose(self, tail: bytes, asset: str, content_type: bytes) -> Format:
        at = (tail, asset if self._filters else "", content_type)
        found = self._chosen.get(at)
        if found is None:
            found = self._formats[self._name(tail.decode("utf-8", "replace"), asset, content_type)]
            if len(tail) + len(content_type) <= _LONGEST:
                if len(self._chosen) >= _REMEMBERED:
                    self._chosen.clear()
                self._chosen[at] = found
        return found

    def _name(self, tail: str, asset: str, content_type: bytes) -> Name:
        for one in self._filters:
            if one.asset in {"+", asset} and _matches(one.tail, tail):
                return one.format
        media_type = content_type.partition(b";")[0].strip().lower()
        name = CONTENT_TYPES.get(media_type, "json")
        # A text without a metric in its topic cannot be one number.
        return "json" if name == "text" and tail == "telemetry" else name


def _make_filter(topic: str, name: Name) -> _Filter:
    _, asset, tail = topic.split("/", 2)
    return _Filter(asset, tail, name)


def _matches(topic_filter: str, tail: str) -> bool:
    """Whether an MQTT filter of one or two levels matches (MQTT 5, 4.7.1)."""
    first, _, second = topic_filter.partition("/")
    root, _, name = tail.partition("/")
    if first == "#":
        return True
    return first in {"+", root} and (second in {"#", name} or (second == "+" and bool(name)))


def _topic_name(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    if not is_name(text):
        raise DeadLetter(DeadReason.TOPIC_INVALID, "a level is 1 to 64 of A-Z a-z 0-9 . _ -")
    return text
