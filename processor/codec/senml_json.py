"""SenML in JSON: ``application/senml+json`` (RFC 8428, section 5)."""

import json
from typing import Any, NoReturn

from processor.codec.reading import Reading
from processor.codec.senml import SenML
from processor.errors import DeadLetter, DeadReason


class SenmlJsonCodec:
    """Decodes packs; see `processor.codec.formats.Format`.

    Args:
        senml: resolves their records.
    """

    def __init__(self, senml: SenML) -> None:
        self._senml = senml

    def telemetry(self, value: bytes, received: int, asset: str) -> tuple[Reading, ...]:
        """Readings of a pack."""
        return self._senml.read(_parse(value), received, asset, "")

    def metric(self, value: bytes, received: int, asset: str, name: str) -> tuple[Reading, ...]:
        """Readings of a pack; a record that names only its device is of the topic's metric."""
        return self._senml.read(_parse(value), received, asset, name)


def _parse(value: bytes) -> object:
    """The pack; a member named twice is a refusal, not a choice."""
    try:
        # RFC 8428, 5: UTF-8, nothing else; json.loads would guess.
        return json.loads(value.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise DeadLetter(DeadReason.MALFORMED, "no JSON, not UTF-8, or nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DeadLetter(DeadReason.MALFORMED, "a member is named twice")
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise DeadLetter(DeadReason.NON_FINITE, "NaN or Infinity, which JSON does not know")
