"""The asset token and its validation, to the letter of the vendor's pages: header, claims, ids, times."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from authplugin.errors import Reason, Refused
from authplugin.jose.claims import check_claims, parse_claims
from authplugin.jose.compact import parse_header, split
from authplugin.jose.identity import IdForm, canonical_asset_id
from authplugin.jose.possession import confirmation
from authplugin.testing.mint import base64url
from tests.support.judge import judge
from tests.support.mints import CLOCK, mint

RS256 = frozenset({"RS256"})
SAMPLE = (
    b'{"aud":["https://ingest.example.com"],"nbf":1700000000,"iss":"https://acme.my.site.com",'
    b'"cnf":{"jwk":{"kty":"RSA","e":"AQAB","kid":"devicekey","n":"%b"}},'
    b'"id":"05bAB0000000001","exp":1700518400,"aid":"02iAB00000CdEfG","did":"0a1b2c3d-0000-4000-8000-000000000001"}'
)


def sample() -> bytes:
    return SAMPLE % str(mint().device_jwk["n"]).encode()


def reason(token: bytes, now: float = 1700000000) -> Reason:
    with pytest.raises(Refused) as refused:
        judge(token, mint(), now=now)
    return refused.value.reason


def test_header_of_the_sample_is_read() -> None:
    header = parse_header(b'{"kid":"Assets","typ":"JWT","alg":"RS256"}', RS256)
    assert (header.kid, header.alg) == ("Assets", "RS256")


@pytest.mark.parametrize(
    "kid", ["Assets", "190", "CORE_ATJWT.00DAB0000000001.1700000000000", "AB:CD:EF", "CN=Assets"]
)
def test_kid_may_look_like_a_name_a_number_or_a_certificate(kid: str) -> None:
    assert parse_header(json.dumps({"alg": "RS256", "kid": kid}).encode(), RS256).kid == kid


def test_claims_of_the_sample_are_read() -> None:
    claims = judge(mint().sign(sample()), mint(), now=1700000000)
    assert claims.aud == ("https://ingest.example.com",)
    assert (claims.nbf, claims.exp) == (1700000000, 1700518400)
    assert claims.iss == "https://acme.my.site.com"
    assert claims.id == "05bAB0000000001"
    assert claims.aid == "02iAB00000CdEfG"
    assert claims.did == "0a1b2c3d-0000-4000-8000-000000000001"
    assert confirmation(claims.cnf).startswith(b"j")


def test_the_mint_writes_the_sample_to_the_byte() -> None:
    compact = split(mint().mint(nbf=1700000000, exp=1700518400))
    assert compact.header == b'{"kid":"Assets","typ":"JWT","alg":"RS256"}'
    assert json.loads(compact.payload) == json.loads(sample())
    assert compact.payload == json.dumps(json.loads(compact.payload), separators=(",", ":")).encode()


def test_token_of_the_sample_has_about_1200_bytes() -> None:
    assert 1100 < len(mint().sign(sample())) < 1300


def test_one_audience_may_be_a_string_and_attributes_may_be_added() -> None:
    claims = judge(
        mint().mint(aud=mint().audience, region="north", permissions=["a"]), mint(), now=CLOCK.now()
    )
    assert claims.aud == ("https://ingest.example.com",)
    assert claims.all["region"] == "north"


def test_any_one_audience_is_enough_and_case_matters() -> None:
    assert judge(mint().mint(aud=["https://other.example.com", mint().audience]), mint(), now=CLOCK.now())
    assert reason(mint().mint(aud=["HTTPS://INGEST.EXAMPLE.COM"])) is Reason.AUDIENCE_MISMATCH


def test_key_binding_is_optional() -> None:
    assert judge(mint().mint(cnf=None), mint(), now=CLOCK.now()).cnf is None


def test_a_token_bound_in_a_way_that_cannot_be_checked_is_refused() -> None:
    assert reason(mint().mint(cnf={"kid": "x"})) is Reason.CLAIMS_MALFORMED


def test_the_device_key_never_verifies_the_token() -> None:
    device = mint(kid="devicekey")
    token = device.sign(mint().claims(cnf={"jwk": device.jwk()}), header=mint().header())
    assert reason(token) is Reason.SIGNATURE_INVALID
    token = device.sign(mint().claims(cnf={"jwk": device.jwk()}), header=mint().header({"kid": "devicekey"}))
    assert reason(token) is Reason.KEY_UNKNOWN


def test_signature_is_over_header_dot_payload_without_a_trailing_dot() -> None:
    head, payload, _ = mint().sign(sample()).split(b".")
    compact = split(head + b"." + payload + b"." + base64url(bytes(256)))
    assert compact.signing_input == head + b"." + payload
    key = mint().key
    assert isinstance(key, RSAPrivateKey)
    dotted = key.sign(head + b"." + payload + b".", PKCS1v15(), SHA256())
    assert reason(head + b"." + payload + b"." + base64url(dotted)) is Reason.SIGNATURE_INVALID
    right = key.sign(head + b"." + payload, PKCS1v15(), SHA256())
    assert judge(head + b"." + payload + b"." + base64url(right), mint(), now=1700000000)


@pytest.mark.parametrize(
    ("offset", "valid"), [(-1, True), (0, True), (29, True), (29.999, True), (30, False), (31, False)]
)
def test_exp_holds_until_thirty_seconds_after_it(offset: float, valid: bool) -> None:  # noqa: FBT001 - a table
    claims = parse_claims(sample())
    if valid:
        check_claims(claims, audiences={mint().audience}, now=1700518400 + offset)
    else:
        with pytest.raises(Refused) as refused:
            check_claims(claims, audiences={mint().audience}, now=1700518400 + offset)
        assert refused.value.reason is Reason.EXPIRED


@pytest.mark.parametrize(("offset", "valid"), [(0, True), (-30, True), (-30.001, False), (-31, False)])
def test_nbf_holds_from_thirty_seconds_before_it(offset: float, valid: bool) -> None:  # noqa: FBT001 - a table
    claims = parse_claims(sample())
    if valid:
        check_claims(claims, audiences={mint().audience}, now=1700000000 + offset)
    else:
        with pytest.raises(Refused) as refused:
            check_claims(claims, audiences={mint().audience}, now=1700000000 + offset)
        assert refused.value.reason is Reason.NOT_YET_VALID


def test_missing_claims_have_their_own_reasons() -> None:
    assert reason(mint().mint(exp=None)) is Reason.EXP_MISSING
    assert reason(mint().mint(aid=None)) is Reason.ASSET_MISSING
    assert reason(mint().mint(did=None)) is Reason.DEVICE_MISSING
    assert judge(mint().mint(nbf=None, id=None), mint(), now=CLOCK.now()).nbf is None


def test_id_token_and_access_token_of_the_same_issuer_are_no_asset_tokens() -> None:
    assert reason(mint().id_token()) is Reason.NOT_ASSET_TOKEN
    assert reason(mint().access_token()) is Reason.NOT_ASSET_TOKEN


def test_fifteen_characters_grow_to_eighteen() -> None:
    assert canonical_asset_id("02iAB00000CdEfG", IdForm.SALESFORCE) == "02iAB00000CdEfGYAV"
    assert canonical_asset_id("02iAB00000CdEfGYAV", IdForm.SALESFORCE) == "02iAB00000CdEfGYAV"


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=15, max_size=15))
def test_suffix_says_which_characters_are_upper_case(record_id: str) -> None:
    canonical = canonical_asset_id(record_id, IdForm.SALESFORCE)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    for group, letter in enumerate(canonical[15:]):
        weight = sum(2**i for i in range(5) if "A" <= record_id[5 * group + i] <= "Z")
        assert letters[weight] == letter
    assert canonical_asset_id(canonical, IdForm.SALESFORCE) == canonical
    assert canonical[:15] == record_id
