"""Event: what the device itself says, such as ``supply_low``."""

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from processor.detect.detector import Detector, Row, Target
from processor.detect.duration import Duration
from processor.model import Explanation

_TICK = 1000


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule may write under ``event``."""

    quiet: Annotated[
        Duration, Meta(description="it is over when the device has not repeated it for this long")
    ] = Duration(86_400_000)


STATE = np.dtype([("t", np.int64), ("seen", np.int64), ("fresh", np.uint8), ("on", np.uint8)])
PARAMS = np.dtype([("quiet", np.int64)])


def pack(options: Options) -> dict[str, float]:
    """Milliseconds."""
    if options.quiet < _TICK:
        raise ValueError("quiet of at least 1s: the clock moves once a second")
    return {"quiet": options.quiet}


def step(x: Row, p: Row, t: int, v: float) -> bool:  # noqa: ARG001 - every step has the same four arguments
    """The device said it: found."""
    x.t = max(x.t, t)
    x.fresh = 1
    x.on = 1
    return True


def tick(x: Row, p: Row, clock: int, gap: int) -> bool:
    """Over when the clock has run for the whole quiet time since it was last said, or since the last gap."""
    if x.fresh:
        x.seen = clock
        x.fresh = 0
    if x.on and clock - max(x.seen, gap) >= p.quiet:
        x.on = 0
    return bool(x.on)


def onset(x: Row, p: Row) -> int:
    """It ended when the quiet time was up."""
    return int(x.t + p.quiet)


def explain(x: Row, p: Row, t: int, v: float) -> Explanation:  # noqa: ARG001 - the same for every detector
    """The device's word: once is enough."""
    return Explanation(1.0, 0.0, 1.0, "", "the device reported it")


EVENT = Detector(
    name="event",
    summary="The device itself reports something.",
    targets=(Target.EVENT,),
    options=Options,
    pack=pack,
    state=STATE,
    params=PARAMS,
    step=step,
    explain=explain,
    tick=tick,
    onset=onset,
)
