"""Stuck: a value that does not change although it should."""

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from processor.detect import duration
from processor.detect.detector import Detector, Row, Target
from processor.detect.duration import Duration
from processor.model import Explanation


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule may write under ``stuck``."""

    over: Annotated[Duration, Meta(description="found when the value has not changed for this long")]
    tolerance: Annotated[float, Meta(ge=0, description="a smaller change is none")] = 0.0
    samples: Annotated[int, Meta(ge=2, le=100_000, description="says nothing before this many")] = 3


STATE = np.dtype([("since", np.int64), ("v", np.float64), ("n", np.int32)])
PARAMS = np.dtype([("over", np.int64), ("tolerance", np.float64), ("samples", np.int64)])


def pack(options: Options) -> dict[str, float]:
    """Milliseconds."""
    if options.over <= 0:
        raise ValueError("over longer than nothing")
    return {"over": options.over, "tolerance": options.tolerance, "samples": options.samples}


def step(x: Row, p: Row, t: int, v: float) -> bool:
    """Remember the value that began the stillness; any real change begins a new one."""
    if x.n == 0 or abs(v - x.v) > p.tolerance:
        x.since = t
        x.v = v
        x.n = 1
        return False
    # The count stands still where it can decide no more, so that it never overflows.
    x.n = min(x.n + 1, p.samples)
    return bool(x.n >= p.samples and t - x.since >= p.over)


def explain(x: Row, p: Row, t: int, v: float) -> Explanation:
    """Seconds without a change against the seconds allowed."""
    still, over = float((t - x.since) / 1000), float(p.over / 1000)
    text = f"still at {v:g} after {duration.write(t - x.since)}"
    return Explanation(still, over, max(0.0, still - over), "s", text)


STUCK = Detector(
    name="stuck",
    summary="The value does not change although samples keep coming.",
    targets=(Target.METRIC,),
    options=Options,
    pack=pack,
    state=STATE,
    params=PARAMS,
    step=step,
    explain=explain,
    forming=("tolerance",),
)
