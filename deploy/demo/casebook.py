"""The case events that arrived, held against what a consumer may expect of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from deploy.demo.topics import Record

SOURCE = "/assetgate/processor"
KINDS = frozenset({"case", "opportunity", "security"})
STEPS = frozenset({"opened", "updated", "escalated", "closed"})


class RuleRef(msgspec.Struct, frozen=True):
    """Which rule, in which version."""

    id: str
    version: int | str
    hash: str


class Window(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """Event times, RFC 3339."""

    from_: str
    to: str


class CaseData(msgspec.Struct, frozen=True):
    """``data`` of a case event: event-time facts only."""

    caseId: str  # noqa: N815 - the contract's own spelling
    assetId: str  # noqa: N815 - as above
    rule: RuleRef
    severity: str
    seen: float | str | None
    expected: float | str | None
    window: Window
    evidence: list[dict[str, object]]
    margin: float | None = None
    unit: str | None = None
    title: str = ""
    detail: str = ""
    metric: str = ""


class CloudEvent(msgspec.Struct, frozen=True):
    """A case event as CloudEvents 1.0 in structured JSON; extension attributes are let by."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    data: CaseData


@dataclass(slots=True)
class Entry:
    """One case: how it opened, and every event that followed, by step."""

    asset: str
    kind: str
    opened: CloudEvent
    arrived: float
    steps: dict[str, list[CloudEvent]] = field(default_factory=dict)

    def closed(self) -> CloudEvent | None:
        """The event that closed it, None while it is open."""
        return next(iter(self.steps.get("closed", ())), None)


def milliseconds(time: int | str) -> int:
    """Event time in ms since the epoch, of either form."""
    return time if isinstance(time, int) else round(datetime.fromisoformat(time).timestamp() * 1000)


class CaseBook:
    """Every case event of the topic, read strictly: what is wrong with one is kept as a sentence."""

    def __init__(self) -> None:
        self.cases: dict[str, Entry] = {}
        self.faults: list[str] = []
        self._ids: set[str] = set()

    def add(self, record: Record, arrived: float) -> Entry | None:
        """Take one record of ``asset.cases.v1``; its case when it could be read as an event of one."""
        try:
            event = msgspec.json.decode(record.value or b"", type=CloudEvent)
        except msgspec.DecodeError as error:
            self.faults.append(
                f"offset {record.offset} of partition {record.partition} is no case event: {error}"
            )
            return None
        self.faults += faults(event, record.key)
        if event.id in self._ids:
            self.faults.append(f"the event {event.id} came twice")
            return self.cases.get(event.data.caseId)
        self._ids.add(event.id)
        _, kind, step, _ = (*event.type.split("."), "", "", "")[:4]
        entry = self.cases.get(event.data.caseId)
        if step == "opened":
            if entry is not None:
                self.faults.append(f"the case {event.data.caseId} opened twice")
                return entry
            entry = self.cases[event.data.caseId] = Entry(event.subject, kind, event, arrived)
        if entry is None:
            self.faults.append(f"the case {event.data.caseId} was {step} before it opened")
            return None
        entry.steps.setdefault(step, []).append(event)
        if len(entry.steps.get("closed", ())) > 1:
            self.faults.append(f"the case {event.data.caseId} closed twice")
        return entry

    def of(self, asset: str) -> list[Entry]:
        """The cases of one asset, in the order of their opening."""
        return [entry for entry in self.cases.values() if entry.asset == asset]

    def against(self, expected: Mapping[str, str]) -> list[str]:
        """What differs from exactly one case for each expected asset, by that rule, and none besides."""
        found = [
            f"{asset} has {len(self.of(asset))} cases where one is due"
            for asset in expected
            if len(self.of(asset)) != 1
        ]
        for entry in self.cases.values():
            rule = entry.opened.data.rule.id
            if entry.asset not in expected:
                found.append(f"{entry.asset} is healthy, yet {rule} opened a case")
            elif expected[entry.asset] != rule:
                found.append(f"{entry.asset}: {rule} spoke where {expected[entry.asset]} is due")
        return found


def faults(event: CloudEvent, key: bytes | None) -> list[str]:
    """What a consumer could not rely on in this event; empty when all is as the contract says."""
    prefix, kind, step, version = (*event.type.split("."), "", "", "", "")[:4]
    data = event.data
    checks = {
        f"its type is {event.type}": prefix == "assetgate"
        and kind in KINDS
        and step in STEPS
        and version == "v1",
        f"its specversion is {event.specversion}": event.specversion == "1.0",
        f"its source is {event.source}": event.source == SOURCE,
        f"it is no JSON but {event.datacontenttype}": event.datacontenttype == "application/json",
        "its key is not its asset": key is not None and key.decode("utf-8", "replace") == event.subject,
        "its subject is not its asset": event.subject == data.assetId,
        "it does not say what was seen": data.seen is not None,
        "it does not say what was expected": data.expected is not None,
        "it names no rule": bool(data.rule.id and data.rule.hash and data.rule.version),
        "it has no evidence": bool(data.evidence),
        "its time cannot be read": _readable(event.time),
    }
    return [f"event {event.id}: {fault}" for fault, holds in checks.items() if not holds]


def _readable(time: str) -> bool:
    try:
        return datetime.fromisoformat(time).tzinfo is not None
    except ValueError:
        return False
