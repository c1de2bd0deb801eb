"""Silence: no sample for a time, by the partition's clock, which runs while the road is proven open."""

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from processor.detect import duration
from processor.detect.detector import Detector, Row, Target
from processor.detect.duration import Duration
from processor.model import Explanation

_TICK = 1000


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule may write under ``silence``."""

    after: Annotated[Duration, Meta(description="found when no sample has come for this long")]


#: What `fresh` says: nothing came yet (0); something came since the clock last moved; its time is noted.
_CAME, _NOTED = 1, 2
STATE = np.dtype([("t", np.int64), ("seen", np.int64), ("fresh", np.uint8)])
PARAMS = np.dtype([("after", np.int64)])


def pack(options: Options) -> dict[str, float]:
    """Milliseconds."""
    if options.after < _TICK:
        raise ValueError("after of at least 1s: the clock moves once a second")
    return {"after": options.after}


def step(x: Row, p: Row, t: int, v: float) -> bool:  # noqa: ARG001 - every step has the same four arguments
    """A sample: not silent. The clock at which it came is noted at the clock's next move."""
    x.t = max(x.t, t)
    x.fresh = _CAME
    return False


def tick(x: Row, p: Row, clock: int, gap: int) -> bool:
    """Silent when the clock has run for the whole time since the last sample, or since the last gap."""
    if x.fresh == _CAME:
        x.seen = clock
        x.fresh = _NOTED
    return bool(x.fresh == _NOTED and clock - max(x.seen, gap) >= p.after)


def onset(x: Row, p: Row) -> int:
    """Silence starts when its time was up, not when it was noticed."""
    return int(x.t + p.after)


def explain(x: Row, p: Row, t: int, v: float) -> Explanation:  # noqa: ARG001 - the same for every detector
    """Seconds without a sample at the onset."""
    after = float(p.after / 1000)
    text = f"no sample for {duration.write(p.after)}"
    return Explanation(after, after, 0.0, "s", text)


SILENCE = Detector(
    name="silence",
    summary="No sample has come for a time, while the road from the devices was proven open.",
    targets=(Target.METRIC, Target.ASSET),
    options=Options,
    pack=pack,
    state=STATE,
    params=PARAMS,
    step=step,
    explain=explain,
    tick=tick,
    onset=onset,
)
