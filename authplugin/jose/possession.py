"""Proof of possession: which key a token is bound to, and whether the client holds it (RFC 7800).

`confirmation` turns the ``cnf`` claim into 33 bytes or refuses it; a grant carries those bytes.
"""

from collections.abc import Mapping

from authplugin.errors import Reason, Refused
from authplugin.jose.base64url import LETTERS, decode_letters
from authplugin.jose.jwk import UnfitKeyError, digest

KEY = b"j"
"""First byte of a confirmation that is the SHA-256 thumbprint of a JWK."""

CERTIFICATE = b"x"
"""First byte of a confirmation that is the SHA-256 of a certificate's DER."""

_DIGEST_BYTES = 32
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def confirmation(cnf: Mapping[str, object] | None) -> bytes:
    """What ``cnf`` binds a token to: nothing, `KEY` and 32 bytes, or `CERTIFICATE` and 32 bytes.

    Read are ``jwk`` (RFC 7800 §3.2), ``jkt`` (RFC 9449 §6.1) and ``x5t#S256`` (RFC 8705 §3.1); of
    these a token has one, or ``jwk`` and the ``jkt`` of that same key. A ``cnf`` with none of them
    binds the token in a way that cannot be checked here, and is refused.

    Raises:
        Refused: ``claims_malformed``.
    """
    if cnf is None:
        return b""
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
        octets = b"" if letters.translate(None, LETTERS) else decode_letters(letters.translate(_TO_STANDARD))
    except ValueError:
        octets = b""
    if len(octets) != _DIGEST_BYTES:
        raise Refused(Reason.CLAIMS_MALFORMED, f"cnf.{member} is not a SHA-256 in base64url")
    return octets
