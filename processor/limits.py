"""What one partition's memory may hold and how long it waits: bounds, as a table of the settings."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

#: The formats of telemetry payloads; one file each in `processor.codec`.
Format = Literal["json", "senml+json", "senml+cbor", "sparkplug", "text"]
_Topic = Annotated[
    str, Meta(pattern=r"^assets/(\+|[A-Za-z0-9_-]{1,64})/(#|\+|telemetry(/(#|\+|[A-Za-z0-9._-]{1,64}))?)$")
]

#: Seconds for samples without a time of their own: as many thousands of them may come at once.
_BURST = 300.0


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of the engine: what is beyond one goes to the dead letters, with its reason, and is counted."""

    payload_bytes: Annotated[
        int, Meta(ge=64, le=1_000_000, description="largest payload of one record", extra={"unit": "bytes"})
    ] = 262_144
    messages: Annotated[
        int, Meta(ge=1, le=10_000, description="largest batch: messages in one record's array")
    ] = 1_000
    metrics: Annotated[int, Meta(ge=1, le=4_096, description="most metrics in one message")] = 256
    series: Annotated[
        int, Meta(ge=1, le=65_536, description="most series (metrics and event types) of one asset")
    ] = 256
    held: Annotated[
        int, Meta(ge=1, le=65_536, description="most samples of one asset that wait in its reorder buffer")
    ] = 1_024
    evidence: Annotated[
        int, Meta(ge=1, le=64, description="most samples an event carries as evidence; memory per series")
    ] = 4
    lateness: Annotated[
        float,
        Meta(
            ge=0,
            le=3_600,
            description="how long an asset's samples wait for older ones of the same asset",
            extra={"unit": "s"},
        ),
    ] = 0.0
    clock_ahead: Annotated[
        float,
        Meta(
            gt=0,
            le=86_400,
            description="how far a device's clock may be ahead of the time of receipt",
            extra={"unit": "s"},
        ),
    ] = 300.0
    unknown_metrics: Annotated[
        Literal["judge", "dead"],
        Meta(description="samples of metrics that no rule selects: counted as judged, or set aside"),
    ] = "judge"
    formats: Annotated[
        dict[_Topic, Format],
        Meta(
            description="format of telemetry by MQTT topic filter, `assets/<id or +>/telemetry…`: the first "
            "that matches; else what the content type says, else JSON"
        ),
    ] = msgspec.field(default_factory=dict)

    @property
    def furthest(self) -> float:
        """Seconds that an event time may be ahead of the newest receipt.

        The device's own, or one that was given: of samples without a time each has its own millisecond.
        """
        return max(self.clock_ahead, _BURST)
