"""The compiled reader takes the usual message, whole and to the bit, and nothing that it is not sure of."""

import json
import struct
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor.codec.formats import Codec
from processor.codec.instant import LATEST
from processor.codec.usual import SHAPES
from processor.detect.kernel import plain
from processor.engine import directory, intake, order
from processor.engine.directory import Directory
from processor.engine.passes import ordering
from processor.errors import DeadLetter
from processor.limits import Limits
from processor.run import Row, Run, write_headers
from tests.support.telemetry import START

KEY = b"press-7"
NAMES = ("temperature", "pressure", "flow")
USUAL = ("t", b"telemetry")
HEADER = np.frombuffer(write_headers([USUAL]), np.uint8)
LIMITS = Limits()
LATER = START + 60_000


class Taken(NamedTuple):
    """A message as the reader gives it; values by their bits."""

    asset: int
    t: int
    seq: int
    values: list[bytes]
    kind: int = 0


def bits(value: float) -> bytes:
    return struct.pack(">d", value)


def meet(known: Directory, *assets: tuple[bytes, tuple[str, ...] | None]) -> None:
    """Add assets, those with names of metrics with their shape."""
    for key, names in assets:
        at = known.add(key)
        if names is not None:
            known.set_shape(at, names)


def take(run: Run, known: Directory, *, jit: bool) -> list[Taken | None]:
    """What becomes of each record of a run."""
    taken, rows = np.empty(len(run), np.int64), np.zeros(len(run), order.RECORD)
    values = np.full(len(run.buffer) // 5 + LIMITS.metrics, 7.0)
    run_take = ordering(jit=True).take if jit else plain(intake.take)
    run_take(
        np.frombuffer(run.buffer, np.uint8), run.columns, HEADER, LIMITS.payload_bytes, LIMITS.metrics,
        LATEST, round(LIMITS.clock_ahead * 1000), known.columns, rows, values, taken,
    )  # fmt: skip
    found: list[Taken | None] = []
    done = 0
    for upto, row in zip(taken.tolist(), rows, strict=True):
        if upto < 0:
            found.append(None)
        else:
            own = [bits(value) for value in values[done:upto].tolist()]
            found.append(Taken(int(row["asset"]), int(row["t"]), int(row["seq"]), own, int(row["kind"])))
            assert row["runs"] == 0
            done = upto
    return found


def one(payload: bytes, *, jit: bool, names: tuple[str, ...] = NAMES) -> Taken | None:
    """What becomes of one payload of an asset whose messages have these names."""
    known = Directory(ordering(jit=jit).enter if jit else plain(directory.enter))
    meet(known, (b"another", None), (KEY, names))
    (found,) = take(Run.of([Row(KEY, payload, 0, LATER, [USUAL])]), known, jit=jit)
    return found


def general(payload: bytes) -> Taken | None:
    """The same by the general road, when that gives one message with all of the names."""
    try:
        readings = Codec(LIMITS).read(b"telemetry", payload, LATER, KEY.decode())
    except DeadLetter:
        return None
    (reading,) = readings if len(readings) == 1 else (None,)
    if reading is None or set(reading.names) != set(NAMES) or reading.units is not None:
        return None
    values = dict(zip(reading.names, reading.values, strict=True))
    return Taken(1, reading.t, reading.seq, [bits(values[name]) for name in NAMES], int(not reading.stamped))


NUMBERS = st.one_of(
    st.integers(-(10**17), 10**17),
    st.floats(-1e15, 1e15),
    st.floats(-1e6, 1e6).map(lambda v: round(v, 3)),
    st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Messages in any order of members, with and without spaces."""
    names = draw(st.permutations(NAMES))
    members: dict[str, object] = {"metrics": {name: draw(NUMBERS) for name in names}}
    if draw(st.booleans()):
        members["ts"] = draw(st.integers(0, LATER))
    if draw(st.booleans()):
        members["seq"] = draw(st.integers(0, 2**53 - 1))
    if draw(st.booleans()):
        members["asset"] = KEY.decode()
    ordered = dict(draw(st.permutations(list(members.items()))))
    return json.dumps(ordered, indent=draw(st.sampled_from([None, 1]))).encode()


@pytest.mark.parametrize("jit", [True, False])
@settings(max_examples=200, deadline=None)
@given(payload=messages())
def test_what_is_taken_is_what_the_general_road_reads_to_the_bit(payload: bytes, *, jit: bool) -> None:
    taken = one(payload, jit=jit)
    assert taken is None or taken == general(payload)


@pytest.mark.parametrize("jit", [True, False])
@settings(max_examples=300, deadline=None)
@given(payload=messages(), wounds=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=3))
def test_of_a_mutilated_message_nothing_is_taken_that_the_general_road_refuses(
    payload: bytes, wounds: list[tuple[int, int]], *, jit: bool
) -> None:
    text = bytearray(payload)
    for place, byte in wounds:
        text[place % len(text)] = byte
    taken = one(bytes(text), jit=jit)
    assert taken is None or taken == general(bytes(text))


@settings(max_examples=200, deadline=None)
@given(text=st.from_regex(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
@example("0.30000000000000004")
@example("9007199254740993.0")
@example("72057594037927945.5")
@example("1.00000000000000011")
@example("123456789012345678")
def test_a_decimal_is_the_double_next_to_it(text: str) -> None:
    taken = one(b'{"metrics":{"flow":%b}}' % text.encode(), jit=True, names=("flow",))
    assert taken is None or taken.values == [bits(float(text))]


@pytest.mark.parametrize(
    "text",
    ["0", "7", "-7", "50.25", "49.99", "0.1", "-0.001", "0.30000000000000004", "51.23456789012345", "1e3",
     "1.5E+2", "25e-1", "123456789012345678", "0.000000000000000001", "4.35", "1e22", "9007199254740993.1"],
)  # fmt: skip
@pytest.mark.parametrize("jit", [True, False])
def test_numbers_as_devices_write_them_are_taken(text: str, *, jit: bool) -> None:
    taken = one(b'{"metrics":{"flow":%b}}' % text.encode(), jit=jit, names=("flow",))
    assert taken == Taken(1, LATER, -1, [bits(float(text))], 1)


@pytest.mark.parametrize(
    "text",
    ["01", "1.", ".5", "+1", "1e", "1e+", "- 1", "0x1", "1_0", "NaN", "Infinity", "-", "", "1e999", "1e-999",
     "true", "null", '"1"', "1 2", "1.2.3", "--1", "[1]", '{"v":1}', "-0", "-0.0", "1.234567890123456789",
     "12345678901234567e2", "1234567890123456789"],
)  # fmt: skip
@pytest.mark.parametrize("jit", [True, False])
def test_what_is_no_plain_number_or_has_too_many_digits_is_left(text: str, *, jit: bool) -> None:
    assert one(b'{"metrics":{"flow":%b}}' % text.encode(), jit=jit, names=("flow",)) is None


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("text", [b"90071992547409930e-1", b"90071992547409950e-1"])
def test_a_number_in_the_middle_between_two_doubles_is_left(text: bytes, *, jit: bool) -> None:
    assert one(b'{"metrics":{"flow":%b}}' % text, jit=jit, names=("flow",)) is None


@pytest.mark.parametrize("jit", [True, False])
def test_nothing_is_written_beyond_the_room_for_values(*, jit: bool) -> None:
    names = tuple(f"m{n}" for n in range(2 * LIMITS.metrics))
    assert one(b'{"metrics":{"m0":1}}', jit=jit, names=names) is None


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"key": None}, {"key": b"nobody"}, {"key": b"press-"}, {"key": b"press-77"}, {"key": b"another"},
        {"value": None}, {"value": b""}, {"timestamp": -1}, {"timestamp": LATEST + 1}, {"headers": []},
        {"headers": [("t", b"telemetrx")]}, {"headers": [("t", b"telemetry"), ("ct", b"text/plain")]},
        {"value": b" " * LIMITS.payload_bytes + b'{"metrics":{"flow":1}}'},
        {"value": b'{"ts":%d,"metrics":{"flow":1}}' % (LATER + 10**9)},
    ],
)  # fmt: skip
def test_a_record_of_another_kind_is_left_between_those_that_are_taken(
    change: dict[str, Any], *, jit: bool
) -> None:
    known = Directory(plain(directory.enter))
    meet(known, (b"another", None), (KEY, ("flow",)))
    row = Row(KEY, b'{"metrics":{"flow":1}}', 0, LATER, [USUAL])
    found = take(Run.of([row, row._replace(**change), row]), known, jit=jit)
    assert found == [Taken(1, LATER, -1, [bits(1)], 1), None, Taken(1, LATER, -1, [bits(1)], 1)]


def find(known: Directory, keys: list[bytes]) -> list[int | None]:
    records = [Row(key, b'{"metrics":{"flow":1}}', n, LATER, [USUAL]) for n, key in enumerate(keys)]
    return [None if each is None else each.asset for each in take(Run.of(records), known, jit=True)]


def test_every_key_is_found_by_its_asset_however_many_come_at_once() -> None:
    known = Directory(ordering(jit=True).enter)
    keys = [b"02iAB%010dAAA" % n for n in range(1000)]
    for count in (1, 40, 40, 41, 1000):
        meet(known, *((key, ("flow",)) for key in keys[len(known) : count]))
        assert find(known, keys) == [*range(count), *[None] * (1000 - count)]


def test_a_key_that_another_begins_with_is_another() -> None:
    known = Directory(ordering(jit=True).enter)
    meet(known, *((b"x" * size, ("flow",)) for size in range(1, 31)))
    # Half of the slots are in use: many of the strangers meet one that begins as they do.
    assert find(known, [b"x" * size for size in range(1, 300)]) == [*range(30), *[None] * 269]


def test_an_asset_is_read_from_when_its_shape_is_known_and_not_beyond_the_most_shapes() -> None:
    known = Directory(plain(directory.enter))
    keys = [b"%d" % n for n in range(SHAPES + 1)]
    meet(known, (keys[0], None), *((keys[n], (f"m{n}",)) for n in range(1, SHAPES)), (keys[SHAPES], None))
    known.set_shape(0, ("flow",))
    known.set_shape(SHAPES, ("late",))
    records = [
        Row(b"0", b'{"metrics":{"flow":1}}', 0, LATER, [USUAL]),
        Row(b"9", b'{"metrics":{"m9":1}}', 0, LATER, [USUAL]),
        Row(b"9", b'{"metrics":{"flow":1}}', 0, LATER, [USUAL]),
        Row(keys[SHAPES], b'{"metrics":{"late":1}}', 0, LATER, [USUAL]),
    ]
    found = take(Run.of(records), known, jit=False)
    assert [None if each is None else each.asset for each in found] == [0, 9, None, None]


def test_the_reader_and_msgspec_agree_on_a_fleet_of_numbers() -> None:
    chance = np.random.default_rng(7)
    values = [*chance.normal(50, 8, 20_000).tolist(), *np.round(chance.normal(0, 1e4, 20_000), 2).tolist()]
    values += (chance.integers(2**53, 10**18, 20_000) / 10.0 ** chance.integers(0, 19, 20_000)).tolist()
    values += chance.normal(0, 0.01, 20_000).tolist()
    known = Directory(ordering(jit=True).enter)
    meet(known, (KEY, ("flow",)))
    texts = [msgspec.json.encode(value) for value in values]
    run = Run.of([Row(KEY, b'{"metrics":{"flow":%b}}' % text, 0, LATER, [USUAL]) for text in texts])
    found = take(run, known, jit=True)
    assert [None if each is None else each.values[0] for each in found if each] == [
        bits(value) for value, each in zip(values, found, strict=True) if each
    ]
    # Left are those of more digits than an int64 takes, far below zero.
    assert sum(each is None for each in found) < len(found) / 20
