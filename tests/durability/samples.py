"""What the fleet sends: every sample is known by its asset, its number and its metric.

An asset's message ``seq`` has the event time ``START + seq`` seconds and five metrics that follow from
(asset, seq) alone. Between them come those that must not be judged: repeats, other values for an event time
that has been, event times from before, and payloads that are none.
"""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

METRICS = 5
START = 1_760_000_000_000
#: Of every ten messages of an asset so many are hot: one case is opened and closed again.
PERIOD, HOT = 10, 3

RULES = """
rules:
  - {id: hot, kind: case, severity: high, title: Too hot, select: {metric: temperature},
     detect: {threshold: {above: 80, hysteresis: 5}}}
  - {id: dry, kind: case, severity: medium, title: Too dry, select: {metric: humidity}, for: 2s, clear: 3s,
     detect: {threshold: {below: 25}}}
  - {id: odd, kind: opportunity, severity: low, title: Unlike itself, select: {metric: current},
     detect: {ewma: {deviations: 3, window: 20s, samples: 8}}}
  - {id: stuck, kind: case, severity: low, title: It does not move, select: {metric: pressure},
     detect: {stuck: {over: 4s}}}
  - {id: rising, kind: opportunity, severity: low, title: Rising fast, select: {metric: voltage},
     detect: {rate: {rising: 4, per: 1s, window: 4s}}}
  - {id: silent, kind: case, severity: high, title: Nothing heard, detect: {silence: {after: 120s}}}
"""


class Sort(StrEnum):
    """What a message is, and so what must become of it."""

    SAMPLE = "sample"
    REPEAT = "repeat"
    CONFLICT = "conflict"
    LATE = "late"
    GARBAGE = "garbage"


class Message(NamedTuple):
    """One publication of a device."""

    sort: Sort
    asset: str
    payload: bytes


def asset_id(number: int) -> str:
    """An id in the form that the issuer gives."""
    return f"02iDU{number:010d}AAA"


def temperature(asset: int, seq: int) -> float:
    """Hot or cool, and never in between."""
    return (95.0 if (seq + asset) % PERIOD < HOT else 20.0) + asset % 7


def turns(asset: int, messages: int) -> Iterator[tuple[str, int]]:
    """(opened or closed, event time in ms) of the rule ``hot``: reckoned here, without the engine."""
    was = False
    for seq in range(messages):
        hot = (seq + asset) % PERIOD < HOT
        if hot != was:
            yield ("opened" if hot else "closed"), START + seq * 1000
        was = hot


def messages(asset: int, seq: int) -> Iterator[Message]:
    """All that an asset publishes when its number is ``seq``, in order."""
    name, salt = asset_id(asset), asset * 7919 + seq * 104_729
    t = START + seq * 1000
    whole = _payload(asset, seq, t, salt, seq)
    yield Message(Sort.SAMPLE, name, whole)
    if salt % 83 == 0:
        yield Message(Sort.REPEAT, name, whole)
    if salt % 97 == 0:
        yield Message(Sort.CONFLICT, name, _payload(asset, seq, t, salt + 13, None))
    if salt % 101 == 0 and seq:
        yield Message(Sort.LATE, name, _payload(asset, seq, t - 500, salt, None))
    if salt % 89 == 0:
        yield Message(Sort.GARBAGE, name, b'{"ts":%d,"metrics":' % t)


def _payload(asset: int, seq: int, t: int, salt: int, number: int | None) -> bytes:
    noise = salt * 2_654_435_761 % 4_294_967_296
    metrics = {
        "temperature": temperature(asset, seq) + (0.25 if number is None else 0.0),
        "humidity": float(20 + noise % 30 if (salt // 3) % 5 else 10),
        "current": 10 + noise % 100 / 100 + (9 if noise % 41 == 0 else 0),
        "pressure": float(seq // 6 % 50 if asset % 3 else noise % 977),
        "voltage": 220 + noise % 17 / 2,
    }
    body: dict[str, object] = {"ts": t, "metrics": metrics}
    if number is not None:
        body["seq"] = number
    return json.dumps(body, separators=(",", ":")).encode()
