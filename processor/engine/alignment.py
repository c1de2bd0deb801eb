"""Partitions brought under one schedule of rules: what begins at once began in each by its own clock."""

from collections.abc import Sequence

import msgspec

from processor.engine.memory import Memory, decode, encode
from processor.engine.partition import Engine
from processor.rules.record import write_schedule
from processor.rules.schedule import Era, Schedule


def align(engines: Sequence[Engine]) -> list[Memory]:
    """Their memories, all under the same rule sets from the same event times on.

    A set that begins at different times begins at the latest of them. A partition that has already forgotten
    old sets has them back. Where partitions came to the newest set by different ways, only that one is left.

    Raises:
        ValueError: their newest sets differ, or the ways do and the newest set has not begun.
    """
    schedules = [engine.schedule for engine in engines]
    longest = max(schedules, key=lambda schedule: len(schedule.eras))
    if not all(_ends(longest, schedule) for schedule in schedules):
        if len({schedule.newest.hash for schedule in schedules}) > 1:
            raise ValueError("the partitions are under different rules")
        if not all(map(_begun, engines)):
            raise ValueError(
                "the partitions came by different rules to a set that has not begun: take `effective` from "
                "the rules file"
            )
        engines = [engine.under(Schedule(engine.schedule.eras[-1:])) for engine in engines]
        schedules = [engine.schedule for engine in engines]
        longest = schedules[0]
    common = Schedule(
        tuple(
            Era(max(each.eras[-back].start for each in schedules if len(each.eras) >= back), rules)
            for back, (_, rules) in zip(range(len(longest.eras), 0, -1), longest.eras, strict=True)
        )
    )
    return [_move(engine, common) for engine in engines]


def _ends(longest: Schedule, schedule: Schedule) -> bool:
    """Whether a schedule is the end of another, but for the times."""
    last = longest.eras[-len(schedule.eras) :]
    return [era.rules.hash for era in last] == [era.rules.hash for era in schedule.eras]


def _begun(engine: Engine) -> bool:
    newest = engine.index.assets["newest"][: len(engine.index.keys)].max(initial=0)
    return engine.schedule.eras[-1].start <= max(int(newest), engine.clock.at)


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
