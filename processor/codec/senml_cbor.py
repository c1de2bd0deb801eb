"""SenML in CBOR: ``application/senml+cbor`` (RFC 8428, section 6)."""

from processor.codec.cbor import CborError, decode
from processor.codec.reading import Reading
from processor.codec.senml import SenML
from processor.errors import DeadLetter, DeadReason

#: RFC 8428, table 4, and ``ut`` of table 2 beside it.
_LABELS = {
    -6: "bs", -5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
#: Items that a record may have on average: its map, and some labels with their values.
_ITEMS = 32


class SenmlCborCodec:
    """Decodes packs; see `processor.codec.formats.Format`.

    Args:
        senml: resolves their records.
        records: most records in a pack.
    """

    def __init__(self, senml: SenML, *, records: int) -> None:
        self._senml = senml
        self._items = (records + 1) * _ITEMS

    def telemetry(self, value: bytes, received: int, asset: str) -> tuple[Reading, ...]:
        """Readings of a pack."""
        return self._senml.read(self._parse(value), received, asset, "")

    def metric(self, value: bytes, received: int, asset: str, name: str) -> tuple[Reading, ...]:
        """Readings of a pack; a record that names only its device is of the topic's metric."""
        return self._senml.read(self._parse(value), received, asset, name)

    def _parse(self, value: bytes) -> object:
        try:
            pack = decode(value, items=self._items)
        except CborError as error:
            raise DeadLetter(DeadReason.MALFORMED, str(error)) from None
        if not isinstance(pack, list):
            return pack
        return [_label(record) if isinstance(record, dict) else record for record in pack]


def _label(record: dict[int | str, object]) -> dict[int | str, object]:
    """Labels as JSON has them. What CBOR spells as a number may not come as a text as well."""
    found = {_LABELS.get(label, label) if isinstance(label, int) else label: v for label, v in record.items()}
    if len(found) != len(record) or any(label in record for label in _LABELS.values()):
        raise DeadLetter(DeadReason.MALFORMED, "a label as a text that CBOR has a number for")
    return found
