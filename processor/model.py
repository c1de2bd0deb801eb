"""The words of the watch: what a partition of Kafka hands to the engine, and what the engine hands back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from processor.errors import DeadReason

#: Header of a telemetry record: the MQTT topic after ``assets/<asset id>/``.
TAIL = "t"
#: Header of a telemetry record, only when the publisher set an MQTT 5 content type.
CONTENT_TYPE = "ct"
#: Header of a dead letter: time of receipt of the record, milliseconds since the epoch, in decimals.
RECEIVED = "received"
#: Header of a record written back from the dead letters: ``<topic>/<partition>/<offset>`` of its letter.
REPLAY = "replay"
#: Header of a dead letter that holds the beginning of a payload only: bytes of the whole, in decimals.
CUT = "cut"
#: Header that marks a heartbeat of the bridge: no key, value ``{"ts": ms, "bridge": id}``.
HEARTBEAT = "hb"


class Record(Protocol):
    """One record of ``asset.telemetry.v1``; what aiokafka's parser makes is one as it stands.

    ``key`` is the asset id in its 18-character form, None on control records; ``timestamp`` is the
    time of receipt in milliseconds since the epoch.
    """

    @property
    def key(self) -> bytes | None:
        """The asset's id."""

    @property
    def value(self) -> bytes | None:
        """The payload."""

    @property
    def offset(self) -> int:
        """Place in the partition."""

    @property
    def timestamp(self) -> int:
        """Time of receipt."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Names and values."""


class Kind(StrEnum):
    """What a rule's findings are for: the middle word of the event's ``type``."""

    CASE = "case"
    OPPORTUNITY = "opportunity"
    SECURITY = "security"


class Severity(StrEnum):
    """How soon somebody should look, from a note to a stopped machine."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Sample(NamedTuple):
    """One value of one metric: event time in milliseconds since the epoch, value in the device's unit."""

    t: int
    v: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a detector spoke, in the unit of the metric unless `unit` says otherwise.

    Attributes:
        seen: what was measured.
        expected: the bound that the rule drew.
        margin: how far `seen` is beyond `expected`, never negative.
        unit: "" for the metric's own unit, else for example ``s`` or ``d``.
        text: one sentence for a person, without the asset's name.
    """

    seen: float
    expected: float
    margin: float
    unit: str
    text: str


class CaseEvent(NamedTuple):
    """One event for ``asset.cases.v1``.

    Attributes:
        key: the asset id, which is the record's key.
        value: the CloudEvent in structured JSON.
        id: the CloudEvent's id: the same after any replay.
        type: the CloudEvent's type, for example ``assetgate.case.opened.v1``.
        rule: id of the rule that found it (a bounded label).
        time: event time of the transition, milliseconds since the epoch.
    """

    key: bytes
    value: bytes
    id: str
    type: str
    rule: str
    time: int


class Dead(NamedTuple):
    """A record (or the samples of it that no series may take) to be kept, untouched, with its reason."""

    record: Record
    reason: DeadReason
    detail: str


class Counts(NamedTuple):
    """Samples by what became of them; ``received`` is always the sum of the rest.

    A record that cannot be read counts as one sample. `held` is how much the reorder buffer grew: negative
    when it gave back more than it took; summed since the start, it is what waits now.
    """

    received: int = 0
    judged: int = 0
    dead: int = 0
    late: int = 0
    duplicate: int = 0
    conflict: int = 0
    held: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Sum, field by field."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def balanced(self) -> bool:
        """Whether every sample received is accounted for."""
        return self.received == sum(self[1:])


class Notes(NamedTuple):
    """What else a run of records told: for metrics.

    Attributes:
        skipped: sequence numbers that devices left out.
        filled: those of them that came after all.
        restarted: times that a device began to count anew.
        passed_over: values that no rule could judge (texts, data, nulls) beside others that were read.
        evaluations: rules asked about samples.
        transitions: conditions of rules that came true or ended.
    """

    skipped: int = 0
    filled: int = 0
    restarted: int = 0
    passed_over: int = 0
    evaluations: int = 0
    transitions: int = 0

    def plus(self, other: "Notes") -> "Notes":
        """Sum, field by field."""
        return Notes(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of records led to: events to publish, records to set aside, counts that balance."""

    events: list[CaseEvent] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    notes: Notes = field(default_factory=Notes)
