"""Claims: form, time, kind, and whose they are, beyond the corpus of hostile ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.errors import Reason, Refused
from authplugin.jose.claims import (
    FOREIGN,
    ClaimNames,
    Claims,
    check_asset,
    check_claims,
    parse_claims,
    peek_issuer,
)
from authplugin.jose.identity import IdForm, canonical_asset_id, is_asset_id, is_device_id
from tests.support.mints import mint

NOW = 1_700_000_000.0
AUDIENCES = frozenset({"https://ingest.example.com"})


def claims(**changes: object) -> Claims:
    sample = {**mint().claims(), **changes}
    return parse_claims(
        json.dumps({name: value for name, value in sample.items() if value is not None}).encode()
    )


def refusal(of: Claims, *, now: float = NOW, max_age: float | None = None, leeway: float = 30.0) -> Reason:
    with pytest.raises(Refused) as refused:
        check_claims(of, audiences=AUDIENCES, now=now, max_age=max_age, leeway=leeway)
    return refused.value.reason


def test_issuer_is_read_from_bytes_nobody_vouched_for() -> None:
    assert peek_issuer(b'{"iss":"https://acme.my.site.com","x":[]}') == "https://acme.my.site.com"
    for payload, reason in (
        (b"{}", Reason.ISSUER_UNKNOWN),
        (b'{"iss":null}', Reason.ISSUER_UNKNOWN),
        (b'{"iss":7}', Reason.CLAIMS_MALFORMED),
        (b'{"iss":["https://acme.my.site.com"]}', Reason.CLAIMS_MALFORMED),
        (b"", Reason.CLAIMS_MALFORMED),
        (b'{"iss":"\xff"}', Reason.CLAIMS_MALFORMED),
        (b"[" * 8000, Reason.CLAIMS_MALFORMED),
    ):
        with pytest.raises(Refused) as refused:
            peek_issuer(payload)
        assert refused.value.reason is reason


def test_claims_without_issuer_are_refused_when_parsed_alone() -> None:
    with pytest.raises(Refused) as refused:
        parse_claims(b"{}")
    assert refused.value.reason is Reason.ISSUER_UNKNOWN


@given(st.integers(0, 2**53 - 1) | st.floats(0, 2**53 - 1))
def test_any_number_in_range_is_a_time(date: float) -> None:
    assert claims(exp=date).exp == date


def test_maximum_age_counts_from_iat_else_nbf() -> None:
    young = {"nbf": NOW - 100, "exp": NOW + 1000}
    check_claims(claims(**young), audiences=AUDIENCES, now=NOW, max_age=71)
    assert refusal(claims(**young), max_age=70) is Reason.EXPIRED
    check_claims(claims(**young, iat=NOW - 10), audiences=AUDIENCES, now=NOW, max_age=70)
    assert refusal(claims(nbf=None), max_age=70) is Reason.CLAIMS_MALFORMED


def test_leeway_is_a_setting() -> None:
    check_claims(claims(exp=NOW - 4), audiences=AUDIENCES, now=NOW, leeway=5)
    assert refusal(claims(exp=NOW - 5), leeway=5) is Reason.EXPIRED
    assert refusal(claims(exp=NOW), leeway=0) is Reason.EXPIRED
    assert refusal(claims(nbf=NOW + 6), leeway=5) is Reason.NOT_YET_VALID


def test_first_wrong_thing_is_the_reason() -> None:
    assert refusal(claims(sub="x", exp=None)) is Reason.NOT_ASSET_TOKEN
    assert refusal(claims(exp=NOW - 60, aud="x")) is Reason.EXPIRED
    assert refusal(claims(aud="x", aid=None)) is Reason.AUDIENCE_MISMATCH
    assert refusal(claims(aid=None, did=None)) is Reason.ASSET_MISSING


def test_other_issuers_may_name_asset_and_device_otherwise() -> None:
    names = ClaimNames(asset="sub", device="device")
    payload = {**mint().claims(aid=None, did=None), "sub": "pump-7", "device": "pump-7-board"}
    mapped = parse_claims(json.dumps(payload).encode(), names)
    check_claims(mapped, audiences=AUDIENCES, now=NOW, names=names, foreign=FOREIGN - {"sub"})
    assert (mapped.aid, mapped.did) == ("pump-7", "pump-7-board")
    assert check_asset(mapped, IdForm.OPAQUE) == "pump-7"
    with pytest.raises(Refused) as refused:
        parse_claims(json.dumps({**payload, "device": 7}).encode(), names)
    assert "device is not a string" in refused.value.detail


def test_asset_is_checked_on_its_own() -> None:
    assert check_asset(claims(), IdForm.SALESFORCE) == "02iAB00000CdEfGYAV"
    for changes, reason in (({"aid": None}, Reason.ASSET_MISSING), ({"aid": "a/b"}, Reason.ASSET_UNSAFE)):
        with pytest.raises(Refused) as refused:
            check_asset(claims(**changes), IdForm.OPAQUE)
        assert refused.value.reason is reason


@given(st.text())
def test_safe_asset_id_is_one_plain_topic_level(value: str) -> None:
    if is_asset_id(value):
        assert not set(value) & set("/+#$ \0")
        assert canonical_asset_id(value, IdForm.OPAQUE) == value
    else:
        with pytest.raises(ValueError, match="is not 1 to 64"):
            canonical_asset_id(value, IdForm.OPAQUE)


@pytest.mark.parametrize(
    ("value", "safe"),
    [("a", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("a.b", False), ("a:b", False)],
)
def test_asset_id_bounds(value: str, safe: bool) -> None:  # noqa: FBT001 - a table
    assert is_asset_id(value) is safe


@pytest.mark.parametrize(
    ("value", "safe"),
    [("x" * 128, True), ("x" * 129, False), ("", False), ("gerät 7", True), ("a\tb", False)],
)
def test_device_id_bounds(value: str, safe: bool) -> None:  # noqa: FBT001 - a table
    assert is_device_id(value) is safe


@pytest.mark.parametrize("value", ["02iAB00000CdEfGYAA", "02iAB00000CdEfGyav", "02iAB00000CdEfgYAV"])
def test_a_long_record_id_ends_as_its_first_fifteen_characters_say(value: str) -> None:
    assert canonical_asset_id("02iAB00000CdEfGYAV", IdForm.SALESFORCE) == "02iAB00000CdEfGYAV"
    with pytest.raises(ValueError, match="ends in three characters that do not fit"):
        canonical_asset_id(value, IdForm.SALESFORCE)
