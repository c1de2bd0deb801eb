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
    return _telemetry(asset, {"ts": t, "metrics": metrics}, seq, t if received is None else received)


def unstamped(
    asset: str, received: int, /, *, seq: int | None = None, replay: bool = False, **metrics: object
) -> Written:
    """Telemetry without a time of its own; `replay`: written back from the dead letters."""
    record = _telemetry(asset, {"metrics": metrics}, seq, received)
    return record._replace(headers=[*record.headers, ("replay", b"dead/0/1")]) if replay else record


def _telemetry(asset: str, message: dict[str, object], seq: int | None, received: int) -> Written:
    if seq is not None:
        message["seq"] = seq
    return payload(asset, json.dumps(message).encode(), received=received)


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
