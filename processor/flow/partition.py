"""One partition in the worker: its memory, its position, and what of a fetched run is new.

Offsets of the telemetry topic have no holes (it is neither compacted nor written in transactions), so a run
that starts behind the position repeats, and one that starts ahead of it has skipped: records were dropped on
their way through Faust's queues, or deleted by Kafka's retention. Fetching again tells the two apart. Where
the topic itself ends before the position, it was made anew or lost its end: what it holds may be unjudged.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from processor.cases.excess import Excess
from processor.engine.partition import Engine
from processor.flow.snapshot import Encoder
from processor.rules.schedule import Schedule
from processor.run import Run


class Verdict(Enum):
    """What to do with a run."""

    JUDGE = auto()
    DROP = auto()
    REWIND = auto()
    #: The span between `Partition.position` and the run's first record is gone: report it, then judge.
    LOST = auto()
    #: The topic ends before `Partition.position`: report it, then judge what it holds.
    CUT = auto()


@dataclass(slots=True)
class Partition:
    """State of one assigned partition; offsets are input offsets, times are the loop's.

    Attributes:
        engine: its memory.
        excess: finds assets beyond their limits.
        position: the next record to judge.
        saved: everything below is covered by an acknowledged snapshot.
        dirty_since: when the first record after `saved` was judged; None when there is none.
        handed: when the run that is being judged was handed over; None when there is none.
        oldest: time of receipt of that run's first record, or of the assignment before there was any run.
        newest: time of receipt of the newest judged record, milliseconds since the epoch.
        begun: see `Engine.load`.
        crowded: the schedule that had no room for the rules of the file; None when they are not waiting.
        topic: the id of the topic that it is of, "" when that is not known.
        encoder: of its snapshots.
    """

    engine: Engine
    excess: Excess
    position: int
    saved: int
    dirty_since: float | None = None
    uncommitted_since: float | None = None
    handed: float | None = None
    oldest: int = 0
    newest: int = 0
    begun: int = 0
    crowded: Schedule | None = None
    topic: str = ""
    encoder: Encoder = field(default_factory=Encoder)
    _skipped_to: int | None = field(default=None)

    @property
    def behind(self) -> int:
        """Time of receipt that it has come to, milliseconds since the epoch."""
        return self.newest or self.oldest

    @property
    def waits_since(self) -> float | None:
        """Since when something that was handed over is not committed; None when all is."""
        since = [each for each in (self.handed, self.uncommitted_since) if each is not None]
        return min(since, default=None)

    def admit(
        self, run: Run, find_end: Callable[[], int | None] = lambda: None
    ) -> tuple[Verdict, Run | None]:
        """What of a run to judge; `find_end`: the next offset to be written, None when nobody knows."""
        first, last = run[0].offset, run[-1].offset
        position = self.position
        if last < position:
            end = find_end()
            if end is not None and last < end < position:
                self._skipped_to = None
                return Verdict.CUT, run
            return Verdict.DROP, None
        if first <= position:
            self._skipped_to = None
            return Verdict.JUDGE, run if first == position else run.since(position)
        if self._skipped_to is None:
            self._skipped_to = last
            return Verdict.REWIND, None
        if first > self._skipped_to:
            # Still from before the rewind: what was queued behind the first run that skipped.
            self._skipped_to = last
            return Verdict.DROP, None
        # Fetched again, and the hole is still there.
        self._skipped_to = None
        return Verdict.LOST, run

    def advance(self, run: Run, now: float) -> None:
        """A run was judged."""
        self.position = run[-1].offset + 1
        self.newest = run[-1].timestamp
        if self.dirty_since is None:
            self.dirty_since = now
        if self.uncommitted_since is None:
            self.uncommitted_since = now
