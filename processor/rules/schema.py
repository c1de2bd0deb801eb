"""What a rule file may say; `docs/rules.md` is generated from these structs and the detectors' options."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from processor.detect.duration import Duration
from processor.model import Kind, Severity

#: A metric's or event type's name, the same in telemetry and rules.
NAME = r"^[A-Za-z0-9._-]{1,64}$"

Name = Annotated[str, Meta(pattern=NAME)]


class Select(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which series a rule looks at: a metric, a device's event, or (neither) any sample of the asset."""

    metric: Annotated[Name | None, Meta(description="name of the metric")] = None
    event: Annotated[Name | None, Meta(description="type of the device's own event")] = None
    assets: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=64)]],
        Meta(min_length=1, max_length=1000, description="patterns of asset ids (`*`, `?`, `[…]`)"),
    ] = msgspec.field(default_factory=lambda: ["*"])


class RuleForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry under ``rules``."""

    id: Annotated[Name, Meta(description="name of the rule, part of every case's identity")]
    kind: Annotated[Kind, Meta(description="what a finding is for")]
    severity: Annotated[Severity, Meta(description="how soon somebody should look")]
    title: Annotated[str, Meta(min_length=1, max_length=200, description="one line for a person")]
    detect: Annotated[dict[str, Any], Meta(description="exactly one detector with its options")]
    version: Annotated[int, Meta(ge=1, le=1_000_000, description="raise it when the meaning changes")] = 1
    select: Annotated[Select, Meta(description="which series it looks at")] = Select()
    hold: Annotated[Duration, Meta(description="the condition must hold this long before the case opens")] = (
        msgspec.field(default=Duration(0), name="for")
    )
    clear: Annotated[
        Duration, Meta(description="the condition must be over this long before the case closes")
    ] = Duration(0)


class SetForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    rules: Annotated[list[RuleForm], Meta(description="at least one rule")]
    effective: Annotated[
        str | None,
        Meta(
            description="event time (RFC 3339, with its zone) from which this set is in force; none: from "
            "where each partition stands when a worker reads the file"
        ),
    ] = None
