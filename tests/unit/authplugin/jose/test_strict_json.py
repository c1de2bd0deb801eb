"""One reading of every JSON text, or none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.jose.json import MAX_DEPTH, parse_object

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, VALUES, max_size=6), st.sampled_from([True, False]), st.none() | st.just(1))
def test_object_is_read_as_the_standard_library_reads_it(
    value: dict[str, object],
    ascii_only: bool,  # noqa: FBT001 - hypothesis passes both ways
    indent: int | None,
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert parse_object(raw) == value == json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"a":1,"a":1}', "names a member twice"),
        (b'{"a":1,"\\u0061":1}', "names a member twice"),
        (b'{"a":{"b":1,"c":2,"b":3}}', "names a member twice"),
        (b'{"a":[[{"b":1,"b":3}]]}', "names a member twice"),
        (b"[]", "not a JSON object"),
        (b"1", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"", "is not JSON"),
        (b'{"a":NaN}', "is not JSON"),
        (b'{"a":1e400}', "is not JSON"),
        (b'{"a":"\\ud800"}', "is not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "is not JSON"),
        (b'{"a":"\xff"}', "is not UTF-8"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested deeper"),
        (b"[" * 100_000, "nested deeper"),
        (b"[1x", "is not JSON"),
        (b'["\xff"]', "is not UTF-8"),
    ],
)
def test_text_with_two_readings_or_none_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_object(raw)


def test_depth_is_bounded_and_width_is_not() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)

    assert parse_object(nested(MAX_DEPTH))
    with pytest.raises(ValueError, match="deeper than 16"):
        parse_object(nested(MAX_DEPTH + 1))
    with pytest.raises(ValueError, match="deeper than 16"):
        parse_object(b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}")
    assert parse_object(json.dumps({"a": [{"b": number} for number in range(100)]}).encode())


def test_errors_never_show_the_text() -> None:
    for raw in (
        b'{"secret-text":',
        b'{"a":"secret-text\xff"}',
        b'{"secret-text":1,"secret-text":2}',
        b'"secret-text"',
    ):
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is what is looked at
            parse_object(raw)
        assert "secret" not in str(refused.value)
