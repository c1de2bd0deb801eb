import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.errors import ConfigurationErrors
from authplugin.model import Grant
from authplugin.revocation import (
    NONE,
    Entry,
    Revocations,
    add_entry,
    entry_key,
    parse_entry,
    parse_revocations,
    remove_entry,
    write_entry,
)
from tests.support.gates import AID, DID, SHORT, Bench

ISSUER = "https://acme.my.site.com"


def parsed(*lines: str) -> Revocations:
    return parse_revocations("\n".join(lines).encode(), "revocations")


@pytest.fixture(scope="module", name="grant")
def make_grant() -> Grant:
    return Bench().grant()


@pytest.fixture(scope="module", name="digest")
def make_digest(grant: Grant) -> str:
    return grant.digest.hex()


@pytest.mark.parametrize(
    ("line", "revoked"),
    [
        (f'{{"asset":"{AID}"}}', True),
        (f'{{"asset":"{SHORT}"}}', True),
        ('{"asset":"02iAB00000XdEfG"}', False),
        (f'{{"device":"{DID}"}}', True),
        (f'{{"device":"{DID}","issuer":"{ISSUER}"}}', True),
        (f'{{"device":"{DID}","issuer":"{ISSUER}/"}}', False),
        ('{"device":"x"}', False),
        (f'{{"kid":"Assets","issuer":"{ISSUER}"}}', True),
        ('{"kid":"Assets","issuer":"https://b.example.com"}', False),
        (f'{{"kid":"Other","issuer":"{ISSUER}"}}', False),
        (f'{{"issuer":"{ISSUER}","note":"all of them"}}', True),
        ('{"issuer":"https://b.example.com"}', False),
        ('{"issued_before":1700000001}', True),
        ('{"issued_before":1700000000}', False),
        ('{"issued_before":"2023-11-14T22:13:21Z"}', True),
        ('{"issued_before":"2023-11-14T23:13:20+01:00"}', False),
        (f'{{"issued_before":1700000001,"issuer":"{ISSUER}"}}', True),
        ('{"issued_before":1700000001,"issuer":"https://b.example.com"}', False),
        (f'{{"issued_before":1700000001,"asset":"{SHORT}"}}', True),
        (f'{{"issued_before":1700000000,"asset":"{SHORT}"}}', False),
        ('{"issued_before":1700000001,"asset":"other"}', False),
        ("# nothing", False),
    ],
)
def test_a_line_revokes_what_it_names_and_nothing_else(grant: Grant, line: str, *, revoked: bool) -> None:
    assert (parsed(line).find(grant) is not None) is revoked


@pytest.mark.parametrize("form", [str, str.upper, lambda text: text[:16], lambda text: text[:16].upper()])
def test_a_token_is_named_by_its_digest_or_by_what_the_log_shows_of_it(
    grant: Grant, digest: str, form: object
) -> None:
    assert callable(form)
    assert parsed(f'{{"token":"{form(digest)}"}}').find(grant) == "the token is revoked"
    other = hashlib.sha256(b"other").hexdigest()
    assert parsed(f'{{"token":"{form(other)}"}}').find(grant) is None


def test_the_latest_time_of_several_counts(grant: Grant) -> None:
    both = parsed('{"issued_before":1700000001}', '{"issued_before":1}')
    assert both.find(grant) is not None


def test_a_token_that_does_not_say_when_it_was_issued_was_issued_too_early() -> None:
    grant = Bench().grant(nbf=None)
    assert parsed('{"issued_before":1}').find(grant) is not None


def test_iat_counts_before_nbf() -> None:
    grant = Bench().grant(iat=1_699_999_000)
    assert parsed('{"issued_before":1699999001}').find(grant) is not None
    assert parsed('{"issued_before":1699999000}').find(grant) is None


def test_an_opaque_id_of_fifteen_letters_is_named_by_itself() -> None:
    assert AID in parsed(f'{{"asset":"{SHORT}"}}').assets
    assert SHORT in parsed(f'{{"asset":"{SHORT}"}}').assets
    assert parsed('{"asset":"pump-7"}').assets == {"pump-7"}
    assert parsed('{"asset":"fifteen-letters"}').assets == {"fifteen-letters"}


def test_nothing_is_revoked_by_nothing(grant: Grant) -> None:
    assert NONE.find(grant) is None
    assert parsed("", "# nothing is revoked") == NONE


@pytest.mark.parametrize("text", [b"", b"\n", b" \n\t\n"])
def test_a_blank_file_is_refused_and_told_what_a_file_without_revocations_says(text: bytes) -> None:
    with pytest.raises(ConfigurationErrors, match=r"found nothing in it.*comment.*# nothing is revoked"):
        parse_revocations(text, "revocations")


@pytest.mark.parametrize(
    "line",
    [
        "02iAB00000CdEfG",
        "{}",
        '{"note":"why"}',
        "[]",
        '{"asset":7}',
        '{"asset":"a/b"}',
        '{"asset":""}',
        '{"assets":"a"}',
        '{"device":""}',
        '{"kid":"Assets"}',
        '{"kid":"","issuer":"i"}',
        '{"token":"abc"}',
        '{"token":"eyJhbGciOi"}',
        '{"token":"zz00000000000000"}',
        '{"token":"0011223344556677","asset":"a"}',
        '{"device":"d","issued_before":1}',
        '{"issued_before":"yesterday"}',
        '{"issued_before":"2023-11-14T22:13:21"}',
        '{"issued_before":-1}',
        '{"issued_before":true}',
        '{"asset":"a"} x',
        '{"asset":"a","asset":"b"}',
        '{"asset":"\\ud800"}',
        "[" * 10_000,
    ],
)
def test_a_line_that_is_wrong_refuses_the_file_and_is_named(line: str) -> None:
    with pytest.raises(ConfigurationErrors) as raised:
        parsed("# comment", '{"asset":"good"}', line, "also wrong")
    first, second = raised.value.errors
    assert (first.file, first.line) == ("revocations", 3)
    assert second.line == 4
    assert "expected one JSON object" in str(first)


def test_of_a_file_that_is_wrong_all_over_the_first_lines_are_told() -> None:
    with pytest.raises(ConfigurationErrors) as raised:
        parsed(*["x"] * 1000)
    assert len(raised.value.errors) == 20


def test_a_token_in_place_of_its_digest_is_not_repeated() -> None:
    token = Bench().mint.mint().decode()
    with pytest.raises(ConfigurationErrors) as raised:
        parsed(f'{{"token":"{token}"}}')
    assert token[:20] not in str(raised.value)


NAMES = st.text("abcXYZ019-_", min_size=1, max_size=20)
ENTRIES = st.one_of(
    st.builds(lambda digits: Entry(token=digits), st.text("0123456789abcdef", min_size=16, max_size=16)),
    st.builds(lambda asset: Entry(asset=asset), NAMES),
    st.builds(lambda device: Entry(device=device), st.text(min_size=1, max_size=20).filter(str.isprintable)),
    st.builds(lambda kid: Entry(kid=kid, issuer=ISSUER), NAMES),
    st.builds(lambda before, note: Entry(issued_before=before, note=note), st.integers(0, 2**40), st.text()),
)


@given(st.lists(ENTRIES, max_size=8), ENTRIES)
def test_what_is_added_is_found_and_what_is_removed_is_gone(before: list[Entry], entry: Entry) -> None:
    text = b"# kept\n"
    for one in before:
        text = add_entry(text, one)
    added = add_entry(text.rstrip(b"\n"), entry)
    assert parse_revocations(added, "f").count == len(before) + 1
    kept, removed = remove_entry(added, entry)
    same = [one for one in before if entry_key(one) == entry_key(entry)]
    assert removed == len(same) + 1
    assert parse_revocations(kept, "f").count == len(before) - len(same)
    assert kept.startswith(b"# kept\n")


def test_an_entry_is_removed_under_either_form_of_its_id_whatever_its_note() -> None:
    text = add_entry(b"", Entry(asset=SHORT, note="stolen"))
    assert remove_entry(text, Entry(asset=AID)) == (b"# nothing is revoked\n", 1)
    assert parse_entry(write_entry(Entry(asset=SHORT, note="stolen"))) == Entry(asset=SHORT, note="stolen")
