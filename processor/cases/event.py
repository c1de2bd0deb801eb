"""A turn of an episode as a CloudEvent whose every byte follows from event time, so replays repeat it."""

from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from processor.cases.episode import Episode, Turn
from processor.model import CaseEvent
from processor.rules.ruleset import Rule

#: Namespace of case ids.
NAMESPACE = uuid5(NAMESPACE_URL, "urn:assetgate:case")
SOURCE = "/assetgate/processor"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 253_402_300_799_999
_ENCODE = msgspec.json.Encoder().encode


class _RuleName(msgspec.Struct, frozen=True):
    id: str
    version: int
    hash: str


class _Window(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    since: str
    until: str


class _Sample(msgspec.Struct, frozen=True):
    metric: str
    ts: int
    v: float


class _Owner(msgspec.Struct, frozen=True, rename="camel"):
    account_id: str | None = None
    contact_id: str | None = None


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    case_id: str
    asset_id: str
    rule: _RuleName
    severity: str
    title: str
    detail: str
    metric: str
    seen: float
    expected: float
    margin: float
    unit: str
    window: _Window
    evidence: tuple[_Sample, ...]
    sessions: tuple[()] = ()
    owner: _Owner = _Owner()


class _CloudEvent(msgspec.Struct, frozen=True):
    id: str
    source: str
    type: str
    subject: str
    time: str
    data: _Data
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


def case_id(asset: str, rule: str, start: int) -> UUID:
    """Identity of an episode: asset, rule id, and its start in event time (milliseconds)."""
    return uuid5(NAMESPACE, f"{asset}/{rule}/{start}")


def write_time(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds; it ends with the year 9999."""
    moment = _EPOCH + timedelta(milliseconds=min(milliseconds, _LATEST))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def make_event(asset: str, rule: Rule, turn: Turn, t: int, episode: Episode) -> CaseEvent:
    """The event that tells of a turn.

    Args:
        asset: the asset's id.
        rule: the rule in force at the turn.
        turn: opened or closed.
        t: event time of the turn, milliseconds.
        episode: the episode that turned.
    """
    case = case_id(asset, rule.id, episode.start)
    kind = f"assetgate.{rule.kind}.{turn}.v1"
    name = str(uuid5(case, f"{kind}/{t}"))
    finding = episode.finding
    time = write_time(t)
    event = _CloudEvent(
        id=name,
        source=SOURCE,
        type=kind,
        subject=asset,
        time=time,
        data=_Data(
            case_id=str(case),
            asset_id=asset,
            rule=_RuleName(rule.id, rule.version, rule.hash),
            severity=rule.severity,
            title=rule.title,
            detail=finding.text,
            metric=finding.metric,
            seen=finding.seen,
            expected=finding.expected,
            margin=finding.margin,
            unit=finding.unit,
            window=_Window(since=write_time(episode.start), until=time),
            evidence=tuple(_Sample(each.metric, each.t, each.v) for each in finding.evidence),
        ),
    )
    return CaseEvent(asset.encode(), _ENCODE(event), name, kind, rule.id, t)
