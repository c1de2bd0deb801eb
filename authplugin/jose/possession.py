"""Proof of possession: which key a token is bound to, and whether the client holds it (RFC 7800).

`confirmation` turns the ``cnf`` claim into 33 bytes or refuses it; a grant carries those bytes, and
they are enough to compare a certificate with. To check a signature takes the key itself, from the
token (`bound_key`) or, where that has the key's thumbprint only, from the proof (`shown_key`).
"""

from collections.abc import Mapping

from authplugin.errors import Reason, Refused
from authplugin.jose.base64url import LETTERS, TO_STANDARD, decode_letters, encode
from authplugin.jose.certificate import certificate_digest, certificate_jwk
from authplugin.jose.jwk import UnfitKeyError, admit_bound, digest, rsa_digest
from authplugin.jose.key import VerifyingKey
from authplugin.jose.usual import UsualConfirmation

KEY = b"j"
"""First byte of a confirmation that is the SHA-256 thumbprint of a JWK."""

CERTIFICATE = b"x"
"""First byte of a confirmation that is the SHA-256 of a certificate's DER."""

_DIGEST_BYTES = 32


def confirmation(cnf: Mapping[str, object] | UsualConfirmation | None) -> bytes:
    """What ``cnf`` binds a token to: nothing, `KEY` and 32 bytes, or `CERTIFICATE` and 32 bytes.

    Read are ``jwk`` (RFC 7800 §3.2), ``jkt`` (RFC 9449 §6.1) and ``x5t#S256`` (RFC 8705 §3.1); of
    these a token has one, or ``jwk`` and the ``jkt`` of that same key. A ``cnf`` with none of them
    binds the token in a way that cannot be checked here, and is refused.

    Raises:
        Refused: ``claims_malformed``.
    """
    if cnf is None:
        return b""
    if isinstance(cnf, UsualConfirmation):
        try:
            return KEY + rsa_digest(cnf.jwk.e, cnf.jwk.n)
        except UnfitKeyError as error:
            raise Refused(Reason.CLAIMS_MALFORMED, f"cnf.jwk {error}") from None
    if "jwe" in cnf or "jku" in cnf:
        raise Refused(Reason.CLAIMS_MALFORMED, "cnf names its key by jwe or jku, which are not read")
    bound = b""
    if "jwk" in cnf:
        bound = KEY + _key(cnf["jwk"])
    if "jkt" in cnf:
        bound = _one(bound, KEY + _digest(cnf, "jkt"))
    if "x5t#S256" in cnf:
        bound = _one(bound, CERTIFICATE + _digest(cnf, "x5t#S256"))
    if not bound:
        raise Refused(Reason.CLAIMS_MALFORMED, "cnf has none of jwk, jkt and x5t#S256")
    return bound


def bound_key(cnf: Mapping[str, object] | None) -> VerifyingKey | None:
    """The key a proof must be signed with, None when the token has its thumbprint only.

    Args:
        cnf: the claim, which `confirmation` has accepted.

    Raises:
        Refused: ``possession_failed`` when there is no such key: the token is bound to nothing or
            to a certificate, or its key is too weak to prove anything.
    """
    if cnf is None:
        raise Refused(Reason.POSSESSION_FAILED, "the token is bound to no key")
    if "jwk" in cnf:
        return _admitted(cnf["jwk"], "the key in cnf.jwk")
    if "jkt" in cnf:
        return None
    raise Refused(
        Reason.POSSESSION_FAILED, "the token is bound to a certificate, which only a TLS handshake proves"
    )


def shown_key(jwk: object, bound: bytes) -> VerifyingKey:
    """The key that a client has shown, which must be the one its token is bound to.

    Args:
        jwk: what the client sent.
        bound: the token's confirmation.

    Raises:
        Refused: ``possession_failed``.
    """
    key = _admitted(jwk, "the key that was shown")
    if not _is_bound(key, bound):
        raise Refused(Reason.POSSESSION_FAILED, "the key that was shown is not the one in cnf.jkt")
    return key


def check_proof(key: VerifyingKey, message: bytes, signature: bytes) -> None:
    """Check that ``key``'s private half signed ``message``: RS256, ES256 or EdDSA as the key says.

    Args:
        key: from `bound_key` or `shown_key`.
        message: what was to be signed.
        signature: PKCS #1 v1.5, r and s of 32 bytes each, or Ed25519; as in a JWS (RFC 7518 §3).

    Raises:
        Refused: ``possession_failed``.
    """
    if not key.holds(message, signature):
        raise Refused(Reason.POSSESSION_FAILED, "the proof is not signed by the key the token is bound to")


def fits_certificate(bound: bytes, certificate: bytes) -> bool:
    """Whether a token is bound to a certificate, or to the key in it.

    Args:
        bound: the token's confirmation.
        certificate: DER; its holder has shown to TLS that it has the private half.
    """
    if bound.startswith(CERTIFICATE):
        return bound[1:] == certificate_digest(certificate)
    if not bound:
        return False
    try:
        key = admit_bound(certificate_jwk(certificate))
    except UnfitKeyError:
        return False
    return _is_bound(key, bound)


def _is_bound(key: VerifyingKey, bound: bytes) -> bool:
    return bound.startswith(KEY) and key.thumbprint == encode(bound[1:])


def _admitted(jwk: object, what: str) -> VerifyingKey:
    try:
        return admit_bound(jwk)
    except UnfitKeyError as error:
        raise Refused(Reason.POSSESSION_FAILED, f"{what} {error}") from None


def _one(before: bytes, bound: bytes) -> bytes:
    if before not in (b"", bound):
        raise Refused(Reason.CLAIMS_MALFORMED, "cnf binds the token to two things")
    return bound


def _key(jwk: object) -> bytes:
    try:
        return digest(jwk)
    except UnfitKeyError as error:
        raise Refused(Reason.CLAIMS_MALFORMED, f"cnf.jwk {error}") from None


def _digest(cnf: Mapping[str, object], member: str) -> bytes:
    value = cnf[member]
    letters = value.encode("utf-8", "replace") if isinstance(value, str) else b"!"
    try:
        octets = b"" if letters.translate(None, LETTERS) else decode_letters(letters.translate(TO_STANDARD))
    except ValueError:
        octets = b""
    if len(octets) != _DIGEST_BYTES:
        raise Refused(Reason.CLAIMS_MALFORMED, f"cnf.{member} is not a SHA-256 in base64url")
    return octets
