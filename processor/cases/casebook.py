"""All episodes of a partition: turns of conditions in, events out; exactly one `opened` per episode."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from processor.cases.episode import Episode, Phase, Timing, Turn, cut, fall, rise, settle
from processor.cases.event import make_event
from processor.cases.finding import Finding
from processor.model import CaseEvent
from processor.rules.schedule import Schedule

Turns = list[tuple[Turn, int, Episode]]


class Condition(NamedTuple):
    """One rule on one series of the partition: the engine's number of the series, and that of the `Term`."""

    series: int
    rule: int


def merge(groups: Iterable[Sequence[CaseEvent]]) -> list[CaseEvent]:
    """Events of several conditions by time and rule id: what began to wait first, a restart forgets."""
    each = [group for group in groups if group]
    each.sort(key=lambda group: (group[0].time, group[0].rule))
    return [event for group in each for event in group]


class Casebook:
    """Episodes by condition; a condition without an episode is ok.

    Args:
        schedule: the rules in force, and when.
        lateness: milliseconds that samples may wait to be put in order.
        asset_of: a series' asset id.
        era_of: the era whose rules judge an event time.
    """

    def __init__(
        self,
        schedule: Schedule,
        lateness: int,
        asset_of: Callable[[int], str],
        era_of: Callable[[int], int],
    ) -> None:
        self._schedule = schedule
        self._timings = tuple(
            tuple(Timing(rule.hold, rule.clear, lateness) for rule in term.nearest) for term in schedule.terms
        )
        self._asset_of = asset_of
        self._era_of = era_of
        self.episodes: dict[Condition, Episode] = {}
        #: Of those whose rule will not be in force for ever: until when it is.
        self.ends: dict[Condition, int] = {}
        self._waiting: dict[Condition, None] = {}

    def __len__(self) -> int:
        return len(self.episodes)

    def rise(
        self, condition: Condition, *, t: int, previous: int, find: Callable[[], Finding]
    ) -> list[CaseEvent]:
        """The condition came true at event time `t`; `find` is asked only when an episode begins."""
        episode = self.episodes.get(condition)
        now = self._timing(condition, t)
        timing = now if episode is None else self._timing(condition, episode.since)
        known = episode.finding if episode is not None and episode.phase is not Phase.RECOVERING else find()
        after, turns = rise(episode, timing, now, t=t, previous=previous, finding=known)
        return self._note(condition, after, turns)

    def fall(self, condition: Condition, *, t: int, previous: int) -> list[CaseEvent]:
        """The condition ended at event time `t`."""
        episode = self.episodes.get(condition)
        if episode is None:
            return []
        timing, now = self._timing(condition, episode.since), self._timing(condition, t)
        after, turns = fall(episode, timing, now, t=t, previous=previous)
        return self._note(condition, after, turns)

    def cut(self, condition: Condition, *, previous: int) -> list[CaseEvent]:
        """The condition's rule has ended; `previous` is the last sample that it judged."""
        episode, end = self.episodes[condition], self.ends[condition]
        turns = cut(episode, self._timing(condition, episode.since), t=end, previous=previous)
        return self._note(condition, None, turns)

    def settle(self, moved: int | None, newest: Callable[[int], int]) -> list[CaseEvent]:
        """Open or close what has waited long enough, by a series' newest judged time or by the clock.

        Args:
            moved: where the partition's clock has just moved to; None when it has not.
            newest: event time of a series' last judged sample.
        """
        groups: list[list[CaseEvent]] = []
        for condition in list(self._waiting):
            episode = self.episodes[condition]
            timing = self._timing(condition, episode.since)
            end = self.ends.get(condition)
            patience = timing.hold if episode.phase is Phase.PENDING else timing.clear
            if end is not None and episode.since + patience > end:
                continue  # its end comes first, and tells
            after, turns = settle(episode, timing, newest=newest(condition.series), moved=moved)
            if turns:
                groups.append(self._note(condition, after, turns))
        return merge(groups)

    def restore(self, condition: Condition, episode: Episode) -> None:
        """Take over an episode of an earlier life."""
        self._note(condition, episode, [])

    def _timing(self, condition: Condition, t: int) -> Timing:
        return self._timings[condition.rule][self._era_of(t)]

    def _note(self, condition: Condition, episode: Episode | None, turns: Turns) -> list[CaseEvent]:
        asset, schedule = self._asset_of(condition.series), self._schedule
        if episode is None:
            self.episodes.pop(condition, None)
            self.ends.pop(condition, None)
            self._waiting.pop(condition, None)
        else:
            if schedule.starts:
                self._bound(condition, asset, episode)
            self.episodes[condition] = episode
            if episode.phase is Phase.OPEN:
                self._waiting.pop(condition, None)
            else:
                self._waiting[condition] = None
        rules = schedule.terms[condition.rule].nearest
        return [make_event(asset, rules[self._era_of(t)], turn, t, each) for turn, t, each in turns]

    def _bound(self, condition: Condition, asset: str, episode: Episode) -> None:
        """Note when the episode's rule ends."""
        end = self._schedule.end(condition.rule, asset, self._era_of(episode.start))
        if end is None:
            self.ends.pop(condition, None)
        else:
            self.ends[condition] = end
