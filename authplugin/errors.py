"""Why something was refused, and what a person must change.

Exceptions of this package::

    AuthpluginError
    ├── Refused            a token, connect or topic was judged and refused: carries its `Reason`
    ├── ConfigurationError a setting is wrong: file, line, key, found, expected
    │   └── ConfigurationErrors   all that are wrong, at once
    ├── KeySetError        a key set was not fetched or may not be used
    ├── BuildError         the Mosquitto plugin cannot be built or loaded here: what is missing
    └── InstallError       it cannot be put into this broker, or taken out again: what is in the way
"""

from collections.abc import Sequence
from enum import StrEnum


class Reason(StrEnum):
    """Every reason to refuse: one stable word that is log field, metric label and row of the docs."""

    TOO_LONG = "too_long"
    MALFORMED = "malformed"
    ALG_NOT_ALLOWED = "alg_not_allowed"
    HEADER_NOT_ALLOWED = "header_not_allowed"
    KID_INVALID = "kid_invalid"
    ISSUER_UNKNOWN = "issuer_unknown"
    KEY_UNKNOWN = "key_unknown"
    KEYS_STALE = "keys_stale"
    SIGNATURE_INVALID = "signature_invalid"
    CLAIMS_MALFORMED = "claims_malformed"
    EXP_MISSING = "exp_missing"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    AUDIENCE_MISMATCH = "audience_mismatch"
    NOT_ASSET_TOKEN = "not_asset_token"  # noqa: S105 - a word, not a secret
    ASSET_MISSING = "asset_missing"
    DEVICE_MISSING = "device_missing"
    ASSET_UNSAFE = "asset_unsafe"
    ASSET_UNKNOWN = "asset_unknown"
    FOREIGN_ASSET = "foreign_asset"
    REVOKED = "revoked"
    QUARANTINED = "quarantined"
    THROTTLED = "throttled"
    CLIENT_ID_MISMATCH = "client_id_mismatch"
    USERNAME_MISMATCH = "username_mismatch"
    POSSESSION_REQUIRED = "possession_required"
    POSSESSION_FAILED = "possession_failed"
    TOPIC_DENIED = "topic_denied"
    TOPIC_ID_FORM = "topic_id_form"
    INTERNAL = "internal"


class AuthpluginError(Exception):
    """Root of every exception this package raises on purpose."""


class Refused(AuthpluginError):
    """Raised below the gate's seam when something is judged and refused.

    ``detail`` is for a person and never holds token bytes, passwords or key material.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        # The text is written when somebody reads it: most refusals are only counted.
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


class ConfigurationError(AuthpluginError):
    """Raised when a setting is wrong; its text says where, what was found and what was expected."""

    def __init__(self, *, file: str, line: int | None, key: str, found: str, expected: str) -> None:
        where = file if line is None else f"{file}:{line}"
        super().__init__(f"{where}: {key}: found {found}, expected {expected}")
        self.file = file
        self.line = line
        self.key = key
        self.found = found
        self.expected = expected


class ConfigurationErrors(ConfigurationError):
    """Raised when settings are wrong: every mistake found, one a line; the attributes are the first's."""

    def __init__(self, errors: Sequence[ConfigurationError]) -> None:
        first = errors[0]
        super().__init__(
            file=first.file, line=first.line, key=first.key, found=first.found, expected=first.expected
        )
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


class KeySetError(AuthpluginError):
    """Raised when a key set cannot be fetched, or when what was fetched may not be used."""


class BuildError(AuthpluginError):
    """Raised when the Mosquitto plugin cannot be built or loaded here; the text says what is missing."""


class InstallError(AuthpluginError):
    """Raised when the gate cannot be put into a broker, or taken out again; says what is in the way."""
