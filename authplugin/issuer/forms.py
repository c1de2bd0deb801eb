"""Form bodies of token requests: bounded, each parameter once (RFC 6749 §3.2, appendix B)."""

from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus

from authplugin.issuer.errors import OAuthCode, OAuthError

MAX_BODY = 65536
"""Largest body that is read, in bytes."""

_MAX_PARAMETERS = 64
_FORM = "application/x-www-form-urlencoded"


def parse_form(content_type: str, body: bytes) -> dict[str, str]:
    """Parameters by name; those without a value are absent.

    Raises:
        OAuthError: ``invalid_request``: another media type, no form, or a parameter given twice.
    """
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise OAuthError(OAuthCode.INVALID_REQUEST, f"the body is not {_FORM}")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        raise OAuthError(
            OAuthCode.INVALID_REQUEST, "the body is no form, or has over 64 parameters"
        ) from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthError(OAuthCode.INVALID_REQUEST, "a parameter is given twice")
    return {name: value for name, value in form.items() if value}


def require(form: Mapping[str, str], name: str) -> str:
    """The parameter's value.

    Raises:
        OAuthError: ``invalid_request`` when it is not there.
    """
    if name not in form:
        raise OAuthError(OAuthCode.INVALID_REQUEST, f"{name} is missing")
    return form[name]


def read_client(form: Mapping[str, str], authorization: str | None) -> tuple[str, str] | None:
    """Client id and secret, from the Basic scheme or from the body (RFC 6749 §2.3.1); None for neither.

    Raises:
        OAuthError: ``invalid_request`` when both ways are used, ``invalid_client`` for another
            scheme or half of a pair.
    """
    in_body = "client_id" in form or "client_secret" in form
    if authorization is None:
        if not in_body:
            return None
        if "client_id" not in form or "client_secret" not in form:
            raise OAuthError(OAuthCode.INVALID_CLIENT, "client_id and client_secret go together")
        return form["client_id"], form["client_secret"]
    if "client_secret" in form:
        raise OAuthError(OAuthCode.INVALID_REQUEST, "the client authenticates in two ways at once")
    scheme, _, encoded = authorization.partition(" ")
    try:
        decoded = b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        decoded = ""
    name, colon, secret = decoded.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise OAuthError(OAuthCode.INVALID_CLIENT, "the Authorization header is not of the Basic scheme")
    return unquote_plus(name), unquote_plus(secret)
