"""Admission of keys: what an issuer publishes becomes a key that verifies, or is left out with a reason.

A key is judged once, when it arrives, never while a token waits (RFC 7517, RFC 7518 §6, RFC 8725
§3.4-3.5). PyJWT builds the key object; what it would also build (small, private, even or chip-flawed
keys, lax base64) is refused here first.
"""

import math
from collections.abc import Collection, Mapping
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from authplugin.errors import KeySetError
from authplugin.jose.base64url import LAST, LETTERS, TO_STANDARD, decode_letters, encode
from authplugin.jose.compact import is_kid
from authplugin.jose.edwards import is_sound
from authplugin.jose.key import Ed25519Key, P256Key, RSAKey, VerifyingKey
from authplugin.jose.roca import has_fingerprint

SUPPORTED_ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
"""What this package can verify; an issuer's setting chooses among these. No HMAC exists here."""

MAX_KEYS = 64
"""Most keys one set may publish."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
MIN_EXPONENT = 65537
MAX_EXPONENT_BITS = 64
_USUAL_EXPONENT = "AQAB"  # 65537, known to be one spelling

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_FIELD_LETTERS = 43  # of 32 bytes
# Parsed JSON is a dict, and asking an abstract class costs more than asking a real one.
_OBJECT = (dict, Mapping)
# A modulus of two large primes has no factor below 752 (NIST SP 800-89 §5.3.3): the last of them is 751.
_SMALL_FACTORS = math.factorial(751)
_ALGORITHM_OF_CURVE = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}


class Unfit(StrEnum):
    """Why a key is left out: one stable word each."""

    MALFORMED = "malformed"
    KID_INVALID = "kid_invalid"
    KID_DUPLICATE = "kid_duplicate"
    KTY_UNSUPPORTED = "kty_unsupported"
    CURVE_UNSUPPORTED = "curve_unsupported"
    USE_NOT_SIGNATURE = "use_not_signature"
    KEY_OPS_NOT_VERIFY = "key_ops_not_verify"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    MODULUS_SIZE = "modulus_size"
    MODULUS_WEAK = "modulus_weak"
    EXPONENT = "exponent"
    ROCA = "roca"
    POINT_INVALID = "point_invalid"


class LeftOut(msgspec.Struct, frozen=True):
    """A published key that is not used.

    Attributes:
        position: its index in ``keys``, from 0.
        kid: its name, None when that is unfit itself.
        why: the stable word.
        detail: what was found, for a person.
    """

    position: int
    kid: str | None
    why: Unfit
    detail: str


class Admission(msgspec.Struct, frozen=True):
    """A set after judgement: keys by kid, and what was left out."""

    keys: Mapping[str, VerifyingKey]
    left_out: tuple[LeftOut, ...]


class UnfitKeyError(ValueError):
    """One key may not be used; carries the `Unfit` word. Text says what was found, no key material."""

    def __init__(self, why: Unfit, detail: str) -> None:
        super().__init__(detail)
        self.why = why


def admit_set(document: object, algorithms: Collection[str]) -> Admission:
    """Judge a JWK Set (RFC 7517 §5).

    Args:
        document: the parsed JSON.
        algorithms: names the issuer may sign with; any beyond `SUPPORTED_ALGORITHMS` never match.

    Raises:
        KeySetError: not a set at all, more than 64 keys, or a symmetric or private key in it: the
            issuer published a secret, so nothing it published with it is trusted.
    """
    published = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(published, list | tuple):
        raise KeySetError("the document is not a JWK Set: it has no list named keys")
    if len(published) > MAX_KEYS:
        raise KeySetError(f"the set has {len(published)} keys, at most {MAX_KEYS} are read")
    for position, jwk in enumerate(published):
        if isinstance(jwk, Mapping) and is_secret(jwk):
            raise KeySetError(f"key {position} holds symmetric or private members: the set is refused whole")
    keys: dict[str, VerifyingKey] = {}
    left_out: list[LeftOut] = []
    kids = [_kid(jwk) for jwk in published]
    for position, (jwk, kid) in enumerate(zip(published, kids, strict=True)):
        if kid is not None and kids.count(kid) > 1:
            twice = "shares its kid with another key of the set: neither is used"
            left_out.append(LeftOut(position, kid, Unfit.KID_DUPLICATE, twice))
            continue
        try:
            key = admit(jwk, algorithms)
        except UnfitKeyError as error:
            left_out.append(LeftOut(position, kid, error.why, str(error)))
        else:
            keys[key.kid] = key
    return Admission(MappingProxyType(keys), tuple(left_out))


def _kid(jwk: object) -> str | None:
    kid = jwk.get("kid") if isinstance(jwk, Mapping) else None
    return kid if is_kid(kid) else None


def is_secret(jwk: Mapping[str, object]) -> bool:
    """Whether a JWK is symmetric or has a private half (RFC 7518 §6.2.2, §6.3.2, §6.4)."""
    return jwk.get("kty") == "oct" or not _PRIVATE.isdisjoint(jwk)


def admit(jwk: object, algorithms: Collection[str]) -> VerifyingKey:
    """Judge one JWK and build the key that verifies.

    Raises:
        UnfitKeyError: with the word for the log and a sentence for a person.
    """
    if not isinstance(jwk, Mapping):
        raise UnfitKeyError(Unfit.MALFORMED, "is not a JSON object")
    kid = jwk.get("kid")
    if not is_kid(kid):
        raise UnfitKeyError(Unfit.KID_INVALID, "has no kid of 1 to 256 characters that name a key")
    return _build(jwk, kid, algorithms)


def admit_bound(jwk: object) -> VerifyingKey:
    """Judge a JWK that a token is bound to, which needs no name: as strictly as an issuer's own key.

    Raises:
        UnfitKeyError: as `admit`.
    """
    if not isinstance(jwk, Mapping):
        raise UnfitKeyError(Unfit.MALFORMED, "is not a JSON object")
    return _build(jwk, "", SUPPORTED_ALGORITHMS)


def _build(jwk: Mapping[str, object], kid: str, algorithms: Collection[str]) -> VerifyingKey:
    algorithm = algorithm_of(jwk)
    _check_purpose(jwk, algorithm, algorithms)
    name = thumbprint(jwk)
    if algorithm == "RS256":
        _check_rsa(_integer(jwk, "n"), _integer(jwk, "e"))
    elif algorithm == "EdDSA" and not is_sound(_octets(jwk, "x")):
        raise UnfitKeyError(Unfit.POINT_INVALID, "has an x that is no sound point of the curve")
    try:
        public = PyJWK(dict(jwk), algorithm).key
    except (PyJWTError, ValueError) as error:
        raise UnfitKeyError(Unfit.POINT_INVALID, f"is no key of its kind ({type(error).__name__})") from None
    if isinstance(public, RSAPublicKey):
        return RSAKey(kid, name, public)
    if isinstance(public, EllipticCurvePublicKey):
        return P256Key(kid, name, public)
    return Ed25519Key(kid, name, cast("Ed25519PublicKey", public))


def _check_purpose(jwk: Mapping[str, object], algorithm: str, algorithms: Collection[str]) -> None:
    """What the issuer published the key for (RFC 7517 §4.2-4.4), and what it may sign with."""
    if algorithm not in SUPPORTED_ALGORITHMS.intersection(algorithms):
        raise UnfitKeyError(Unfit.ALGORITHM_NOT_ALLOWED, f"is for {algorithm}, which is not allowed here")
    if jwk.get("alg", algorithm) != algorithm:
        raise UnfitKeyError(Unfit.ALGORITHM_NOT_ALLOWED, f"has another alg than {algorithm}")
    if jwk.get("use", "sig") != "sig":
        raise UnfitKeyError(Unfit.USE_NOT_SIGNATURE, "has a use other than sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list | tuple) or "verify" not in operations:
        raise UnfitKeyError(Unfit.KEY_OPS_NOT_VERIFY, "has key_ops without verify")


def thumbprint(jwk: object) -> str:
    """RFC 7638 thumbprint (SHA-256, base64url) of a public RSA, P-256 or Ed25519 key.

    Raises:
        UnfitKeyError: as `digest`.
    """
    return encode(digest(jwk))


def digest(jwk: object) -> bytes:
    """The 32 bytes of `thumbprint`.

    Raises:
        UnfitKeyError: another kind of key, a private or symmetric one, or members of the wrong form.
    """
    if not isinstance(jwk, _OBJECT):
        raise UnfitKeyError(Unfit.MALFORMED, "is not a JSON object")
    if is_secret(jwk):
        raise UnfitKeyError(Unfit.MALFORMED, "holds symmetric or private members")
    if algorithm_of(jwk) == "RS256":
        return rsa_digest(jwk.get("e"), jwk.get("n"))
    # The required members in the order of their names, without white space (RFC 7638 §3).
    if jwk["kty"] == "EC":
        x, y = _coordinate(jwk, "x"), _coordinate(jwk, "y")
        canonical = b'{"crv":"P-256","kty":"EC","x":"%b","y":"%b"}' % (x, y)
    else:
        canonical = b'{"crv":"Ed25519","kty":"OKP","x":"%b"}' % _coordinate(jwk, "x")
    return sha256(canonical).digest()


def rsa_digest(e: object, n: object) -> bytes:
    """The same of an RSA key, from its exponent and modulus as written.

    Raises:
        UnfitKeyError: one of them is not the text of an integer.
    """
    if e == _USUAL_EXPONENT and isinstance(n, str) and n[:1] != "A":
        letters = _letters(n, "n")
        return sha256(b'{"e":"AQAB","kty":"RSA","n":"%b"}' % letters).digest()
    canonical = b'{"e":"%b","kty":"RSA","n":"%b"}' % (_integer_letters(e, "e"), _integer_letters(n, "n"))
    return sha256(canonical).digest()


def algorithm_of(jwk: Mapping[str, object]) -> str:
    """The one algorithm a key of this kind is used for (RFC 8725 §3.1).

    Raises:
        UnfitKeyError: another kind of key.
    """
    kty, crv = jwk.get("kty"), jwk.get("crv")
    if kty == "RSA":
        return "RS256"
    if not isinstance(kty, str) or kty not in {"EC", "OKP"}:
        raise UnfitKeyError(Unfit.KTY_UNSUPPORTED, "has a kty that is none of RSA, EC, OKP")
    algorithm = _ALGORITHM_OF_CURVE.get((kty, crv)) if isinstance(crv, str) else None
    if algorithm is None:
        raise UnfitKeyError(Unfit.CURVE_UNSUPPORTED, f"has a crv that is not the one used with {kty}")
    return algorithm


def _check_rsa(n: int, e: int) -> None:
    bits = n.bit_length()
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        raise UnfitKeyError(
            Unfit.MODULUS_SIZE, f"has an n of {bits} bits, not {MIN_RSA_BITS} to {MAX_RSA_BITS}"
        )
    if e < MIN_EXPONENT or e % 2 == 0 or e.bit_length() > MAX_EXPONENT_BITS:
        raise UnfitKeyError(
            Unfit.EXPONENT, f"has an e that is not odd, from {MIN_EXPONENT} and of at most 64 bits"
        )
    if math.gcd(n, _SMALL_FACTORS) != 1:
        raise UnfitKeyError(Unfit.MODULUS_WEAK, "has an n with a small factor")
    if has_fingerprint(n):
        raise UnfitKeyError(Unfit.ROCA, "has an n with the ROCA fingerprint (CVE-2017-15361)")


def _letters(value: object, member: str) -> bytes:
    """A member's text, known to be base64url in its one spelling."""
    if not isinstance(value, str) or not value:
        raise UnfitKeyError(Unfit.MALFORMED, f"has no text named {member}")
    letters = value.encode("utf-8", "replace")
    if letters.translate(None, LETTERS):
        raise UnfitKeyError(Unfit.MALFORMED, f"has an {member} that is not base64url without padding")
    remainder = len(letters) & 3
    if remainder and letters[-1] not in LAST[remainder]:
        raise UnfitKeyError(Unfit.MALFORMED, f"has an {member} that does not end as base64url must")
    return letters


def _octets(jwk: Mapping[str, object], member: str) -> bytes:
    return decode_letters(_letters(jwk.get(member), member).translate(TO_STANDARD))


def _integer_letters(value: object, member: str) -> bytes:
    """The letters without leading zero octets, which some issuers write (RFC 7518 §2 Base64urlUInt)."""
    letters = _letters(value, member)
    # An octet is zero only when its first six bits are, and they are a letter of their own.
    if not letters.startswith(b"A"):
        return letters
    return encode(decode_letters(letters.translate(TO_STANDARD)).lstrip(b"\0")).encode()


def _integer(jwk: Mapping[str, object], member: str) -> int:
    return int.from_bytes(_octets(jwk, member), "big")


def _coordinate(jwk: Mapping[str, object], member: str) -> bytes:
    letters = _letters(jwk.get(member), member)
    if len(letters) != _FIELD_LETTERS:
        raise UnfitKeyError(Unfit.MALFORMED, f"has an {member} that is not 32 bytes long")
    return letters
