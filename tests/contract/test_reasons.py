"""The reasons are the protocol's words, each explained; the reference pages are what the code says."""

import pytest

import processor.advice
from authplugin.advice import ADVICE
from authplugin.errors import Reason
from deploy import reference
from processor.errors import DeadReason

# Protocol §6, to the letter.
WORDS = """
too_long malformed alg_not_allowed header_not_allowed kid_invalid issuer_unknown key_unknown keys_stale
signature_invalid claims_malformed exp_missing expired not_yet_valid audience_mismatch not_asset_token
asset_missing device_missing asset_unsafe asset_unknown foreign_asset revoked quarantined throttled
client_id_mismatch username_mismatch possession_required possession_failed topic_denied topic_id_form internal
"""


def test_the_reasons_are_the_words_of_the_protocol_in_its_order() -> None:
    assert [reason.value for reason in Reason] == WORDS.split()


def test_every_reason_has_a_meaning_and_a_remedy() -> None:
    assert list(ADVICE) == list(Reason)
    assert all(advice.meaning and advice.remedy for advice in ADVICE.values())


def test_every_reason_of_a_dead_letter_has_a_meaning_and_a_remedy() -> None:
    assert list(processor.advice.ADVICE) == list(DeadReason)
    assert all(advice.meaning and advice.remedy for advice in processor.advice.ADVICE.values())


@pytest.mark.parametrize("name", reference.pages())
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    written = (reference.REFERENCE / name).read_text(encoding="utf-8")
    assert written == reference.pages()[name], "run: make reference"
