"""Rule sets as the state keeps them: what was in force is known without the file that said it."""

from typing import Any

import msgspec

from processor.detect.catalog import DETECTORS
from processor.detect.detector import Target
from processor.model import Kind, Severity
from processor.rules.ruleset import Rule, RuleSet
from processor.rules.schedule import Era, Schedule


class RuleRecord(msgspec.Struct, frozen=True):
    """A `Rule`, its detector by name."""

    id: str
    version: int
    hash: str
    kind: Kind
    severity: Severity
    title: str
    target: Target
    select: str
    assets: tuple[str, ...]
    detector: str
    params: dict[str, float]
    hold: int
    clear: int


class EraRecord(msgspec.Struct, frozen=True):
    """An `Era`."""

    start: int
    hash: str
    effective: int | None
    rules: tuple[RuleRecord, ...]


def write_schedule(schedule: Schedule) -> list[EraRecord]:
    """A schedule as records."""
    return [
        EraRecord(start, rules.hash, rules.effective, tuple(map(_write, rules.rules)))
        for start, rules in schedule.eras
    ]


def read_schedule(records: list[EraRecord]) -> Schedule:
    """The schedule that was written.

    Raises:
        LookupError: it names a detector that this version does not have, or there is no era.
    """
    eras = tuple(
        Era(each.start, RuleSet(each.hash, tuple(map(_read, each.rules)), each.effective)) for each in records
    )
    if not eras:
        raise LookupError("no rules")
    return Schedule(eras)


def _write(rule: Rule) -> RuleRecord:
    fields: dict[str, Any] = {name: getattr(rule, name) for name in RuleRecord.__struct_fields__}
    params = {name: float(value) for name, value in rule.params.items()}
    times = {"hold": int(rule.hold), "clear": int(rule.clear)}
    return RuleRecord(**fields | times | {"detector": rule.detector.name, "params": params})


def _read(record: RuleRecord) -> Rule:
    return Rule(**msgspec.structs.asdict(record) | {"detector": DETECTORS[record.detector]})
