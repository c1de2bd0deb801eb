"""What a detector is: two record types, one step, and the words for a finding."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np

from processor.model import Explanation

#: A row of a detector's state or parameters: fields by attribute, written through, in Python and compiled.
Row = Any

Step = Callable[[Row, Row, int, float], bool]
Tick = Callable[[Row, Row, int, int], bool]


class Target(StrEnum):
    """What kind of series a detector looks at."""

    METRIC = "metric"
    EVENT = "event"
    ASSET = "asset"


@dataclass(frozen=True, slots=True)
class Detector:
    """One way of looking at a series; each is a file of this package.

    Attributes:
        name: the word in the rule file.
        summary: one sentence for the reference of the rule language.
        targets: the kinds of series it can look at.
        options: what a rule may write for it, as a strict struct.
        pack: options → parameters by field of `params`; raises ``ValueError`` with what was expected.
        state: dtype of one series' memory under one rule; all zeros is "never saw a sample".
        params: dtype of one rule's parameters.
        step: sees each sample of a series once, in event time (milliseconds); returns whether the condition
            holds. Plain Python that numba compiles: fields by attribute, no objects.
        tick: for conditions that no sample announces; called when the partition's clock moves, with the
            clock and the clock at the last held gap (both milliseconds of proven time). A time of that
            clock is kept in the field `seen` of the state and nowhere else: partitions' clocks differ, and an
            asset may come to another partition.
        explain: state at the finding, parameters, and the sample → seen, expected, margin.
        forming: parameters that a state is made with: where one of them changes, it means something else.
        onset: event time at which a condition found by `tick` began, from state and parameters.
    """

    name: str
    summary: str
    targets: tuple[Target, ...]
    options: type[msgspec.Struct]
    pack: Callable[[Any], dict[str, float]]
    state: np.dtype[Any]
    params: np.dtype[Any]
    step: Step
    explain: Callable[[Row, Row, int, float], Explanation]
    forming: tuple[str, ...] = ()
    tick: Tick | None = None
    onset: Callable[[Row, Row], int] | None = None

    def __post_init__(self) -> None:
        """Refuse field names that a row has a meaning of its own for: plain Python would read that."""
        for name in (*(self.state.names or ()), *(self.params.names or ())):
            if hasattr(np.record, name):
                raise TypeError(
                    f"{self.name}: no field may be called {name!r}: numpy's rows have that attribute"
                )
        if (self.tick is None) != (self.onset is None):
            raise TypeError(f"{self.name}: tick and onset belong together")
        if self.tick is not None and "seen" not in (self.state.names or ()):
            raise TypeError(f"{self.name}: a detector with a tick keeps the clock in a field called 'seen'")
