import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.issuer.errors import OAuthCode, OAuthError
from authplugin.issuer.forms import parse_form, read_client

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("kind", [FORM, FORM.upper(), f"{FORM}; charset=UTF-8"])
def test_a_form_is_read_whatever_its_media_types_dress(kind: str) -> None:
    assert parse_form(kind, b"a=1+%2B&b=%C3%A4") == {"a": "1 +", "b": "ä"}


def test_a_parameter_without_a_value_is_absent() -> None:
    assert parse_form(FORM, b"a=&b=1") == {"b": "1"}


def test_a_parameter_given_twice_is_refused_even_without_a_value() -> None:
    with pytest.raises(OAuthError, match="twice"):
        parse_form(FORM, b"a=&a=1")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_form_or_an_invalid_request(body: bytes) -> None:
    with contextlib.suppress(OAuthError):
        assert all(parse_form(FORM, body).values())


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic !!!", "Basic YQ==", "Bearer YTpi", "Basic gICA", "Basic YTpi\N{SNOWMAN}"],
)
def test_a_header_that_is_no_basic_pair_is_invalid_client(authorization: str) -> None:
    with pytest.raises(OAuthError) as caught:
        read_client({}, authorization)
    assert caught.value.code is OAuthCode.INVALID_CLIENT


def test_a_basic_pair_is_form_encoded_and_splits_at_the_first_colon() -> None:
    assert read_client({}, "basic YSUzQTE6Yjpj") == ("a:1", "b:c")
    assert read_client({"client_id": "a", "client_secret": "b"}, None) == ("a", "b")
    assert read_client({}, None) is None
