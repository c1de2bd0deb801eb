"""A run gives the records that went into it, cut and joined as anybody likes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processor.run import Row, Run, read_headers, write_headers

PARTS = st.none() | st.binary(max_size=40)
#: Their values may be None, whatever the type of a record's headers says.
HEADERS: Any = st.lists(st.tuples(st.text("tch-é", max_size=4), PARTS), max_size=3)
ROWS = st.lists(st.tuples(PARTS, PARTS, st.integers(0, 2**40), HEADERS), min_size=1, max_size=12).map(
    lambda rows: [Row(key, value, 7 * n, t, headers) for n, (key, value, t, headers) in enumerate(rows)]
)


def bare(run: Run) -> Run:
    """The same without the records it was made of."""
    return Run(run.buffer, run.columns)


@given(rows=ROWS)
def test_records_come_back_as_they_went_in(rows: list[Row]) -> None:
    run = Run.of(rows)
    assert list(bare(run)) == rows
    assert all(found is row for found, row in zip(run, rows, strict=True))
    assert bare(run)[-1] == rows[-1]


@given(rows=ROWS, data=st.data())
def test_runs_that_are_cut_and_joined_hold_the_same_records(rows: list[Row], data: st.DataObject) -> None:
    run, parts = bare(Run.of(rows)), []
    at = 0
    while at < len(rows):
        size = data.draw(st.integers(1, len(rows) - at))
        parts.append(run[at : at + size])
        at += size
    joined = Run.join(parts)
    assert list(joined) == rows
    assert len(joined.buffer) == len(run.buffer)
    assert list(Run.join([])) == []


@given(rows=ROWS, offset=st.integers(-5, 100))
def test_since_an_offset_are_those_from_it_on(rows: list[Row], offset: int) -> None:
    since = Run.of(rows).since(offset)
    assert list(since) == list(bare(Run.of(rows)).since(offset)) == [r for r in rows if r.offset >= offset]


def test_a_cleared_run_keeps_nothing() -> None:
    run = Run.of([Row(b"k", b"v", 0, 0, [])])
    run.clear()
    assert (len(run), run.buffer, run.kept) == (0, b"", None)


@given(headers=HEADERS)
def test_headers_are_read_as_they_were_written(headers: list[tuple[str, bytes]]) -> None:
    assert list(read_headers(write_headers(headers))) == headers


def test_the_usual_header_is_written_as_kafka_writes_it() -> None:
    assert write_headers([("t", b"telemetry")]) == b"\x02\x02t\x12telemetry"


def test_headers_may_be_long_and_have_no_value() -> None:
    headers: Any = [("n", None), ("", b"x" * 100)]
    written = b"\x04\x02n\x01\x00\xc8\x01" + b"x" * 100
    assert write_headers(headers) == written
    assert list(read_headers(written)) == headers
