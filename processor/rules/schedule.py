"""Rule sets in the order in which they are in force, and which of their rules share a memory.

A set is in force from an event time on, so which set judges a sample follows from the sample alone, however
late it comes: any worker, and any replay, judges it by the same one. The samples of an asset that has nothing
newer are judged by an older set until the partition's proven time is `GRACE` past the newer one's start; then
the older set can be forgotten without changing anything.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Self

from processor.codec.instant import LATEST
from processor.detect.detector import Detector, Target
from processor.rules.ruleset import Rule, RuleSet

#: Milliseconds of proven time that a set outlives its successor's start.
GRACE = 3_600_000
#: Most sets at a time: each is a bit of a row's mask.
MOST = 8
#: Before every event time.
_EVER = -1
NO_RULES = RuleSet("", ())
_LATER = "state an `effective` after that, or put the newer file in its place"


class Era(NamedTuple):
    """A rule set and the event time from which it is in force, milliseconds."""

    start: int
    rules: RuleSet


@dataclass(frozen=True, slots=True)
class Term:
    """A rule through the eras in which one memory serves it: the same id, kind, detector, series and window.

    Attributes:
        rules: by era; None where it is not in force.
        nearest: by era; the closest one's where it is not in force.
    """

    rules: tuple[Rule | None, ...]
    nearest: tuple[Rule, ...]

    @property
    def detector(self) -> Detector:
        """What looks at the samples."""
        return self.nearest[0].detector

    @property
    def series(self) -> tuple[Target, str]:
        """Kind and name of the series it looks at."""
        return self.nearest[0].target, self.nearest[0].select

    @property
    def selection(self) -> tuple[object, ...]:
        """Equal for terms that look at the same series in the same eras."""
        return (*self.series, tuple(rule and rule.assets for rule in self.rules))

    def mask(self, asset: str, target: Target, name: str) -> int:
        """The eras in which it looks at that series, as bits."""
        if self.series != (target, name):
            return 0
        return sum(
            1 << era
            for era, rule in enumerate(self.rules)
            if rule is not None and rule.selects(asset, target, name)
        )


@dataclass(frozen=True)
class Schedule:
    """Eras in order; `starts` are those of all but the first, which reaches back for ever.

    Events of one sample are told by `ranks`, the place of each term by its rule's id: numbers of terms change
    when a set is forgotten, and the order of a file from set to set.
    """

    eras: tuple[Era, ...]
    terms: tuple[Term, ...] = field(init=False, repr=False, compare=False)
    ranks: tuple[int, ...] = field(init=False, repr=False, compare=False)
    starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", _make_terms(self.eras))
        by_id = sorted(range(len(self.terms)), key=lambda term: self.terms[term].nearest[0].id)
        places = {term: place for place, term in enumerate(by_id)}
        object.__setattr__(self, "ranks", tuple(places[term] for term in range(len(self.terms))))
        object.__setattr__(self, "starts", tuple(era.start for era in self.eras[1:]))

    @classmethod
    def begin(cls, rules: RuleSet) -> Self:
        """Of a partition without a past: before a stated time there are no rules."""
        if rules.effective is None:
            return cls((Era(_EVER, rules),))
        return cls((Era(_EVER, NO_RULES), Era(rules.effective, rules)))

    @property
    def newest(self) -> RuleSet:
        """The set that comes to be in force last."""
        return self.eras[-1].rules

    @property
    def full(self) -> bool:
        """Whether there is no room for another set until the oldest is forgotten."""
        return len(self.eras) == MOST

    @property
    def name(self) -> str:
        """Names the rule sets; where there are several, also from when each is in force."""
        if not self.starts:
            return self.newest.hash
        return ",".join(f"{era.rules.hash}@{era.start}" for era in self.eras)

    def era(self, t: int) -> int:
        """Number of the era that an event time is in."""
        return bisect_right(self.starts, t)

    def end(self, term: int, asset: str, era: int) -> int | None:
        """When a term that looks at an asset, in an era or first after it, no longer does; None for never."""
        each = self.terms[term]
        mask = each.mask(asset, *each.series)
        # Partitions that were brought under one schedule may know of findings from before its times.
        era = max(era, (mask & -mask).bit_length() - 1)
        mask >>= era
        last = era + (~mask & (mask + 1)).bit_length() - 1
        return self.eras[last].start if last < len(self.eras) else None

    def adopt(self, rules: RuleSet, reached: int, now: int) -> tuple["Schedule", str]:
        """This schedule with a file's rules, and why not when it stays as it is.

        What has begun stays; what has not is as the file says. A set without a stated time begins at once.

        Args:
            rules: of the file.
            reached: the newest event time met: a set that starts there or before has begun.
            now: the partition's proven time.
        """
        begun = [era for at, era in enumerate(self.eras) if at == 0 or era.start <= reached]
        last = begun[-1]
        same = Schedule(tuple(begun)) if len(begun) < len(self.eras) else self
        if rules.hash == last.rules.hash:
            return same, ""
        if rules.effective is None:
            if last.rules.effective is not None:
                return self, f"states no effective time: {_LATER}"
            start = max(now, last.start) + 1
        else:
            start = rules.effective
            if start <= last.start:
                return self, f"is effective no later: {_LATER}"
        if len(begun) == MOST:
            return self, (
                f"is one more than {MOST} sets within an hour: it is taken by itself once the partition's "
                f"clock, which heartbeats move, has come to {_write_time(begun[1].start + GRACE)}"
            )
        return Schedule((*begun, Era(start, rules))), ""

    def since(self, t: int) -> "Schedule":
        """Without the eras that are over at `t`."""
        over = self.era(t)
        return Schedule(self.eras[over:]) if over else self

    def successors(self, later: "Schedule") -> list[int]:
        """Of each term of this schedule, the one of a later schedule that its memory serves; -1 for none."""
        heirs = later.places()
        found = dict.fromkeys(range(len(self.terms)), -1)
        for place, number in self.places().items():
            found[number] = heirs.get(place, found[number])
        return list(found.values())

    def places(self) -> dict[tuple[int, str, str], int]:
        """Number of the term of each rule, by start and hash of the era and by the rule's id."""
        return {
            (era.start, era.rules.hash, rule.id): number
            for number, term in enumerate(self.terms)
            for era, rule in zip(self.eras, term.rules, strict=True)
            if rule is not None
        }


def _write_time(milliseconds: int) -> str:
    return datetime.fromtimestamp(min(milliseconds, LATEST) / 1000, UTC).isoformat(timespec="seconds")


def _make_terms(eras: Sequence[Era]) -> tuple[Term, ...]:
    terms: list[list[Rule | None]] = []
    newest: dict[str, list[Rule | None]] = {}
    for number, (_, rules) in enumerate(eras):
        for rule in rules.rules:
            known = newest.get(rule.id)
            if known is not None and len(known) == number and _lives_on(known[-1], rule):
                known.append(rule)
            else:
                newest[rule.id] = [*[None] * number, rule]
                terms.append(newest[rule.id])
    return tuple(_make_term(tuple(rules + [None] * (len(eras) - len(rules)))) for rules in terms)


def _make_term(rules: tuple[Rule | None, ...]) -> Term:
    there = [era for era, rule in enumerate(rules) if rule is not None]
    nearest = [rules[min(max(era, there[0]), there[-1])] for era in range(len(rules))]
    return Term(rules, tuple(rule for rule in nearest if rule is not None))


def _lives_on(old: Rule | None, new: Rule) -> bool:
    """Whether the memory of a rule means the same to its next version, and its open cases too."""
    return (
        old is not None
        # Whoever was told of an open case by its type hears of its end by no other.
        and old.kind == new.kind
        and old.detector.name == new.detector.name
        and (old.target, old.select) == (new.target, new.select)
        and all(old.params[name] == new.params[name] for name in new.detector.forming)
    )
