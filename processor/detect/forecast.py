"""Forecast: when a value, at its present trend, reaches a level; silent until the trend is beyond doubt."""

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from processor.detect import duration
from processor.detect.detector import Detector, Row, Target
from processor.detect.duration import Duration
from processor.detect.trend import (
    DOUBT,
    FIELDS,
    doubt,
    fold,
    fold_doubt,
    level,
    restart,
    restart_doubt,
    slope,
)
from processor.model import Explanation

#: The slope must be this many of its standard errors away from none.
CERTAINTY = 4.0
#: Once found, it is over when the time left exceeds the bound by this factor.
RELEASE = 1.25
#: This many samples in a row off the trend are a new beginning.
JUMPS = 2


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule may write under ``forecast``."""

    reaches: Annotated[float, Meta(description="the level, for example 0 for an empty cartridge")]
    within: Annotated[Duration, Meta(description="found when the level is at most this far away in time")]
    window: Annotated[Duration, Meta(description="memory of the trend: a sample this old counts 1/e")]
    samples: Annotated[int, Meta(ge=4, le=100_000, description="says nothing before this many")] = 20
    span: Annotated[
        Duration | None,
        Meta(description="says nothing before it has seen this long; default: half the window"),
    ] = None
    change: Annotated[
        float, Meta(gt=0, description="says nothing before the trend has moved the value by this much")
    ] = 1.0
    jump: Annotated[
        float, Meta(gt=0, description="two samples in a row this far off the trend (a refill) restart it")
    ] = 10.0


STATE = np.dtype([*FIELDS, *DOUBT, ("jumps", np.uint8), ("on", np.uint8)])
PARAMS = np.dtype(
    [
        ("reaches", np.float64),
        ("within", np.float64),
        ("window", np.float64),
        ("change", np.float64),
        ("jump", np.float64),
        ("span", np.int64),
        ("samples", np.int64),
    ]
)


def pack(options: Options) -> dict[str, float]:
    """Times become seconds, the span milliseconds."""
    if options.within <= 0 or options.window <= 0:
        raise ValueError("within and window longer than nothing")
    return {
        "reaches": options.reaches,
        "within": options.within / 1000,
        "window": options.window / 1000,
        "change": options.change,
        "jump": options.jump,
        "span": options.window // 2 if options.span is None else options.span,
        "samples": options.samples,
    }


def step(x: Row, p: Row, t: int, v: float) -> bool:
    """Fold the sample into the trend unless it is off it; judge once there is evidence enough."""
    if x.n == 0:
        restart(x, t, v)
        restart_doubt(x)
        return False
    expected = level(x) + slope(x) * (t - x.t) / 1000.0 if x.n >= p.samples else level(x)
    if not abs(v - expected) <= p.jump:
        # One sample off the trend is a spike; a second one is a new beginning, such as a refill.
        x.jumps += 1
        if x.jumps < JUMPS:
            return bool(x.on)
        restart(x, t, v)
        restart_doubt(x)
        x.jumps = 0
        x.on = False
        return False
    x.jumps = 0
    fold_doubt(x, t, v, p.window)
    fold(x, t, v, p.window)
    if x.n < p.samples or t - x.first < p.span:
        return False
    b = slope(x)
    distance = p.reaches - level(x)
    # A trend in doubt is not news, nor is one within the sensor's steps (which pass any test of doubt):
    # what was found stays found, what was not stays unsaid.
    moved = abs(b) * min((t - x.first) / 1000.0, 2.0 * p.window)
    if moved < p.change or abs(b) <= CERTAINTY * doubt(x):
        return bool(x.on)
    bound = p.within * RELEASE if x.on else p.within
    on = bool(b * distance > 0.0 and distance / b <= bound)
    x.on = on
    return on


def explain(x: Row, p: Row, t: int, v: float) -> Explanation:  # noqa: ARG001 - the same for every detector
    """Days left against the days that should be left."""
    b = slope(x)
    distance = float(p.reaches - level(x))
    left = distance / b if b * distance > 0 else math.inf
    days = left / 86_400 if math.isfinite(left) else float(p.within * RELEASE / 86_400)
    bound = float(p.within / 86_400)
    when = duration.write(left * 1000) if math.isfinite(left) else "an unknown time"
    text = f"at {v:g} now, reaches {p.reaches:g} in {when} at the present trend"
    return Explanation(days, bound, max(0.0, bound - days), "d", text)


FORECAST = Detector(
    name="forecast",
    summary="The value will reach a level within a time, at its present trend (days to empty).",
    targets=(Target.METRIC,),
    options=Options,
    pack=pack,
    state=STATE,
    params=PARAMS,
    step=step,
    explain=explain,
    forming=("window",),
)
