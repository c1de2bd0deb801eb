"""Strict JSON objects: one reading of every text, or none.

Two parsers that disagree about one text let an attacker show each its own token (RFC 8725 §2.4,
§3.10), so anything that has two readings is refused: duplicate members (RFC 8259 §4 leaves them
open), bytes that are not UTF-8, lone surrogates, NaN and numbers no float can hold, and nesting
deep enough to hurt whoever reads the value next.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

MAX_DEPTH = 16
"""Deepest nesting of objects and arrays; a token's ``cnf.jwk`` needs three."""

_DECODE = msgspec.json.Decoder().decode
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
        value = _DECODE(raw)
        if not isinstance(value, dict):
            raise ValueError("is not a JSON object")  # noqa: TRY004 - wrong text, not a wrong call
        # Each container opens with a bracket, so few brackets prove shallow nesting.
        if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
            _check_depth(value)
        # msgspec keeps the last of duplicate members. Writing the value back gives each member
        # once, so an equal text had no duplicates; only another text is worth the slow look.
        if _ENCODE(value) != raw:
            _check_members(raw)
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_DEPTH}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except msgspec.DecodeError as error:
        raise ValueError(f"is not JSON: {_without_path(error)}") from None
    return value


def _without_path(error: msgspec.DecodeError) -> str:
    """The error's own words; a path into the text could repeat parts of it."""
    return str(error).split(" - at ", 1)[0]


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _members(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise ValueError(f"is nested deeper than {MAX_DEPTH}")


def _members(container: Any) -> Iterable[object]:  # noqa: ANN401 - a dict or a list of anything
    return container.values() if isinstance(container, dict) else container


def _check_members(raw: bytes) -> None:
    json.loads(raw, object_pairs_hook=_refuse_duplicates)


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("names a member twice")
