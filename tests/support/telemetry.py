"""Records as the bridge writes them, for the engine."""

import json
from collections.abc import Sequence
from typing import NamedTuple

START = 1_800_000_000_000
"""A time to begin at, milliseconds since the epoch."""


class Written(NamedTuple):
    """One record of the telemetry topic."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]]


def sent(
    asset: str, t: int, /, *, seq: int | None = None, received: int | None = None, **metrics: object
) -> Written:
    """Telemetry of one asset at event time `t`."""
    message: dict[str, object] = {"ts": t, "metrics": metrics}
    if seq is not None:
        message["seq"] = seq
    return payload(asset, json.dumps(message).encode(), received=t if received is None else received)


def payload(asset: str, value: bytes, *, received: int = START, tail: bytes = b"telemetry") -> Written:
    """Any payload of one asset."""
    return Written(asset.encode(), value, 0, received, [("t", tail)])


def event(asset: str, t: int, kind: str) -> Written:
    """A device's own event."""
    value = json.dumps({"ts": t, "data": {}}).encode()
    return payload(asset, value, received=t, tail=f"events/{kind}".encode())


def beat(t: int, bridge: str = "bridge") -> Written:
    """A heartbeat."""
    return Written(None, json.dumps({"ts": t, "bridge": bridge}).encode(), 0, t, [("hb", b"1")])


def rules_text(detect: str, *, select: str = "{metric: temperature}", more: str = "") -> str:
    """A rule file of one rule named ``r``."""
    return f"""
rules:
  - id: r
    kind: case
    severity: high
    title: Something is wrong
    select: {select}
    detect: {detect}
    {more}
"""
