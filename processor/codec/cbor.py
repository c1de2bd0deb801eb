"""CBOR, strict and bounded: what SenML needs of RFC 8949, and nothing that makes objects of its own.

Maps, arrays and strings of definite and indefinite length; integers of 64 bits; half, single and double
floats; tag 4 (decimal fractions, as RFC 8428 allows) and tag 55799 (self-described). No other tag is read.
"""

import struct
from typing import Any

#: A pack of records of values: three; a decimal fraction inside: four.
_DEEPEST = 6
_DECIMAL_FRACTION = 4
_SELF_DESCRIBED = 55_799
_INDEFINITE = 31
_BREAK = object()
_SIMPLE: dict[int, object] = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}
_LENGTHS = {24: 1, 25: 2, 26: 4, 27: 8}


class CborError(ValueError):
    """Raised for bytes that are not one well-formed item, or hold what we do not read."""


def decode(data: bytes, *, items: int) -> Any:  # noqa: ANN401 - whatever the bytes hold
    """The one item that the bytes are: int, float, bool, None, str, bytes, list or dict.

    Args:
        data: the bytes.
        items: most items, each key and each value counted.

    Raises:
        CborError: they are not well-formed, are followed by others, or go beyond a bound.
    """
    reader = _Reader(data, items)
    found = reader.item(0)
    if found is _BREAK or reader.at != len(data):
        raise CborError("bytes after the item, or a break outside of one")
    return found


class _Reader:
    __slots__ = ("_data", "_left", "at")

    def __init__(self, data: bytes, items: int) -> None:
        self._data = data
        self._left = items
        self.at = 0

    def item(self, depth: int) -> Any:  # noqa: ANN401, PLR0911 - one return a major type (RFC 8949, 3.1)
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise CborError("too many items, or nested too deeply")
        first = self._data[self.at] if self.at < len(self._data) else self._take(1)[0]
        self.at += 1
        major, info = first >> 5, first & 31
        if major == 7:  # noqa: PLR2004 - RFC 8949, 3.1
            return self._simple(info)
        if info == _INDEFINITE:
            return self._indefinite(major, depth)
        argument = info if info < 24 else self._argument(info)  # noqa: PLR2004 - RFC 8949, 3
        match major:
            case 0:
                return argument
            case 1:
                return -1 - argument
            case 2:
                return self._take(argument)
            case 3:
                return _text(self._take(argument))
            case 4:
                return [self._inner(depth) for _ in range(self._size(argument))]
            case 5:
                return self._map(self._size(argument), depth)
            case _:
                return self._tagged(argument, depth)

    def _take(self, size: int) -> bytes:
        start, self.at = self.at, self.at + size
        if self.at > len(self._data):
            raise CborError("the bytes end too early")
        return self._data[start : self.at]

    def _argument(self, info: int) -> int:
        size = _LENGTHS.get(info)
        if size is None:
            raise CborError("a reserved length")
        return int.from_bytes(self._take(size), "big")

    def _size(self, argument: int) -> int:
        # Each element takes a byte at least: no loop is longer than the bytes.
        if argument > len(self._data) - self.at:
            raise CborError("the bytes end too early")
        return argument

    def _inner(self, depth: int) -> Any:  # noqa: ANN401 - as above
        found = self.item(depth + 1)
        if found is _BREAK:
            raise CborError("a break inside of a definite length")
        return found

    def _map(self, size: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in range(size):
            self._entry(found, self._inner(depth), depth)
        return found

    def _entry(self, found: dict[Any, Any], key: object, depth: int) -> None:
        if type(key) is not int and type(key) is not str:
            raise CborError("a key that is neither integer nor text")
        if key in found:
            raise CborError("a key that comes twice")
        found[key] = self._inner(depth)

    def _indefinite(self, major: int, depth: int) -> Any:  # noqa: ANN401 - as above
        if major in {2, 3}:
            parts: list[Any] = []
            while (part := self.item(depth + 1)) is not _BREAK:
                if not isinstance(part, bytes if major == 2 else str):  # noqa: PLR2004 - RFC 8949, 3.2.3
                    raise CborError("a chunk of another kind")
                parts.append(part)
            return b"".join(parts) if major == 2 else "".join(parts)  # noqa: PLR2004 - as above
        if major == 4:  # noqa: PLR2004 - as above
            elements: list[Any] = []
            while (element := self.item(depth + 1)) is not _BREAK:
                elements.append(element)
            return elements
        if major == 5:  # noqa: PLR2004 - as above
            found: dict[Any, Any] = {}
            while (key := self.item(depth + 1)) is not _BREAK:
                self._entry(found, key, depth)
            return found
        raise CborError("an indefinite length where there is none")

    def _simple(self, info: int) -> Any:  # noqa: ANN401 - as above
        if info == _INDEFINITE:
            return _BREAK
        if info in _FLOATS:
            form, size = _FLOATS[info]
            return struct.unpack(form, self._take(size))[0]
        if info not in _SIMPLE:
            raise CborError("a simple value that nobody has assigned")
        return _SIMPLE[info]

    def _tagged(self, tag: int, depth: int) -> Any:  # noqa: ANN401 - as above
        content = self._inner(depth)
        if tag == _SELF_DESCRIBED:
            return content
        if tag != _DECIMAL_FRACTION:
            raise CborError("a tag that SenML does not use")
        match content:
            case [int(exponent), int(mantissa)] if not isinstance(exponent, bool | float):
                # The text is rounded once, as RFC 8428 wants of any number.
                return float(f"{mantissa}e{exponent}")
        raise CborError("a decimal fraction that is not two integers")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise CborError("a text that is not UTF-8") from None
