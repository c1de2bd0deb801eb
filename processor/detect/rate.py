"""Rate: a value that rises or falls faster than it may, by a line through its recent samples."""

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from processor.detect import duration
from processor.detect.detector import Detector, Row, Target
from processor.detect.duration import Duration
from processor.detect.trend import FIELDS, fold, restart, slope
from processor.model import Explanation

_Positive = Annotated[float, Meta(gt=0)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule may write under ``rate``."""

    rising: Annotated[_Positive | None, Meta(description="found when it rises by more than this")] = None
    falling: Annotated[_Positive | None, Meta(description="found when it falls by more than this")] = None
    per: Annotated[Duration, Meta(description="the time in which it may not change by more")] = Duration(
        60_000
    )
    window: Annotated[Duration, Meta(description="memory of the line: a sample this old counts 1/e")] = (
        Duration(30_000)
    )
    samples: Annotated[int, Meta(ge=3, le=100_000, description="says nothing before this many")] = 5
    hysteresis: Annotated[
        float, Meta(ge=0, description="how far below the bound the rate must fall before it is over")
    ] = 0.0


STATE = np.dtype([*FIELDS, ("on", np.uint8)])
PARAMS = np.dtype(
    [
        ("rising", np.float64),
        ("falling", np.float64),
        ("per", np.float64),
        ("window", np.float64),
        ("hysteresis", np.float64),
        ("samples", np.int64),
    ]
)


def pack(options: Options) -> dict[str, float]:
    """Times become seconds, absent bounds infinite ones."""
    if options.rising is None and options.falling is None:
        raise ValueError("rising, falling or both")
    if options.per <= 0 or options.window <= 0:
        raise ValueError("per and window longer than nothing")
    return {
        "rising": math.inf if options.rising is None else options.rising,
        "falling": math.inf if options.falling is None else options.falling,
        "per": options.per / 1000,
        "window": options.window / 1000,
        "hysteresis": options.hysteresis,
        "samples": options.samples,
    }


def step(x: Row, p: Row, t: int, v: float) -> bool:
    """Fold the sample into the line; judge once it spans half the window."""
    # After five windows nothing of the old line is left: begin anew, and do not judge across the gap.
    if x.n == 0 or t - x.t > 5000.0 * p.window:
        restart(x, t, v)
        x.on = False
        return False
    fold(x, t, v, p.window)
    change = slope(x) * p.per
    if not math.isfinite(change):
        # Numbers too large to sum would stay in the line for good.
        restart(x, t, v)
        x.on = False
        return False
    if x.n < p.samples or t - x.first < 500.0 * p.window:
        return False
    slack = p.hysteresis if x.on else 0.0
    on = bool(change > p.rising - slack or change < slack - p.falling)
    x.on = on
    return on


def explain(x: Row, p: Row, t: int, v: float) -> Explanation:  # noqa: ARG001 - the same for every detector
    """Change within `per` against what was allowed, with its sign."""
    change = float(slope(x) * p.per)
    bound = float(p.rising if change > 0 else -p.falling)
    margin = max(0.0, abs(change) - abs(bound)) if math.isfinite(bound) else 0.0
    expected = bound if math.isfinite(bound) else 0.0
    word = "rises" if change > 0 else "falls"
    within = duration.write(p.per * 1000)
    text = f"{word} by {abs(change):.4g} in {within}, at most {abs(expected):g} allowed"
    return Explanation(change, expected, margin, f"per {within}", text)


RATE = Detector(
    name="rate",
    summary="The value rises or falls faster than it may.",
    targets=(Target.METRIC,),
    options=Options,
    pack=pack,
    state=STATE,
    params=PARAMS,
    step=step,
    explain=explain,
    forming=("window",),
)
