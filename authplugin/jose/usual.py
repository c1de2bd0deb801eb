"""The usual asset token's claims, read in one pass: those that `parse_claims` would find, or none.

Nearly every token has the claims of the vendor's own sample and no others, bound to an RSA key. They
fit one struct, so that no dictionary has to be filled, looked through and written back. What fits it
has one reading as well: a text that had a member twice, or one that is not of the struct, would hold
more strings than the struct does, for every member's name is one.
"""

from typing import Annotated, Any, Literal

import msgspec

_NUMERIC_DATE_END = 2**53
"""First integer after which a double no longer holds every second."""

NumericDate = (
    Annotated[int, msgspec.Meta(ge=0, lt=_NUMERIC_DATE_END)]
    | Annotated[float, msgspec.Meta(ge=0, lt=_NUMERIC_DATE_END)]
)
"""An integer or a finite decimal, never text or true (RFC 7519 §2), and a second a double can hold."""

Audiences = str | Annotated[tuple[str, ...], msgspec.Meta(max_length=32)]
"""One, or a list of some."""

_ABSENT: Any = None  # a default is not checked against its type: a null is no absence


class UsualKey(msgspec.Struct, frozen=True, gc=False):
    """``cnf.jwk``, an RSA key.

    Attributes:
        kty: kind of key.
        e: its exponent, whatever text that is.
        n: its modulus, the same.
        kid: what its owner calls it, or None.
    """

    kty: Literal["RSA"]
    e: str
    n: str
    kid: str = _ABSENT


class UsualConfirmation(msgspec.Struct, frozen=True, gc=False):
    """``cnf`` that binds a token to a key and says nothing else."""

    jwk: UsualKey


class UsualClaims(msgspec.Struct, frozen=True, gc=False):
    """Claims of a token that has no others; their form is right, what they say is not judged yet.

    Attributes are those of `authplugin.jose.claims.Claims`; an audience may be a single text.
    """

    iss: str
    aud: Audiences
    exp: NumericDate
    aid: str
    did: str
    nbf: NumericDate = _ABSENT
    iat: NumericDate = _ABSENT
    id: str = _ABSENT
    cnf: UsualConfirmation = _ABSENT


USUAL = frozenset(UsualClaims.__struct_fields__)
"""The claims of a usual token, by name."""

_decode = msgspec.json.Decoder(UsualClaims).decode

_QUOTE = b'"'
# Quotes that go with each: two of every name, and two of every value that is a text.
_ALWAYS = 16  # iss and its text, aud, exp, aid and its text, did and its text
_OF_TEXT = 4
_OF_OTHER = 2
_OF_KEY = 16  # cnf, jwk; kty, e and n with their texts


def read_usual(payload: bytes) -> UsualClaims | None:
    """The claims of a payload when it is a usual one; None when `parse_claims` has to say what it is.

    Good for choosing among configured issuers before the signature is checked; all else in it means
    something only afterwards.
    """
    try:
        claims = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    aud = claims.aud
    quotes = _ALWAYS + (2 if type(aud) is str else 2 * len(aud))
    if claims.nbf is not None:
        quotes += _OF_OTHER
    if claims.iat is not None:
        quotes += _OF_OTHER
    if claims.id is not None:
        quotes += _OF_TEXT
    cnf = claims.cnf
    if cnf is not None:
        quotes += _OF_KEY if cnf.jwk.kid is None else _OF_KEY + _OF_TEXT
    # An escaped quote counts as well: such a text is left to the other road.
    return claims if payload.count(_QUOTE) == quotes else None
