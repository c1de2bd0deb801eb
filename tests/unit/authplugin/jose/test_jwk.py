"""Admission of keys: fit ones verify, unfit ones are left out with a reason, leaked secrets refuse all."""

import math
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import import_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from authplugin.errors import KeySetError, Reason, Refused
from authplugin.jose import verify_jws
from authplugin.jose.jwk import Unfit, UnfitKeyError, admit, admit_set, thumbprint
from authplugin.jose.roca import has_fingerprint
from authplugin.testing.mint import base64url
from tests.support.mints import mint
from tests.support.weakkeys import PRIMES, low_exponent_key, modulus, number, roca_key, rsa_jwk, small_key

RS256 = ["RS256"]
ALL = ["RS256", "ES256", "EdDSA"]


def jwk(algorithm: str = "RS256", /, **changes: object) -> dict[str, object]:
    changed = {**mint(algorithm).jwk(), **changes}
    return {name: value for name, value in changed.items() if value is not None}


def good_n() -> int:
    key = mint().key
    assert isinstance(key, RSAPrivateKey)
    return key.public_key().public_numbers().n


def exponent(e: int) -> Callable[[], dict[str, object]]:
    return lambda: rsa_jwk(good_n(), e)


#: Made when a test asks: finding primes while tests are collected would cost every process of a run.
WEAK_KEYS: dict[str, tuple[Callable[[], dict[str, object]], Unfit]] = {
    "1024 bits": (lambda: rsa_jwk(small_key().public_key().public_numbers().n), Unfit.MODULUS_SIZE),
    "2047 bits": (lambda: rsa_jwk((1 << 2046) + 1), Unfit.MODULUS_SIZE),
    "16k bits": (lambda: rsa_jwk((1 << 16383) + 1), Unfit.MODULUS_SIZE),
    "8193 bits": (lambda: rsa_jwk((1 << 8192) + 1), Unfit.MODULUS_SIZE),
    "n = 0": (lambda: {**rsa_jwk(good_n()), "n": "AA"}, Unfit.MODULUS_SIZE),
    "e = 1": (exponent(1), Unfit.EXPONENT),
    "e = 3": (lambda: rsa_jwk(low_exponent_key().public_key().public_numbers().n, 3), Unfit.EXPONENT),
    "e = 65535": (exponent(65535), Unfit.EXPONENT),
    "e even": (exponent(65538), Unfit.EXPONENT),
    "e of 65 bits": (exponent((1 << 64) + 1), Unfit.EXPONENT),
    "n even": (lambda: rsa_jwk(good_n() - 1), Unfit.MODULUS_WEAK),
    "n a multiple of 7": (lambda: rsa_jwk(good_n() - good_n() % 14 + 7), Unfit.MODULUS_WEAK),
    "ROCA": (lambda: rsa_jwk(modulus(roca_key())), Unfit.ROCA),
}


@pytest.mark.parametrize("name", WEAK_KEYS)
def test_weak_key_is_left_out(name: str) -> None:
    make, why = WEAK_KEYS[name]
    with pytest.raises(UnfitKeyError) as unfit:
        admit(make(), RS256)
    assert unfit.value.why is why


def test_token_signed_by_a_weak_key_is_refused() -> None:
    for private, e in ((small_key(), 65537), (low_exponent_key(), 3)):
        numbers = private.public_key().public_numbers()
        jwks = {"keys": [rsa_jwk(numbers.n, e)]}
        token = mint().sign(mint().claims(), key=private)
        with pytest.raises(Refused) as refused:
            verify_jws(token, jwks, algorithms=RS256)
        assert refused.value.reason is Reason.KEY_UNKNOWN
        assert "key 0" in refused.value.detail


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"use": "enc"}, Unfit.USE_NOT_SIGNATURE),
        ({"use": ["sig"]}, Unfit.USE_NOT_SIGNATURE),
        ({"use": "SIG"}, Unfit.USE_NOT_SIGNATURE),
        ({"key_ops": ["encrypt"]}, Unfit.KEY_OPS_NOT_VERIFY),
        ({"key_ops": []}, Unfit.KEY_OPS_NOT_VERIFY),
        ({"key_ops": "verify"}, Unfit.KEY_OPS_NOT_VERIFY),
        ({"alg": "RS512"}, Unfit.ALGORITHM_NOT_ALLOWED),
        ({"alg": "PS256"}, Unfit.ALGORITHM_NOT_ALLOWED),
        ({"alg": "HS256"}, Unfit.ALGORITHM_NOT_ALLOWED),
        ({"alg": ["RS256"]}, Unfit.ALGORITHM_NOT_ALLOWED),
        ({"kid": None}, Unfit.KID_INVALID),
        ({"kid": 190}, Unfit.KID_INVALID),
        ({"kid": "../Assets"}, Unfit.KID_INVALID),
        ({"kty": None}, Unfit.KTY_UNSUPPORTED),
        ({"kty": "rsa"}, Unfit.KTY_UNSUPPORTED),
        ({"kty": ["RSA"]}, Unfit.KTY_UNSUPPORTED),
        ({"kty": "AKP"}, Unfit.KTY_UNSUPPORTED),
        ({"n": None}, Unfit.MALFORMED),
        ({"n": ""}, Unfit.MALFORMED),
        ({"n": 5}, Unfit.MALFORMED),
        ({"n": "AQAB="}, Unfit.MALFORMED),
        ({"n": "AQA+"}, Unfit.MALFORMED),
        ({"n": "AQA\ud800"}, Unfit.MALFORMED),
        ({"n": "AQABA"}, Unfit.MALFORMED),
        ({"e": "AQ AB"}, Unfit.MALFORMED),
        ({"e": None}, Unfit.MALFORMED),
    ],
)
def test_misused_or_malformed_rsa_key_is_left_out(changes: dict[str, object], why: Unfit) -> None:
    with pytest.raises(UnfitKeyError) as unfit:
        admit(jwk(**changes), RS256)
    assert unfit.value.why is why


@pytest.mark.parametrize(
    ("algorithm", "changes", "why"),
    [
        ("ES256", {"crv": "P-384"}, Unfit.CURVE_UNSUPPORTED),
        ("ES256", {"crv": "secp256k1"}, Unfit.CURVE_UNSUPPORTED),
        ("ES256", {"crv": None}, Unfit.CURVE_UNSUPPORTED),
        ("ES256", {"crv": ["P-256"]}, Unfit.CURVE_UNSUPPORTED),
        ("ES256", {"crv": "Ed25519"}, Unfit.CURVE_UNSUPPORTED),
        ("ES256", {"x": number(1, 32)}, Unfit.POINT_INVALID),
        ("ES256", {"x": number(0, 32), "y": number(0, 32)}, Unfit.POINT_INVALID),
        ("ES256", {"x": number(1, 31)}, Unfit.MALFORMED),
        ("ES256", {"y": number(1, 33)}, Unfit.MALFORMED),
        ("ES256", {"y": None}, Unfit.MALFORMED),
        ("ES256", {"alg": "ES384"}, Unfit.ALGORITHM_NOT_ALLOWED),
        ("EdDSA", {"crv": "Ed448"}, Unfit.CURVE_UNSUPPORTED),
        ("EdDSA", {"crv": "X25519"}, Unfit.CURVE_UNSUPPORTED),
        ("EdDSA", {"x": number(1, 31)}, Unfit.MALFORMED),
        ("EdDSA", {"x": number(1, 33)}, Unfit.MALFORMED),
        ("EdDSA", {"x": base64url(bytes(32)).decode()}, Unfit.POINT_INVALID),
        ("EdDSA", {"x": base64url(b"\x01" + bytes(31)).decode()}, Unfit.POINT_INVALID),
        ("EdDSA", {"x": base64url(b"\x01" + bytes(30) + b"\x80").decode()}, Unfit.POINT_INVALID),
        ("EdDSA", {"x": base64url(b"\xec" + b"\xff" * 30 + b"\x7f").decode()}, Unfit.POINT_INVALID),
        ("EdDSA", {"x": base64url(b"\xed" + b"\xff" * 30 + b"\x7f").decode()}, Unfit.POINT_INVALID),
        ("EdDSA", {"x": base64url(b"\x02" + bytes(31)).decode()}, Unfit.POINT_INVALID),
    ],
)
def test_unfit_curve_key_is_left_out(algorithm: str, changes: dict[str, object], why: Unfit) -> None:
    with pytest.raises(UnfitKeyError) as unfit:
        admit(jwk(algorithm, **changes), ALL)
    assert unfit.value.why is why


def test_key_of_an_algorithm_the_issuer_may_not_use_is_left_out() -> None:
    for algorithm in ALL:
        others = [name for name in ALL if name != algorithm]
        with pytest.raises(UnfitKeyError) as unfit:
            admit(jwk(algorithm), others)
        assert unfit.value.why is Unfit.ALGORITHM_NOT_ALLOWED
    with pytest.raises(UnfitKeyError) as unfit:
        admit(jwk(), ["HS256", "none"])
    assert unfit.value.why is Unfit.ALGORITHM_NOT_ALLOWED


def test_fit_key_says_what_it_is() -> None:
    key = admit(jwk(key_ops=["verify", "sign"]), RS256)
    assert (key.kid, key.algorithm, key.bits) == ("Assets", "RS256", 2048)
    assert key.thumbprint == thumbprint(jwk())
    assert "Assets" in repr(key)
    assert (admit(jwk("ES256"), ALL).bits, admit(jwk("EdDSA"), ALL).bits) == (256, 255)


def test_absent_use_alg_and_key_ops_are_fine() -> None:
    assert admit(jwk(use=None, alg=None), RS256).algorithm == "RS256"


def test_modulus_with_leading_zero_is_the_same_key() -> None:
    padded = admit(jwk(n=number(good_n(), 257)), RS256)
    assert padded.thumbprint == admit(jwk(), RS256).thumbprint
    token = mint().mint()
    assert verify_jws(token, {"keys": [jwk(n=number(good_n(), 257))]}, algorithms=RS256)


@pytest.mark.parametrize("key", ["text", 7, None, [], True])
def test_key_that_is_no_object_is_left_out(key: object) -> None:
    admission = admit_set({"keys": [key, jwk()]}, RS256)
    assert list(admission.keys) == ["Assets"]
    assert [(out.position, out.kid, out.why) for out in admission.left_out] == [(0, None, Unfit.MALFORMED)]


def test_one_bad_key_leaves_the_good_ones() -> None:
    admission = admit_set({"keys": [jwk(kid="bad", use="enc"), jwk()]}, RS256)
    assert set(admission.keys) == {"Assets"}
    assert [(out.kid, out.why) for out in admission.left_out] == [("bad", Unfit.USE_NOT_SIGNATURE)]


def test_of_a_duplicated_kid_all_are_left_out() -> None:
    second = mint(kid="Second").jwk()
    for twin in (jwk(), {**second, "kid": "Assets"}, jwk(use="enc"), {"kid": "Assets", "kty": "AKP"}):
        admission = admit_set({"keys": [jwk(), second, twin]}, RS256)
        assert set(admission.keys) == {"Second"}
        assert [(out.position, out.why) for out in admission.left_out] == [
            (0, Unfit.KID_DUPLICATE),
            (2, Unfit.KID_DUPLICATE),
        ]


@pytest.mark.parametrize(
    "leak",
    [
        {"kty": "oct", "k": "AAAA", "kid": "secret"},
        {"kty": "oct"},
        {"kty": "RSA", "d": "AQAB"},
        {"kty": "RSA", "p": "AQAB"},
        {"kty": "RSA", "q": "AQAB"},
        {"kty": "RSA", "dp": "AQAB"},
        {"kty": "RSA", "dq": "AQAB"},
        {"kty": "RSA", "qi": "AQAB"},
        {"kty": "RSA", "oth": []},
        {"kty": "EC", "crv": "P-256", "d": "AQAB"},
        {"kty": "OKP", "crv": "Ed25519", "d": "AQAB"},
        {"kty": "unknown", "k": None},
    ],
)
def test_set_with_a_secret_is_refused_whole(leak: dict[str, object]) -> None:
    with pytest.raises(KeySetError, match="refused whole"):
        admit_set({"keys": [jwk(), leak]}, RS256)
    with pytest.raises(Refused) as refused:
        verify_jws(mint().mint(), {"keys": [jwk(), leak]}, algorithms=RS256)
    assert refused.value.reason is Reason.KEY_UNKNOWN


def test_private_key_of_the_issuer_itself_is_refused_whole() -> None:
    key = mint().key
    assert isinstance(key, RSAPrivateKey)
    leaked = {**jwk(), **RSAAlgorithm.to_jwk(key, as_dict=True)}
    with pytest.raises(KeySetError):
        admit_set({"keys": [leaked]}, RS256)


@pytest.mark.parametrize(
    "document", [None, [], "x", {}, {"keys": None}, {"keys": {}}, {"keys": "x"}, [jwk()]]
)
def test_document_that_is_no_set_is_refused(document: object) -> None:
    with pytest.raises(KeySetError, match="not a JWK Set"):
        admit_set(document, RS256)


def test_set_with_too_many_keys_is_refused() -> None:
    assert not admit_set({"keys": [{}] * 64}, RS256).keys
    with pytest.raises(KeySetError, match="at most 64"):
        admit_set({"keys": [{}] * 65}, RS256)


def test_thumbprint_is_the_one_of_rfc_7638() -> None:
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    )
    example = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(example) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("algorithm", ALL)
def test_thumbprint_agrees_with_another_library(algorithm: str) -> None:
    key = {name: value for name, value in jwk(algorithm).items() if name != "alg"}
    assert thumbprint(key) == import_key(key).thumbprint()  # type: ignore[arg-type] # a JWK


def test_thumbprint_of_a_secret_or_a_stranger_is_refused() -> None:
    for key in (None, "x", {}, {"kty": "oct", "k": "AAAA"}, jwk(d="AQAB")):
        with pytest.raises(UnfitKeyError):
            thumbprint(key)
    curve = ECAlgorithm.to_jwk(generate_private_key(SECP384R1()).public_key(), as_dict=True)
    with pytest.raises(UnfitKeyError):
        thumbprint(curve)


def test_roca_fingerprint_marks_flawed_moduli_only() -> None:
    assert has_fingerprint(modulus(roca_key()))
    assert not any(has_fingerprint(key.public_numbers().n) for key in (small_key().public_key(),))
    assert not has_fingerprint(good_n())


@given(st.integers(min_value=0, max_value=2**2048))
def test_every_power_of_the_generator_has_the_fingerprint(exponent: int) -> None:
    assert has_fingerprint(pow(65537, exponent, math.prod(PRIMES)))


@pytest.mark.parametrize("prime", [prime for prime in PRIMES if 2 < prime <= 167])
def test_a_number_that_is_no_power_modulo_one_prime_has_no_fingerprint(prime: int) -> None:
    others = math.lcm(*range(1, 169))
    while others % prime == 0:
        others //= prime
    number = prime * pow(prime, -1, others)  # divisible by the prime, and 1 modulo all else
    assert not has_fingerprint(number)
    assert has_fingerprint(number + others * pow(others, -1, prime))


def test_numbers_of_a_key_are_read_as_the_other_libraries_read_them() -> None:
    key = mint().key
    assert isinstance(key, RSAPrivateKey)
    private: RSAPrivateNumbers = key.private_numbers()
    assert isinstance(private.public_numbers, RSAPublicNumbers)
    assert admit(rsa_jwk(private.public_numbers.n), RS256).thumbprint == thumbprint(jwk())
