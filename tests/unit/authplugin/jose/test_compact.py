"""The compact form: one spelling a token, checked before anything is decoded."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authplugin.errors import Reason, Refused
from authplugin.jose.base64url import decode_letters, encode
from authplugin.jose.compact import BEGINNINGS, ENDINGS, MAX_TOKEN_BYTES, Header, parse_header, split
from authplugin.testing.mint import base64url

RS256 = frozenset({"RS256"})
TO_STANDARD = bytes.maketrans(b"-_", b"+/")


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b" ", b"\r\n\t"]),
    st.binary(max_size=900),
    st.binary(max_size=300),
)
def test_parts_come_back_as_they_were_written(
    members: bytes, space: bytes, payload: bytes, signature: bytes
) -> None:
    header = space + b"{" + members + b"}" + space
    token = b".".join(map(base64url, (header, payload, signature)))
    compact = split(token)
    assert (compact.header, compact.payload, compact.signature) == (header, payload, signature)
    assert compact.signing_input + b"." + base64url(signature) == token


@given(st.binary(max_size=400))
def test_anything_that_splits_is_the_one_spelling_of_its_parts(token: bytes) -> None:
    try:
        compact = split(token)
    except Refused as refused:
        assert refused.reason is Reason.MALFORMED  # noqa: PT017 - most inputs are refused, some are not
        return
    assert b".".join(map(base64url, (compact.header, compact.payload, compact.signature))) == token


@given(st.text("ABCDwxyz0189-_.=+/ \n!", max_size=60))
def test_near_tokens_split_to_their_one_spelling_or_not_at_all(text: str) -> None:
    test_anything_that_splits_is_the_one_spelling_of_its_parts.hypothesis.inner_test(text.encode())  # type: ignore[attr-defined] # hypothesis keeps the plain function there


@given(st.binary(max_size=100))
@example(b"")
@example(b"\x00")
@example(b"\xff" * 3)
def test_base64url_agrees_with_the_standard_library(octets: bytes) -> None:
    letters = base64.urlsafe_b64encode(octets).rstrip(b"=")
    assert encode(octets).encode() == letters
    assert decode_letters(letters.translate(TO_STANDARD)) == octets


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", max_size=12))
def test_letters_decode_only_if_they_are_the_one_spelling(text: str) -> None:
    letters = text.encode()
    canonical = len(letters) % 4 != 1 and base64url(
        base64.urlsafe_b64decode(letters + b"=" * (-len(letters) % 4))
    )
    if canonical == letters:
        assert encode(decode_letters(letters.translate(TO_STANDARD))) == text
    else:
        with pytest.raises(ValueError, match="does not end"):
            decode_letters(letters.translate(TO_STANDARD))


def test_longest_token_is_split_and_one_byte_more_is_not() -> None:
    token = base64url(b"{}") + b".." + b"A" * (MAX_TOKEN_BYTES - 5)
    assert len(token) == MAX_TOKEN_BYTES
    assert split(token).header == b"{}"
    with pytest.raises(Refused) as refused:
        split(token + b"A")
    assert refused.value.reason is Reason.TOO_LONG


def test_parts_never_show_in_a_repr() -> None:
    compact = split(b".".join(map(base64url, (b"{header}", b"payload", b"signature"))))
    assert repr(compact) == "Compact(8 + 7 + 9 bytes)"


@pytest.mark.parametrize("first", b"{ \t\n\r")
def test_every_token_with_a_json_header_has_one_of_the_beginnings(first: int) -> None:
    assert {base64url(bytes([first, second]))[0] for second in range(256)} <= BEGINNINGS


@pytest.mark.parametrize("length", [12, 13, 14])
def test_every_token_with_a_json_header_has_one_of_the_endings_of_its_length(length: int) -> None:
    """And no more letters than those: what else has one of them differs in bits that the letter has not."""
    ends = {last: base64url(bytes(length - 1) + bytes([last])) for last in range(256)}
    (remainder,) = {len(part) & 3 for part in ends.values()}
    assert {ends[last][-1] for last in b"} \t\n\r"} == ENDINGS[remainder]


def test_no_header_has_one_letter_over_four() -> None:
    assert not ENDINGS[1]


@pytest.mark.parametrize(
    "header", [b"header", b"{", b"}", b"[]", b" {", b"{}x", b"x{}", b"\xef\xbb\xbf{}", b"\x00{}"]
)
def test_a_header_without_braces_around_it_is_refused_before_the_rest_is_decoded(header: bytes) -> None:
    with pytest.raises(Refused) as refused:
        split(b".".join((base64url(header), b"A", b"A")))
    assert refused.value.reason is Reason.MALFORMED
    assert refused.value.detail == "the header is not a JSON object"


@pytest.mark.parametrize(
    "raw", [b'{"alg":"RS256","kid":"A"}', b' { "kid" : "A" , "alg" : "RS256", "x5t": "abc" } ']
)
def test_header_needs_only_alg_and_kid_and_may_have_harmless_members(raw: bytes) -> None:
    assert parse_header(raw, RS256) == Header("RS256", "A")


def test_header_is_bounded() -> None:
    padding = b'{"alg":"RS256","kid":"A","x":"%b"}'
    exact = padding % (b"x" * (1024 - len(padding) + 2))
    assert len(exact) == 1024
    assert parse_header(exact, RS256).kid == "A"
    with pytest.raises(Refused) as refused:
        parse_header(padding % (b"x" * 1000), RS256)
    assert refused.value.reason is Reason.MALFORMED


def test_a_header_beyond_its_bound_is_not_even_remembered() -> None:
    longest = b"{" + b" " * 1022 + b"}"
    assert split(base64url(longest) + b"..").header == longest
    with pytest.raises(Refused) as refused:
        split(base64url(b" " + longest) + b"..")
    assert refused.value.reason is Reason.MALFORMED
    assert "1025 bytes, at most 1024" in refused.value.detail


def test_remembered_headers_are_bounded_and_refused_ones_are_not_kept() -> None:
    for number in range(3000):
        parse_header(b'{"alg":"RS256","kid":"A%d"}' % number, RS256)
    before = parse_header.cache_info()
    assert before.currsize == before.maxsize == 1024
    with pytest.raises(Refused):
        parse_header(b'{"alg":"none","kid":"A"}', RS256)
    assert parse_header.cache_info().currsize == 1024


def test_remembered_header_is_not_lent_to_another_set_of_algorithms() -> None:
    raw = b'{"alg":"RS256","kid":"lent"}'
    assert parse_header(raw, RS256).alg == "RS256"
    with pytest.raises(Refused) as refused:
        parse_header(raw, frozenset({"ES256"}))
    assert refused.value.reason is Reason.ALG_NOT_ALLOWED


def test_no_byte_outside_the_alphabet_stands_anywhere_in_a_token() -> None:
    token = b".".join(map(base64url, (b'{"a":1}', b"payload of it", b"a signature")))
    letters = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    for where in range(len(token)):
        for byte in set(range(256)) - letters:
            for put in (bytes([byte]), rb"\u0041" * 4):
                for rest in (where, where + 1):  # one letter more, and one instead of another
                    with pytest.raises(Refused):
                        split(token[:where] + put + token[rest:])
    for end in (b"=", b"==", b"\n", b'"', b'",""', b'"]'):
        with pytest.raises(Refused):
            split(token + end)
