"""Each limit at its border, the last that fits and the first that does not; values that stay as made."""

import json
from itertools import count

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from authplugin.errors import Reason, Refused
from authplugin.jose.claims import ClaimNames, check_claims, parse_claims
from authplugin.jose.compact import parse_header, split
from authplugin.jose.identity import IdForm, is_asset_id, is_device_id, suffix
from authplugin.jose.jwk import Unfit, UnfitKeyError, admit, admit_bound, admit_set
from authplugin.jose.possession import confirmation
from authplugin.jose.profile import Attribute, RequiredClaim, check_name
from authplugin.jose.usual import read_usual
from authplugin.testing.mint import base64url
from tests.support.mints import CLOCK, mint
from tests.support.weakkeys import modulus, rsa_jwk, small_key, uneven_key

RS256 = frozenset({"RS256"})
NOW = CLOCK.now()


def reason_of(*arguments: object, of: object) -> Reason | None:
    assert callable(of)
    try:
        of(*arguments)
    except Refused as refused:
        return refused.reason
    return None


@pytest.mark.parametrize(("length", "reason"), [(8192, None), (8193, Reason.TOO_LONG)])
def test_token_has_at_most_8192_bytes(length: int, reason: Reason | None) -> None:
    token = b"e30." + b"A" * 4096 + b"." + b"A" * (length - 4101)
    assert len(token) == length
    assert reason_of(token, of=split) is reason


def header(length: int) -> bytes:
    start = b'{"alg":"RS256","kid":"Assets","x":"'
    return start + b"x" * (length - len(start) - 2) + b'"}'


@pytest.mark.parametrize(("length", "reason"), [(1024, None), (1025, Reason.MALFORMED)])
def test_header_has_at_most_1024_bytes(length: int, reason: Reason | None) -> None:
    assert len(header(length)) == length
    assert reason_of(header(length), RS256, of=parse_header) is reason


@pytest.mark.parametrize(("length", "reason"), [(1, None), (256, None), (257, Reason.KID_INVALID)])
def test_kid_has_at_most_256_characters(length: int, reason: Reason | None) -> None:
    raw = json.dumps({"alg": "RS256", "kid": "k" * length}).encode()
    assert reason_of(raw, RS256, of=parse_header) is reason


@pytest.mark.parametrize(("count", "reason"), [(32, None), (33, Reason.CLAIMS_MALFORMED)])
def test_token_has_at_most_32_audiences(count: int, reason: Reason | None) -> None:
    payload = json.dumps(mint().claims(aud=["a"] * count)).encode()
    assert reason_of(payload, of=parse_claims) is reason


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0", None),
        ("0.0", None),
        ("0.5", None),
        ("9007199254740991", None),
        ("9007199254740991.0", None),
        ("-1", Reason.CLAIMS_MALFORMED),
        ("-0.5", Reason.CLAIMS_MALFORMED),
        ("9007199254740992", Reason.CLAIMS_MALFORMED),
        ("9007199254740992.0", Reason.CLAIMS_MALFORMED),
    ],
)
def test_time_is_from_zero_to_the_last_second_a_double_holds(
    name: str, text: str, reason: Reason | None
) -> None:
    others = {claim: value for claim, value in mint().claims().items() if claim != name}
    payload = json.dumps(others)[:-1] + f', "{name}": {text}}}'
    assert reason_of(payload.encode(), of=parse_claims) is reason


@pytest.mark.parametrize(
    ("changes", "max_age", "reason"),
    [
        ({"exp": NOW - 29.5}, None, None),
        ({"exp": NOW - 30}, None, Reason.EXPIRED),
        ({"nbf": NOW + 30}, None, None),
        ({"nbf": NOW + 30.5}, None, Reason.NOT_YET_VALID),
        ({"iat": NOW + 30}, None, None),
        ({"iat": NOW + 30.5}, None, Reason.NOT_YET_VALID),
        ({"iat": NOW + 30.5, "nbf": None}, None, Reason.NOT_YET_VALID),
        ({"nbf": NOW + 30.5, "iat": NOW}, None, Reason.NOT_YET_VALID),
        ({"nbf": None, "iat": None}, None, None),
        ({"nbf": None, "iat": None}, 60.0, Reason.CLAIMS_MALFORMED),
        ({"iat": NOW - 89.5, "nbf": NOW - 500}, 60.0, None),
        ({"iat": NOW - 90, "nbf": NOW}, 60.0, Reason.EXPIRED),
        ({"nbf": NOW - 89.5}, 60.0, None),
        ({"nbf": NOW - 90}, 60.0, Reason.EXPIRED),
        ({"iat": 0, "nbf": NOW}, 60.0, Reason.EXPIRED),
    ],
)
def test_time_is_judged_to_the_second(
    changes: dict[str, object], max_age: float | None, reason: Reason | None
) -> None:
    claims = parse_claims(json.dumps(mint().claims(**changes)).encode())

    def judge() -> None:
        check_claims(claims, audiences={mint().audience}, now=NOW, max_age=max_age)

    assert reason_of(of=judge) is reason


def test_refusal_says_by_how_much_the_time_is_wrong() -> None:
    for changes, max_age, said in (
        ({"exp": NOW - 90}, None, "expired 90 s ago"),
        ({"nbf": NOW + 90}, None, "valid in 90 s"),
        ({"iat": NOW - 120}, 60.0, "issued 120 s ago, at most 60 s"),
    ):
        claims = parse_claims(json.dumps(mint().claims(**changes)).encode())
        with pytest.raises(Refused) as refused:
            check_claims(claims, audiences={mint().audience}, now=NOW, max_age=max_age)
        assert said in refused.value.detail


@pytest.mark.parametrize(("value", "fits"), [("", False), ("a", True), ("a" * 64, True), ("a" * 65, False)])
def test_asset_id_has_1_to_64_characters(value: str, *, fits: bool) -> None:
    assert is_asset_id(value) is fits


@pytest.mark.parametrize(("value", "fits"), [("", False), ("é", True), ("a" * 128, True), ("a" * 129, False)])
def test_device_id_has_1_to_128_characters(value: str, *, fits: bool) -> None:
    assert is_device_id(value) is fits


def odd_modulus(bits: int) -> int:
    """A number of that many bits that no weakness shows in; nobody knows its factors."""
    seed = modulus(small_key())
    number: int = pow(seed, 40) % (1 << (bits - 1)) | 1 << (bits - 1) | 1
    while True:
        try:
            admit(rsa_jwk(number), RS256)
        except UnfitKeyError as unfit:
            if unfit.why is not Unfit.MODULUS_WEAK:
                return number
        else:
            return number
        number += 2


@pytest.mark.parametrize("bits", [2048, 2049, 8191, 8192])
def test_modulus_within_the_borders_is_admitted(bits: int) -> None:
    number = odd_modulus(bits)
    assert number.bit_length() == bits
    assert admit(rsa_jwk(number), RS256).bits == bits


@pytest.mark.parametrize("bits", [2047, 8193])
def test_modulus_beyond_the_borders_is_left_out(bits: int) -> None:
    with pytest.raises(UnfitKeyError) as unfit:
        admit(rsa_jwk(odd_modulus(bits)), RS256)
    assert unfit.value.why is Unfit.MODULUS_SIZE
    assert f"{bits} bits" in str(unfit.value)


@pytest.mark.parametrize("e", [65537, 65539, 2**32 + 1, 2**64 - 1])
def test_exponent_within_the_borders_is_admitted(e: int) -> None:
    assert admit(rsa_jwk(odd_modulus(2048), e), RS256).algorithm == "RS256"


def test_signature_of_a_modulus_of_odd_length_has_as_many_bytes_as_hold_it() -> None:
    private = uneven_key()
    key = admit(rsa_jwk(modulus(private)), RS256)
    signature = private.sign(b"message", PKCS1v15(), SHA256())
    assert len(signature) == 257
    assert key.holds(b"message", signature)
    for length in (256, 257, 258):
        assert not key.holds(b"message", bytes(length))


def test_key_that_a_token_is_bound_to_has_no_name_of_its_own() -> None:
    assert admit_bound(mint().jwk()).kid == ""
    assert "''" in repr(admit_bound(mint().jwk()))


@pytest.mark.parametrize("factor", [3, 5, 7, 743, 751])
def test_modulus_with_a_factor_below_752_is_left_out(factor: int) -> None:
    number = factor * next(
        cofactor
        for cofactor in count(odd_modulus(2048) // factor)
        if all(cofactor % small for small in range(2, 752))
    )
    assert number.bit_length() == 2048
    with pytest.raises(UnfitKeyError) as unfit:
        admit(rsa_jwk(number), RS256)
    assert unfit.value.why is Unfit.MODULUS_WEAK


def test_words_are_spelt_like_their_names() -> None:
    for words in (Unfit, IdForm):
        assert [word.value for word in words] == [word.name.lower() for word in words]


def test_left_out_keys_say_where_they_stood_and_what_was_found() -> None:
    fit = mint().jwk()
    twins = [{**fit, "kid": "Twin"}, {**fit, "kid": "Twin"}]
    admission = admit_set({"keys": [*twins, {**fit, "use": "enc", "kid": "Enc"}, "text", fit]}, RS256)
    assert [(out.position, out.kid, out.why) for out in admission.left_out] == [
        (0, "Twin", Unfit.KID_DUPLICATE),
        (1, "Twin", Unfit.KID_DUPLICATE),
        (2, "Enc", Unfit.USE_NOT_SIGNATURE),
        (3, None, Unfit.MALFORMED),
    ]
    assert "another key" in admission.left_out[0].detail
    assert list(admission.keys) == ["Assets"]


def test_values_cannot_be_changed_once_made() -> None:
    token = mint().mint()
    compact = split(token)
    usual = read_usual(compact.payload)
    assert usual is not None
    values: list[tuple[object, str]] = [
        (compact, "payload"),
        (parse_header(compact.header, RS256), "alg"),
        (parse_claims(compact.payload), "exp"),
        (ClaimNames(), "asset"),
        (admit_set({"keys": ["x"]}, RS256), "keys"),
        (admit_set({"keys": ["x"]}, RS256).left_out[0], "kid"),
        (usual, "aid"),
        (usual.cnf, "jwk"),
        (usual.cnf.jwk, "n"),
        (RequiredClaim("tenant"), "claim"),
        (Attribute("site", "/site"), "claim"),
    ]
    for value, name in values:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(value, name, None)
    keys = admit_set(mint().jwks(), RS256).keys
    with pytest.raises(TypeError):
        keys["x"] = None  # type: ignore[index] # not possible, as is asked
    with pytest.raises(AttributeError):
        next(iter(keys.values())).anything = 1  # type: ignore[attr-defined] # as above


def test_names_of_claims_are_only_those_that_are_known() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"asset": "a", "devise": "b"}, ClaimNames)


def test_parts_show_their_sizes_only() -> None:
    compact = split(mint().mint())
    sizes = (len(compact.header), len(compact.payload), len(compact.signature))
    assert repr(compact) == "Compact({} + {} + {} bytes)".format(*sizes)


def test_key_shows_its_name_and_never_its_material() -> None:
    key = admit(mint().jwk(), RS256)
    assert repr(key) == f"VerifyingKey('Assets', RS256, 2048 bits, {key.thumbprint})"


@pytest.mark.parametrize("tail", [b"A", b"AAAAA"])
def test_a_letter_over_four_holds_no_byte(tail: bytes) -> None:
    head = base64url(b"{}")
    for parts in ((tail, head, head), (head, tail, head), (head, head, tail)):
        assert reason_of(b".".join(parts), of=split) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (b"", "not three parts"),
        (b"e30", "not three parts"),
        (b"e30.e30", "not three parts"),
        (b"e30.e30..", "not three parts"),
        (b"e30.e30..AAA", "not three parts"),
        (b"e30.e30.AAAA.", "not three parts"),
        (b"...", "not three parts"),
        (b"..", "the header is empty"),
        (b".e30.AAAA", "the header is empty"),
        (b"e30.e3!.AAAA", "not only base64url letters"),
        (b"e30.e31.AAAA", "a part does not end as base64url must"),
        (b"A" * 8193, "8193 bytes, at most 8192"),
    ],
)
def test_refusal_of_a_form_says_what_is_wrong_with_it(token: bytes, said: str) -> None:
    with pytest.raises(Refused) as refused:
        split(token)
    assert refused.value.detail.startswith(said)


def test_refusal_of_another_kind_of_token_names_its_marks() -> None:
    claims = parse_claims(json.dumps(mint().claims(sub="x", at_hash="y")).encode())
    with pytest.raises(Refused) as refused:
        check_claims(claims, audiences={mint().audience}, now=NOW)
    assert refused.value.detail.startswith("at_hash, sub mark")


def test_token_without_nbf_is_good_from_the_first_second_on() -> None:
    claims = parse_claims(json.dumps(mint().claims(nbf=None)).encode())
    for now in (0.0, 0.5):
        check_claims(claims, audiences={mint().audience}, now=now, leeway=0.0)


@pytest.mark.parametrize("member", ["jwe", "jku"])
def test_key_that_is_named_by_another_way_as_well_binds_nothing(member: str) -> None:
    jwk = mint().jwk()
    assert confirmation({"jwk": jwk})
    assert reason_of({"jwk": jwk, member: "x"}, of=confirmation) is Reason.CLAIMS_MALFORMED


@pytest.mark.parametrize("name", ["/a~", "/~2", "/a~~0", "/~~01", "/~~10"])
def test_pointer_with_a_tilde_that_stands_for_nothing_names_no_claim(name: str) -> None:
    with pytest.raises(ValueError, match="neither ~0 nor ~1"):
        check_name(name)


@pytest.mark.parametrize("name", ["a~", "/a", "/a~0b", "/~1~0~1", "/~01"])
def test_other_names_may_name_a_claim(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("upper", [*range(15), None])
def test_suffix_has_a_bit_for_each_upper_case_character(upper: int | None) -> None:
    record = "".join("X" if place == upper else "x" for place in range(15))
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    groups = [record[start : start + 5] for start in (0, 5, 10)]
    expected = [letters[sum(1 << place for place in range(5) if group[place].isupper())] for group in groups]
    assert suffix(record) == "".join(expected)
    assert suffix(record.swapcase()) == "".join(letters[31 - letters.index(letter)] for letter in expected)
