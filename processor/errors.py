"""Why a record was set aside, and what a person must change.

Exceptions of this package::

    ProcessorError
    ├── DeadLetter         a record cannot be judged: carries its `DeadReason`
    ├── ConfigurationError a setting or rule is wrong: file, line, key, found, expected
    ├── Refused            a whole file is: every `ConfigurationError` in it
    └── StreamError        Kafka or MQTT cannot be used as the design needs it: what to change
"""

from collections.abc import Iterable
from enum import StrEnum


class DeadReason(StrEnum):
    """Why a record went to the dead letters: header, metric label and row of the docs."""

    MALFORMED = "malformed"
    OVERSIZE = "oversize"
    NON_FINITE = "non_finite"
    WRONG_TYPE = "wrong_type"
    METRIC_NAME = "metric_name"
    ALIAS_ONLY = "alias_only"
    UNKNOWN_METRIC = "unknown_metric"
    SERIES_LIMIT = "series_limit"
    TIME_INVALID = "time_invalid"
    CLOCK_AHEAD = "clock_ahead"
    IDENTITY_MISMATCH = "identity_mismatch"
    TOPIC_INVALID = "topic_invalid"
    KEY_MISSING = "key_missing"
    RETENTION = "retention"
    INTERNAL = "internal"


class ProcessorError(Exception):
    """Root of every exception this package raises on purpose."""


class DeadLetter(ProcessorError):
    """Raised when a record cannot be judged; the record itself is kept, untouched, with the reason."""

    def __init__(self, reason: DeadReason, detail: str = "") -> None:
        super().__init__(reason.value if not detail else f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class ConfigurationError(ProcessorError):
    """Raised when a setting or a rule is wrong; says where, what was found and what was expected."""

    def __init__(self, *, file: str, line: int | None, key: str, found: str, expected: str) -> None:
        where = file if line is None else f"{file}:{line}"
        super().__init__(f"{where}: {key}: found {found}, expected {expected}")
        self.file = file
        self.line = line
        self.key = key
        self.found = found
        self.expected = expected


class Refused(ProcessorError):
    """Raised when a file is wrong; `errors` holds every reason, in the order of the file."""

    def __init__(self, errors: Iterable[ConfigurationError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: error.line or 0))
        super().__init__("\n".join(map(str, self.errors)))


class StreamError(ProcessorError):
    """Raised when Kafka or MQTT cannot be used as it stands; the text says what to change."""
