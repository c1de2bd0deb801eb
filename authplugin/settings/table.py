"""What every table of a configuration is made of: its base, and how a key says what it means."""

from typing import Annotated

import msgspec

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: frozen, and closed to names it does not know."""


def meta(description: str, **extra: object) -> msgspec.Meta:
    """A key's meaning."""
    return msgspec.Meta(description=description, extra=extra)


def number(description: str, *, ge: float, le: float, unit: str | None = None) -> msgspec.Meta:
    """A number's meaning, bounds and unit."""
    return msgspec.Meta(description=description, ge=ge, le=le, extra={"unit": unit} if unit else None)
