"""Refusals of the token endpoint (RFC 6749 §5.2)."""

from enum import StrEnum

from authplugin.errors import AuthpluginError


class OAuthCode(StrEnum):
    """The words of RFC 6749 §5.2 that this endpoint says, and §4.1.2.1's for an outage."""

    INVALID_REQUEST = "invalid_request"
    INVALID_GRANT = "invalid_grant"
    INVALID_CLIENT = "invalid_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"


_STATUS = {OAuthCode.INVALID_CLIENT: 401, OAuthCode.TEMPORARILY_UNAVAILABLE: 503}


class OAuthError(AuthpluginError):
    """Raised to answer a token request with an error.

    Attributes:
        code: the word in ``error``.
        description: for a person; never holds a token, a secret or key material.
        status: HTTP status.
    """

    def __init__(self, code: OAuthCode, description: str, *, status: int | None = None) -> None:
        # error_description may only hold printable ASCII without quote and backslash (RFC 6749 §5.2).
        self.description = "".join(
            letter if " " <= letter <= "~" and letter not in '"\\' else "'" for letter in description
        )
        super().__init__(f"{code.value}: {self.description}")
        self.code = code
        self.status = status if status is not None else _STATUS.get(code, 400)
