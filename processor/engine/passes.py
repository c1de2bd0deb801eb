"""The passes over a run, compiled or as plain Python: the same functions either way."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from processor.detect.kernel import compiled, plain
from processor.engine import directory, intake, order
from processor.run import COLUMNS


class Passes(NamedTuple):
    """`take` of `processor.engine.intake`, `enter` of its `directory`, the others of its `order`."""

    take: Callable[..., None]
    enter: Callable[..., None]
    admit: Callable[..., int]
    expire: Callable[..., int]
    remember: Callable[..., None]


@cache
def ordering(*, jit: bool) -> Passes:
    """The passes; compiling happens at their first call."""
    make = compiled if jit else plain
    return Passes(
        make(intake.take), make(directory.enter), make(order.admit), make(order.expire), make(order.remember)
    )


def warm(evidence_row: np.dtype[Any]) -> None:
    """Compile the passes by running them over nothing."""
    passes = ordering(jit=True)
    assets, series = np.zeros(0, order.ASSET), np.zeros(0, order.SERIES)
    pool, free = np.zeros(0, order.POOL), np.full(1, -1, np.int64)
    out, counts = np.zeros(0, order.JUDGED), np.zeros(order.COUNTS, np.int64)
    records, runs = np.zeros(0, order.RECORD), np.zeros(0, order.RUN)
    nothing = np.frombuffer(b"", np.uint8)
    known = directory.Directory(passes.enter)
    known.add(b"a")
    columns = (records, np.zeros(0), np.zeros(0, np.int64))
    passes.take(nothing, np.empty(0, COLUMNS), nothing, 0, 0, 0, 0, known.columns, *columns)
    passes.admit(records, runs, np.zeros(0), 0, 1, 0, assets, series, pool, free, out, counts)
    passes.expire(0, 0, assets, series, pool, free, out, counts)
    passes.remember(out, 0, np.zeros((0, 1), evidence_row), np.zeros(0, np.uint32))
