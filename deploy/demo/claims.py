"""Every line of the story that must come true, in the order in which it is told."""

from dataclasses import dataclass

from deploy.demo.ledger import Claim
from deploy.demo.machine import Fault
from processor.model import Kind

DEVICES = 50


@dataclass(frozen=True, slots=True)
class Expected:
    """The one case that a fault must lead to, by which detector's rule."""

    claim: Claim
    detector: str
    kind: Kind


CASES = {
    Fault.OVERHEATING: Expected(
        Claim("case.overheating", "The press that overheats yields one case"), "threshold", Kind.CASE
    ),
    Fault.SILENT: Expected(
        Claim("case.silence", "The press that falls silent yields one case"), "silence", Kind.CASE
    ),
    Fault.RUNNING_LOW: Expected(
        Claim("case.running_low", "The press that runs low yields one opportunity"),
        "forecast",
        Kind.OPPORTUNITY,
    ),
    Fault.SUPPLY_LOW: Expected(
        Claim("case.supply_low", "The press that signals low supply yields one opportunity"),
        "event",
        Kind.OPPORTUNITY,
    ),
}

#: The attempts of `hostile`, by their own names.
HOSTILE = (
    "a token that ended",
    "a token for another audience",
    "signed by a key nobody published",
    "signed by a stranger under the issuer's kid",
    "alg: none",
    "HS256 with the public key as secret",
    "an ID token of the same issuer",
    "no token at all: garbage",
    "a good token, someone else's client id",
    "publish into another asset's telemetry",
    "publish under the id's form of 15 characters",
    "subscribe to another asset's commands",
    "subscribe to everything",
)


def hostile(name: str) -> Claim:
    """The line about an attempt."""
    return Claim(f"hostile: {name}", f"{name} is refused with its own reason")


CLAIMS = (
    Claim("issuer.keys", "An RSA key of at least 2048 bits stands at /id/keys"),
    Claim("issuer.refuses", "The token endpoint refuses a client that it does not know"),
    Claim(
        "devices.registered", f"{DEVICES} devices traded a token signed by their own key for an asset token"
    ),
    Claim(
        "devices.tokens", "Each asset token is RS256, names its asset and device, and binds the device's key"
    ),
    Claim("devices.events", "Each registration published one asset-token event on asset.tokens.v1"),
    Claim("gate.connected", f"{DEVICES} devices are connected, each with its token as MQTT password"),
    Claim("gate.streaming", "Each streams temperature, pressure, vibration and toner level"),
    *(hostile(name) for name in HOSTILE),
    Claim("hostile.harmless", "Nothing of theirs reached Kafka, and every device stayed connected"),
    Claim("bridge.keyed", f"Telemetry of all {DEVICES} lies on asset.telemetry.v1, keyed by asset id"),
    Claim("bridge.complete", "Everything that the broker took from the devices is there"),
    *(expected.claim for expected in CASES.values()),
    Claim("cases.exact", "Each of the four opened once, and no healthy device has a case"),
    Claim(
        "cases.contract", "Each is a CloudEvent that says what was seen and expected, by which rule, and why"
    ),
    Claim("worker.dead", "A payload that is no JSON and one that is too large are dead letters"),
    Claim("worker.balanced", "Every sample that the worker read is accounted for"),
    Claim("addresses.answer", "The status page and the three metrics endpoints answer"),
)
