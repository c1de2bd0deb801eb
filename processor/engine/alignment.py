"""Partitions brought under one schedule of rules: what begins at once began in each by its own clock."""

from collections.abc import Sequence

import msgspec

from processor.cases.event import write_time
from processor.engine.memory import Memory, decode, encode
from processor.engine.partition import Engine
from processor.rules.record import write_schedule
from processor.rules.schedule import Era, Schedule


def check(engines: Sequence[Engine]) -> bool:
    """Whether they are under the same rule sets, but for the times; if not, `align` leaves only the newest.

    Raises:
        ValueError: it cannot be done now; says why, and what to do.
    """
    schedules = [engine.schedule for engine in engines]
    longest = _longest(engines)
    if all(_ends(longest, schedule) for schedule in schedules):
        return True
    if len({schedule.newest.hash for schedule in schedules}) > 1:
        raise ValueError("the partitions are under different rules: use the newest rules file")
    waiting = [engine for engine in engines if not _begun(engine)]
    if waiting:
        start, rules = waiting[0].schedule.eras[-1]
        other = next(each for each in engines if not _ends(longest, each.schedule))
        one = next(each for each in engines if each.schedule is longest)
        first, second = sorted((one.partition, other.partition))
        raise ValueError(
            f"partitions {first} and {second} came by different rule sets to the rules {rules.hash}, which "
            f"begins at {write_time(start)} and has not begun in partition {waiting[0].partition}: run this "
            "again when it has, or take `effective` out of the rules file, so that it begins at once"
        )
    return False


def align(engines: Sequence[Engine]) -> list[Memory]:
    """Their memories, all under the same rule sets from the same event times on.

    A set that begins at different times begins at the latest of them. A partition that has already forgotten
    old sets has them back. Where partitions came to the newest set by different ways, only that one is left.

    Raises:
        ValueError: see `check`.
    """
    if not check(engines):
        engines = [engine.under(Schedule(engine.schedule.eras[-1:])) for engine in engines]
    schedules = [engine.schedule for engine in engines]
    longest = _longest(engines)
    common = Schedule(
        tuple(
            Era(max(each.eras[-back].start for each in schedules if len(each.eras) >= back), rules)
            for back, (_, rules) in zip(range(len(longest.eras), 0, -1), longest.eras, strict=True)
        )
    )
    return [_move(engine, common) for engine in engines]


def _longest(engines: Sequence[Engine]) -> Schedule:
    return max((engine.schedule for engine in engines), key=lambda schedule: len(schedule.eras))


def _ends(longest: Schedule, schedule: Schedule) -> bool:
    """Whether a schedule is the end of another, but for the times."""
    last = longest.eras[-len(schedule.eras) :]
    return [era.rules.hash for era in last] == [era.rules.hash for era in schedule.eras]


def _begun(engine: Engine) -> bool:
    """Whether nothing is to be judged by an older set: without a stated time the newest begins at once."""
    start, rules = engine.schedule.eras[-1]
    newest = int(engine.index.assets["newest"][: len(engine.index.keys)].max(initial=0))
    reached = max(newest, engine.clock.at)
    return rules.effective is None or not reached or start <= reached


def _move(engine: Engine, common: Schedule) -> Memory:
    """The memory with the times of the common schedule, and then under all of it."""
    memory = decode(engine.dump(), engine.partition)
    own = Schedule(common.eras[-len(engine.schedule.eras) :])
    moved = msgspec.structs.replace(memory, rules=own.name, eras=write_schedule(own))
    if own == common:
        return moved
    whole = Engine.load(
        b"".join(encode(moved)), common, partition=engine.partition, limits=engine.limits, jit=False
    )
    return decode(whole.dump(), engine.partition)
