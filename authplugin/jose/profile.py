"""What an issuer's asset tokens have beyond the common claims: names, demands, attributes.

Issuers that were not made for assets put the same facts elsewhere. A claim is named as it stands in
the payload, or, inside other claims, by a JSON Pointer (RFC 6901), which begins with a slash:
``/device/serial``. Dots are letters like any other, for names such as
``https://acme.example.com/asset`` are common.
"""

from collections.abc import Iterable, Mapping

import msgspec

from authplugin.errors import Reason, Refused

MAX_ATTRIBUTE = 64
"""Longest value of an attribute, characters."""

_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")

Scalar = str | int | bool


class RequiredClaim(msgspec.Struct, frozen=True):
    """A claim that every asset token of an issuer has.

    Attributes:
        claim: its name or pointer.
        values: what it may be; nothing for any value but null. A list has one of them.
    """

    claim: str
    values: tuple[Scalar, ...] = ()


class Attribute(msgspec.Struct, frozen=True):
    """A claim that topic templates may name.

    Attributes:
        name: in templates, between braces.
        claim: its name or pointer in the token.
    """

    name: str
    claim: str


def find_claim(claims: Mapping[str, object], name: str) -> object:
    """The value of a claim by name or pointer; None when it is not there, as when it is null."""
    if not name.startswith("/"):
        return claims.get(name)
    value: object = claims
    for part in name[1:].split("/"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part.replace("~1", "/").replace("~0", "~"))
    return value


def check_name(name: str) -> None:
    """Check that a claim's name can name one.

    Raises:
        ValueError: it is a pointer with a ``~`` that stands for nothing (RFC 6901 §3).
    """
    # Something has to stay where an escape was: "~~01" must not become one.
    if name.startswith("/") and "~" in name.replace("~0", "x").replace("~1", "x"):
        raise ValueError("has a ~ that is neither ~0 nor ~1")


def check_required(claims: Mapping[str, object], required: Iterable[RequiredClaim]) -> None:
    """Check that a token has what marks its issuer's asset tokens.

    Raises:
        Refused: ``not_asset_token``.
    """
    for demand in required:
        value = find_claim(claims, demand.claim)
        if value is None:
            raise Refused(Reason.NOT_ASSET_TOKEN, f"the token has no {demand.claim}")
        found = value if isinstance(value, list) else [value]
        # 1 and true are equal to Python, and not to an issuer.
        if demand.values and not any(
            type(one) is type(allowed) and one == allowed for one in found for allowed in demand.values
        ):
            raise Refused(Reason.NOT_ASSET_TOKEN, f"{demand.claim} is none of the required values")


def read_attributes(
    claims: Mapping[str, object], attributes: Iterable[Attribute]
) -> tuple[tuple[str, str], ...]:
    """The attributes of a token, each safe as one topic level, in the order asked for.

    Raises:
        Refused: ``claims_malformed`` when one is missing, or is not 1 to 64 letters, digits and
            ``-_.`` (an integer is taken as its digits).
    """
    return tuple([(attribute.name, _level(claims, attribute.claim)) for attribute in attributes])


def _level(claims: Mapping[str, object], name: str) -> str:
    value = find_claim(claims, name)
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ATTRIBUTE or not _LETTERS.issuperset(value):
        raise Refused(
            Reason.CLAIMS_MALFORMED, f"{name} is not 1 to {MAX_ATTRIBUTE} letters, digits and -_. for a topic"
        )
    return value
