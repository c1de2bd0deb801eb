"""One condition on one asset: ok → pending → open → recovering → closed, in event time.

An episode begins with the condition's onset and ends when the condition has been over long enough. How
long something has held is proven by a later sample or by the partition's clock, never by the wall clock.
"""

from enum import StrEnum

import msgspec

from processor.cases.finding import Finding


class Phase(StrEnum):
    """Where an episode stands; an asset and rule without an episode is ok."""

    PENDING = "pending"
    OPEN = "open"
    RECOVERING = "recovering"


class Turn(StrEnum):
    """What the outside is told of."""

    OPENED = "opened"
    CLOSED = "closed"


class Episode(msgspec.Struct, array_like=True):
    """State of one condition.

    Attributes:
        start: event time of the onset, milliseconds; the episode's identity.
        phase: where it stands.
        since: event time of the last turn of the condition.
        clock: where the partition's clock moved next after that; None until it has.
        finding: what was found at the onset.
    """

    start: int
    phase: Phase
    since: int
    clock: int | None
    finding: Finding


class Timing(msgspec.Struct, frozen=True):
    """A rule's patience, milliseconds: `hold` before opening, `clear` before closing.

    `lateness` is how long the clock waits for samples that are still to be put in order.
    """

    hold: int
    clear: int
    lateness: int


def rise(
    episode: Episode | None, timing: Timing, now: Timing, *, t: int, previous: int, finding: Finding
) -> tuple[Episode, list[tuple[Turn, int, Episode]]]:
    """The condition came true at `t`; `previous` is the time of the sample before it.

    `timing` is that of the episode's last turn, `now` that of `t`: they differ where rules changed.
    """
    turns: list[tuple[Turn, int, Episode]] = []
    if episode is not None and episode.phase is Phase.RECOVERING:
        if previous < episode.since + timing.clear:
            episode.phase = Phase.OPEN
            return episode, turns
        turns.append((Turn.CLOSED, episode.since + timing.clear, episode))
    elif episode is not None:
        return episode, turns
    started = Episode(start=t, phase=Phase.PENDING, since=t, clock=None, finding=finding)
    if now.hold == 0:
        started.phase = Phase.OPEN
        turns.append((Turn.OPENED, t, started))
    return started, turns


def fall(
    episode: Episode, timing: Timing, now: Timing, *, t: int, previous: int
) -> tuple[Episode | None, list[tuple[Turn, int, Episode]]]:
    """The condition ended at `t`; see `rise`."""
    turns: list[tuple[Turn, int, Episode]] = []
    if episode.phase is Phase.RECOVERING:
        return episode, turns
    if episode.phase is Phase.PENDING:
        if previous < episode.start + timing.hold:
            return None, turns
        turns.append((Turn.OPENED, episode.start + timing.hold, episode))
    if now.clear == 0:
        turns.append((Turn.CLOSED, t, episode))
        return None, turns
    episode.phase, episode.since, episode.clock = Phase.RECOVERING, t, None
    return episode, turns


def cut(episode: Episode, timing: Timing, *, t: int, previous: int) -> list[tuple[Turn, int, Episode]]:
    """The rule is no longer in force from `t` on, so nobody looks: what was opened is closed."""
    if episode.phase is Phase.PENDING:
        due = episode.start + timing.hold
        if previous < due:
            return []
        return [(Turn.OPENED, due, episode), (Turn.CLOSED, t, episode)]
    recovered = episode.since + timing.clear
    at = min(recovered, t) if episode.phase is Phase.RECOVERING else t
    return [(Turn.CLOSED, max(at, episode.since), episode)]


def settle(
    episode: Episode, timing: Timing, *, newest: int, moved: int | None
) -> tuple[Episode | None, list[tuple[Turn, int, Episode]]]:
    """Time has passed without a turn: `newest` is the last judged sample, `moved` where the clock moved to.

    The clock counts from its next move after the turn: the move before lies up to a heartbeat before it.
    """
    if episode.phase is Phase.OPEN:
        return episode, []
    if episode.clock is None:
        episode.clock = moved
    patience = timing.hold if episode.phase is Phase.PENDING else timing.clear
    due = episode.since + patience
    ran = 0 if moved is None or episode.clock is None else moved - episode.clock
    if newest < due and ran < patience + timing.lateness:
        return episode, []
    if episode.phase is Phase.PENDING:
        episode.phase = Phase.OPEN
        return episode, [(Turn.OPENED, due, episode)]
    return None, [(Turn.CLOSED, due, episode)]
