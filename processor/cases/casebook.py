"""All episodes of a partition: turns of conditions in, events out; exactly one `opened` per episode."""

from collections.abc import Callable
from typing import NamedTuple

from processor.cases.episode import Episode, Phase, Timing, Turn, fall, rise, settle
from processor.cases.event import make_event
from processor.cases.finding import Finding
from processor.model import CaseEvent
from processor.rules.ruleset import Rule

Turns = list[tuple[Turn, int, Episode]]


class Condition(NamedTuple):
    """One rule on one series of the partition; `series` and `rule` are the engine's own numbers."""

    series: int
    rule: int


class Casebook:
    """Episodes by condition; a condition without an episode is ok.

    Args:
        rules: the rules in force, by number.
        lateness: milliseconds that samples may wait to be put in order.
        asset_of: a series' asset id.
    """

    def __init__(self, rules: tuple[Rule, ...], lateness: int, asset_of: Callable[[int], str]) -> None:
        self._rules = rules
        self._timings = tuple(Timing(rule.hold, rule.clear, lateness) for rule in rules)
        self._asset_of = asset_of
        self.episodes: dict[Condition, Episode] = {}
        self._waiting: dict[Condition, None] = {}

    def __len__(self) -> int:
        return len(self.episodes)

    def rise(
        self, condition: Condition, *, t: int, previous: int, find: Callable[[], Finding]
    ) -> list[CaseEvent]:
        """The condition came true at event time `t`; `find` is asked only when an episode begins."""
        episode = self.episodes.get(condition)
        timing = self._timings[condition.rule]
        known = episode.finding if episode is not None and episode.phase is not Phase.RECOVERING else find()
        after, turns = rise(episode, timing, t=t, previous=previous, finding=known)
        return self._note(condition, after, turns)

    def fall(self, condition: Condition, *, t: int, previous: int) -> list[CaseEvent]:
        """The condition ended at event time `t`."""
        episode = self.episodes.get(condition)
        if episode is None:
            return []
        after, turns = fall(episode, self._timings[condition.rule], t=t, previous=previous)
        return self._note(condition, after, turns)

    def settle(self, moved: int | None, newest: Callable[[int], int]) -> list[CaseEvent]:
        """Open or close what has waited long enough, by a series' newest judged time or by the clock.

        Args:
            moved: where the partition's clock has just moved to; None when it has not.
            newest: event time of a series' last judged sample.
        """
        events: list[CaseEvent] = []
        for condition in list(self._waiting):
            episode = self.episodes[condition]
            timing = self._timings[condition.rule]
            after, turns = settle(episode, timing, newest=newest(condition.series), moved=moved)
            if turns:
                events += self._note(condition, after, turns)
        return events

    def restore(self, condition: Condition, episode: Episode) -> None:
        """Take over an episode of an earlier life."""
        self._note(condition, episode, [])

    def _note(self, condition: Condition, episode: Episode | None, turns: Turns) -> list[CaseEvent]:
        if episode is None:
            self.episodes.pop(condition, None)
            self._waiting.pop(condition, None)
        else:
            self.episodes[condition] = episode
            if episode.phase is Phase.OPEN:
                self._waiting.pop(condition, None)
            else:
                self._waiting[condition] = None
        asset, rule = self._asset_of(condition.series), self._rules[condition.rule]
        return [make_event(asset, rule, turn, t, each) for turn, t, each in turns]
