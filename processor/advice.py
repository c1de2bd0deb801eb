"""What each reason of a dead letter means, and what a person changes so that it goes away."""

from collections.abc import Mapping
from typing import NamedTuple

from processor.errors import DeadReason


class Advice(NamedTuple):
    """What a reason means, and what to do about it."""

    meaning: str
    remedy: str


ADVICE: Mapping[DeadReason, Advice] = {
    DeadReason.MALFORMED: Advice(
        "The payload is empty, not in its format (JSON, if nothing says otherwise), not UTF-8, nested too "
        "deeply, or names a member twice.",
        "Correct the device's encoder, its content type, or `engine.formats`.",
    ),
    DeadReason.OVERSIZE: Advice(
        "The payload, the batch or the number of metrics is beyond its bound, or Kafka refuses the record.",
        "Send less at once; else raise `bridge.max_payload`, `engine.payload_bytes`, `engine.messages` or "
        "`engine.metrics`, or Kafka's `max.message.bytes`.",
    ),
    DeadReason.NON_FINITE: Advice(
        "A number is NaN, infinite or beyond a double.", "Have the device leave out what it cannot measure."
    ),
    DeadReason.WRONG_TYPE: Advice(
        "A member has another type than its schema or format says, or there is nothing with a number.",
        "Compare the message with `telemetry.schema.json`, `device-event.schema.json` or its format's.",
    ),
    DeadReason.METRIC_NAME: Advice(
        "A metric's name is not 1 to 64 of A-Z a-z 0-9 . _ -, or a pack's name is none of its format.",
        "Rename the metric on the device.",
    ),
    DeadReason.ALIAS_ONLY: Advice(
        "A Sparkplug metric has an alias and no name: only the node's birth certificate has its name.",
        "Have the edge node send names with its data: switch aliases off.",
    ),
    DeadReason.UNKNOWN_METRIC: Advice(
        'No rule selects the metric (`engine.unknown_metrics = "dead"`). The message\'s others are judged.',
        'Write a rule for it, or set `"judge"`.',
    ),
    DeadReason.SERIES_LIMIT: Advice(
        "The asset has named more metrics and event types than `engine.series`. Those it named before are "
        "judged; once a day a finding tells of it.",
        "Find out why the device invents names; if it has that many, raise `engine.series`.",
    ),
    DeadReason.TIME_INVALID: Advice(
        "`ts` is neither milliseconds since the epoch nor RFC 3339 with a zone, is outside 1970 to 9999, or "
        "the record has no time of receipt.",
        "Correct `ts`; seconds are not milliseconds.",
    ),
    DeadReason.CLOCK_AHEAD: Advice(
        "`ts` is further ahead of the receipt than `engine.clock_ahead`; from the bridge: "
        "Kafka calls the record invalid, at first under a time ahead of Kafka's own.",
        "Set the device's clock, or have it send no `ts` until it is set.",
    ),
    DeadReason.IDENTITY_MISMATCH: Advice(
        "The payload names another asset than its topic, or several devices.",
        "Look for an attack; else correct the device.",
    ),
    DeadReason.TOPIC_INVALID: Advice(
        "The topic is no telemetry, event or status topic, or a level of it has other letters than allowed.",
        "Publish to the topics of the contract; narrow `mqtt.filters`.",
    ),
    DeadReason.KEY_MISSING: Advice(
        "A record on the telemetry topic has no asset id as its key and is no heartbeat.",
        "Find what writes there besides the bridge.",
    ),
    DeadReason.RETENTION: Advice(
        "Kafka deleted records before they were judged; the letter names the offsets and has no payload.",
        "Raise `topics.telemetry_retention` and the topic's `retention.ms`; watch the worker's lag.",
    ),
    DeadReason.INTERNAL: Advice(
        "The worker failed on this record and went on.", "Look into the worker's log; report it."
    ),
}
