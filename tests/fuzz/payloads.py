"""Hostile payloads for every format: from a seed, half of them structured mutations, half broken bytes.

``python -m tests.fuzz.payloads`` feeds 100,000 of each format to the codec and to an engine: none may raise
anything but a dead letter, each must be accounted for to the sample, and none may take long.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from processor.codec.formats import Codec
from processor.engine import Engine, Limits
from processor.errors import DeadLetter
from processor.rules import parse_rules
from tests.support.payloads import ASSET, RECEIVED, cbor, metric, payload, senml_cbor, varint
from tests.support.payloads import field as encoded
from tests.support.telemetry import Written, rules_text

#: CPU seconds that one payload of at most `LARGEST` bytes may take: some hundred times what the worst did.
LONGEST = 2.0
LARGEST = 65_536
_BATCH = 500
_ODD: list[Any] = [
    0, 1, -1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, -(2**63), 1e308, -1e308, 5e-324, 0.1,
    float("nan"), float("inf"),
    True, False, None, "", "a", "a/b", "ä", "\x00", "x" * 65, "\ud800", [], {}, [1], {"v": 1}, 1_700_000_000,
    1_700_000_000_000, -5, 268_435_455, 268_435_456, ASSET, "02iAB00000CdEfH", "urn:dev:ow:1:t", "engUnit",
]  # fmt: skip


@dataclass
class Tally:
    """What became of one format's payloads."""

    payloads: int = 0
    read: int = 0
    longest: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)


def feed(format_name: str, count: int, seed: int) -> Tally:
    """Feed payloads of one format; raises AssertionError when one is not accounted for, or takes too long."""
    source = random.Random(f"{seed} {format_name}")
    limits = Limits(
        payload_bytes=LARGEST, messages=200, metrics=50, series=300,
        formats={"assets/+/#": format_name},  # type: ignore[dict-item] # one of the five, by `FORMATS`
    )  # fmt: skip
    codec, tally = Codec(limits), Tally()
    rules = parse_rules(rules_text("{threshold: {above: 80}}"))
    made = payloads(format_name, source)
    while tally.payloads < count:
        batch = [next(made) for _ in range(min(_BATCH, count - tally.payloads))]
        received = sum(_read(codec, tail, value, tally) for tail, value in batch)
        # A new memory each time, else all that follows would be late.
        engine = Engine(rules, partition=0, limits=limits, jit=False)
        key = ASSET.encode()
        records = [Written(key, value, n, RECEIVED, [("t", tail)]) for n, (tail, value) in enumerate(batch)]
        outcome = engine.advance(records)
        assert outcome.counts.balanced, outcome.counts
        assert outcome.counts.received == received, (outcome.counts, received)
        assert all(one.record in records and one.record.value is not None for one in outcome.dead)
    return tally


def _read(codec: Codec, tail: bytes, value: bytes, tally: Tally) -> int:
    """Samples of a payload, as the engine must count them."""
    tally.payloads += 1
    began = time.process_time()
    try:
        readings = codec.read(tail, value, RECEIVED, ASSET)
    except DeadLetter as letter:
        tally.reasons[letter.reason] = tally.reasons.get(letter.reason, 0) + 1
        samples = 1
    else:
        tally.read += 1
        samples = sum(len(each.values) for each in readings)
        for each in readings:
            assert len(each.names) == len(each.values) == len(set(each.names)) > 0
            assert all(type(v) is float and v - v == 0 for v in each.values)
            assert 0 <= each.t <= RECEIVED + 300_000
            # A unit goes into the JSON of a finding.
            assert each.units is None or all(unit.encode() or not unit for unit in each.units)
    took = time.process_time() - began
    tally.longest = max(tally.longest, took)
    assert took < LONGEST, f"{took} s for {len(value)} bytes: {value[:200]!r}"
    return samples


def payloads(format_name: str, source: random.Random) -> Iterator[tuple[bytes, bytes]]:
    """Topic tails and payloads without end."""
    make = FORMATS[format_name]
    last = make(source)
    while True:
        value = make(source)
        if source.random() < 0.5:
            value = _break(value, last, source)
        last = value[:2000] or last
        yield source.choice((b"telemetry", b"telemetry", b"telemetry/a")), value[: LARGEST + 10]


def _break(value: bytes, other: bytes, source: random.Random) -> bytes:
    """Bytes flipped, cut, doubled, spliced, or random altogether."""
    data = bytearray(value)
    for _ in range(source.choice((1, 1, 2, 5))):
        at = source.randrange(len(data) + 1)
        match source.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << source.randrange(8)
            case 1 if data:
                data[at % len(data)] = source.choice((0, 1, 0x7F, 0x80, 0xFF, 0x9F, 0xBF, 0x5B, 0x22))
            case 2:
                del data[at : at + source.randrange(1, 9)]
            case 3:
                data[at:at] = data[at : at + source.randrange(1, 40)]
            case 4:
                data[at:] = other[source.randrange(len(other) + 1) :]
            case 5:
                data[at:at] = source.randbytes(source.randrange(1, 9))
            case 6:
                del data[at:]
            case _:
                if source.random() < 0.1:
                    data = bytearray(source.randbytes(source.choice((0, 1, 10, 300))))
    return bytes(data)


def _odd(source: random.Random) -> Any:  # noqa: ANN401 - whatever a device may send
    return source.choice(_ODD)


def _name(source: random.Random) -> Any:  # noqa: ANN401 - as above
    return source.choice(("a", "b", "temperature", "c.d")) if source.random() < 0.9 else _odd(source)


def _number(source: random.Random) -> Any:  # noqa: ANN401 - as above
    return round(source.uniform(-100, 100), 2) if source.random() < 0.9 else _odd(source)


def _json(source: random.Random) -> bytes:
    def message() -> object:
        made: dict[str, Any] = {
            "metrics": {str(_name(source)): _number(source) for _ in range(source.randrange(5))}
        }
        for name in ("ts", "seq", "asset", "metrics", "x"):
            if source.random() < 0.1:
                made[name] = _odd(source)
        return made

    kind = source.random()
    found = message() if kind < 0.7 else [message() for _ in range(source.choice((0, 1, 3, 201)))]
    return _dumps(_odd(source) if kind > 0.95 else found)


def _dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _pack(source: random.Random) -> Any:  # noqa: ANN401 - as above
    if source.random() < 0.02:
        return _odd(source)
    records = []
    for _ in range(source.choice((1, 1, 2, 3, 8, 60, 201)) if source.random() < 0.2 else 2):
        record: dict[str, Any] = {"n": _name(source), "v": _number(source)}
        for label, share in {"bn": 0.1, "bt": 0.1, "t": 0.3, "u": 0.3, "bu": 0.05, "bv": 0.05}.items():
            if source.random() < share:
                usual = {"bn": "urn:dev:ow:1:", "bt": 1_699_999_000, "u": "Cel", "bu": "V"}.get(label, 1)
                record[label] = usual if source.random() < 0.9 else _odd(source)
        if source.random() < 0.1:
            del record["v"]
            record[source.choice(("vs", "vb", "vb", "vd", "s", "v_", "x"))] = source.choice(
                (True, "text", _odd(source))
            )
        records.append(record)
    return records


def _cbor(source: random.Random) -> bytes:
    try:
        value = senml_cbor(_pack(source))
    except UnicodeEncodeError:
        value = cbor(_ODD[: source.randrange(6)])
    if source.random() < 0.05:
        head = bytes([source.choice((0x9F, 0xBF, 0x5F, 0x7F, 0xC4, 0xD9, 0x9B, 0xBB, 0x81, 0xA1))])
        value = head * source.choice((1, 2, 50, 1000)) + value
    return value


def _sparkplug(source: random.Random) -> bytes:
    def one() -> bytes:
        name = str(_name(source)).encode("utf-8", "replace").decode()
        kinds = ("integer", "long", "single", "double", "boolean")
        kind = source.choice(kinds) if source.random() < 0.8 else source.choice(("string", "data", "none"))
        odd = source.random() < 0.1
        values: Mapping[str, Any] = {
            "integer": source.choice((2**31, 2**32 - 1, 2**63)) if odd else 5,
            "long": source.choice((2**63, 2**64 - 1)) if odd else -9,
            "single": source.choice((float("nan"), 1e30)) if odd else 1.5,
            "double": source.choice((float("inf"), -0.0)) if odd else 2.5,
            "boolean": True,
            "string": "text",
            "data": b"\xff\x00",
            "none": None,
        }
        fitting = {"integer": 7, "long": 4, "single": 9, "double": 10, "boolean": 11}.get(kind, 12)
        made = metric(
            name if source.random() < 0.9 else None,
            alias=source.choice((None, None, 7)),
            timestamp=source.choice((None, RECEIVED, 0, 2**63)) if source.random() < 0.2 else None,
            datatype=fitting if source.random() < 0.8 else source.choice((1, 7, 8, 99)),
            null=source.random() < 0.05,
            properties={"engUnit": source.choice(("Cel", "x" * 40, "\x07"))}
            if source.random() < 0.2
            else None,
            **({} if kind == "none" else {kind: values[kind]}),
        )
        return made + encoded(source.randrange(1, 30), source.choice((1, b"x"))) * (source.random() < 0.05)

    count = source.choice((0, 1, 2, 3, 60, 201)) if source.random() < 0.1 else 2
    value = payload(
        [one() for _ in range(count)],
        timestamp=source.choice((None, RECEIVED, 2**60)) if source.random() < 0.3 else RECEIVED,
        seq=source.choice((None, 0, 255, 2**53)),
    )
    return value + varint(source.randrange(2**16)) * (source.random() < 0.05)


def _text(source: random.Random) -> bytes:
    return str(_number(source)).encode("utf-8", "replace")


FORMATS: dict[str, Callable[[random.Random], bytes]] = {
    "json": _json,
    "senml+json": lambda source: _dumps(_pack(source)),
    "senml+cbor": _cbor,
    "sparkplug": _sparkplug,
    "text": _text,
}


def bombs() -> Iterator[tuple[str, bytes]]:
    """For each format, what costs most for its size."""
    size = LARGEST
    yield "json", b"[" * size
    yield "json", b'{"metrics":{' + b",".join(b'"m%d":1' % n for n in range(6000)) + b"}}"
    yield "json", b'{"metrics":{"a":' + b"9" * (size - 30) + b"}}"
    yield "senml+json", b"[" + b"{}," * (size // 3 - 2) + b"{}]"
    yield "senml+json", _dumps([{"n": "a", "v": 1}] * 200)
    yield "senml+json", b'[{"n":"' + b"a:" * (size // 2 - 20) + b'","v":1}]'
    yield "senml+cbor", b"\x9f" * size
    yield "senml+cbor", b"\x81" * size
    yield "senml+cbor", b"\x9f" + b"\xa0" * (size - 2) + b"\xff"
    yield "senml+cbor", b"\x7f" + b"\x60" * (size - 2) + b"\xff"
    yield "senml+cbor", b"\xbf" + b"\x00\x00" * (size // 2 - 1)
    yield "senml+cbor", b"\x81\xa2\x00\x61a\x02\xc4\x82\x1b" + b"\x7f" * 8 + b"\x1b" + b"\xff" * 8
    yield "sparkplug", b"\x12\x00" * (size // 2)
    yield "sparkplug", b"\x38\x01" * (size // 2)
    yield "sparkplug", encoded(2, encoded(1, "a") + encoded(9, b"\x0a\x00" * (size // 2 - 50)))
    yield "sparkplug", b"\x12" + b"\x80" * (size - 1)
    yield "text", b"9" * size
    yield "text", b" " * size


def main(arguments: list[str]) -> int:
    """Feed every format, and print what became of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.payloads", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="payloads a format (default 100,000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same payloads")
    args = parser.parse_args(arguments)
    for name in FORMATS:
        tally = feed(name, args.count, args.seed)
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(tally.reasons.items()))
        print(
            f"{name}: {tally.payloads} payloads, {tally.read} read, {tally.payloads - tally.read} set aside, "
            f"longest {tally.longest * 1000:.1f} ms CPU; {reasons}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
