"""Strict JSON objects: one reading of every text, or none.

Two parsers that disagree about one text let an attacker show each its own token (RFC 8725 §2.4,
§3.10), so anything that has two readings is refused: duplicate members (RFC 8259 §4 leaves them
open), bytes that are not UTF-8, lone surrogates, NaN and numbers no float can hold, and nesting
deep enough to hurt whoever reads the value next.
"""

import json
from typing import Any

import msgspec

MAX_DEPTH = 16
"""Deepest nesting of objects and arrays; a token's ``cnf.jwk`` needs three."""

_Scalar = str | int | float | bool | None


def _nested(depth: int) -> Any:  # noqa: ANN401 - a type made by a program is none a checker knows
    """The type of a JSON value in which containers lie at most ``depth`` deep."""
    inner: Any = _Scalar
    for _ in range(depth):
        inner = _Scalar | list[inner] | dict[str, inner]
    return inner


_TOO_DEEP = f"is nested deeper than {MAX_DEPTH}"
# Counting levels while parsing costs nothing; afterwards it costs as much again as parsing.
_DECODE = msgspec.json.Decoder(dict[str, _nested(MAX_DEPTH - 1)]).decode  # type: ignore[misc] # a type made by a program
_DECODE_ANY = msgspec.json.Decoder().decode
_ENCODE = msgspec.json.Encoder().encode


def parse_object(raw: bytes) -> dict[str, object]:
    """Parse the JSON object that ``raw`` is, and nothing looser.

    Args:
        raw: UTF-8 without a byte order mark.

    Raises:
        ValueError: the text is not one JSON object with one reading; says what is wrong, never
            shows the text.
    """
    try:
        value: dict[str, object] = _DECODE(raw)
        # msgspec keeps the last of duplicate members. Writing the value back gives each member
        # once, so an equal text had no duplicates; only another text is worth the slow look.
        if _ENCODE(value) != raw:
            _check_members(raw)
    except msgspec.ValidationError:
        raise ValueError(_other_shape(raw)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(_fault(error)) from None
    return value


def _other_shape(raw: bytes) -> str:
    """What is wrong with a text that is no object of bounded depth."""
    try:
        return _TOO_DEEP if isinstance(_DECODE_ANY(raw), dict) else "is not a JSON object"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _fault(error)


def _fault(error: Exception) -> str:
    """The error in words of ours, or in its own without the path, which could repeat the text."""
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    return f"is not JSON: {str(error).split(' - at ', 1)[0]}"


def _check_members(raw: bytes) -> None:
    json.loads(raw, object_pairs_hook=_refuse_duplicates)


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("names a member twice")
