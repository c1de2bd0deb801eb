"""EWMA: a value unlike its own recent past, in standard deviations of an exponentially weighted mean."""

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from processor.detect.detector import Detector, Row, Target
from processor.detect.duration import Duration
from processor.model import Explanation


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule may write under ``ewma``."""

    deviations: Annotated[float, Meta(ge=1, le=100, description="found beyond this many")]
    window: Annotated[Duration, Meta(description="memory of mean and spread: a sample this old counts 1/e")]
    samples: Annotated[int, Meta(ge=4, le=100_000, description="says nothing before this many")] = 30
    spread: Annotated[
        float, Meta(gt=0, description="least standard deviation, for values that hardly move")
    ] = 1e-6
    hysteresis: Annotated[
        float, Meta(ge=0, description="deviations it must come back by before it is over")
    ] = 1.0


STATE = np.dtype(
    [("t", np.int64), ("center", np.float64), ("variance", np.float64), ("n", np.int32), ("on", np.uint8)]
)
PARAMS = np.dtype(
    [
        ("deviations", np.float64),
        ("window", np.float64),
        ("spread", np.float64),
        ("hysteresis", np.float64),
        ("samples", np.int64),
    ]
)


def pack(options: Options) -> dict[str, float]:
    """The window becomes seconds."""
    if options.window <= 0:
        raise ValueError("window longer than nothing")
    if options.hysteresis >= options.deviations:
        raise ValueError("hysteresis less than deviations")
    return {
        "deviations": options.deviations,
        "window": options.window / 1000,
        "spread": options.spread,
        "hysteresis": options.hysteresis,
        "samples": options.samples,
    }


def step(x: Row, p: Row, t: int, v: float) -> bool:
    """Judge against the past, then let the past learn; from an outlier it learns no more than its bound."""
    if x.n == 0:
        x.t = t
        x.center = v
        x.variance = 0.0
        x.n = 1
        return False
    spread = max(math.sqrt(x.variance), p.spread)
    off = v - x.center
    ready = x.n >= p.samples
    slack = p.hysteresis if x.on else 0.0
    on = bool(ready and abs(off) > (p.deviations - slack) * spread)
    if ready:
        off = max(-p.deviations * spread, min(off, p.deviations * spread))
    # While it is young, the mean is the plain one of what was seen.
    weight = max(1.0 - math.exp(-(t - x.t) / 1000.0 / p.window), 1.0 / (x.n + 1) if not ready else 0.0)
    x.center += weight * off
    x.variance = (1.0 - weight) * (x.variance + weight * off * off)
    x.t = t
    x.n = min(x.n + 1, p.samples)
    if not math.isfinite(x.center + x.variance):
        # Numbers too large to square would stay in the mean for good.
        x.center = v
        x.variance = 0.0
        x.n = 1
    x.on = on
    return on


def explain(x: Row, p: Row, t: int, v: float) -> Explanation:  # noqa: ARG001 - the same for every detector
    """The value against the nearer edge of what was usual."""
    spread = max(math.sqrt(x.variance), float(p.spread))
    edge = float(x.center + math.copysign(p.deviations * spread, v - x.center))
    text = f"{v:g} where {x.center:.4g} ± {spread:.2g} was usual"
    return Explanation(v, edge, abs(v - edge), "", text)


EWMA = Detector(
    name="ewma",
    summary="The value is unlike its own recent past.",
    targets=(Target.METRIC,),
    options=Options,
    pack=pack,
    state=STATE,
    params=PARAMS,
    step=step,
    explain=explain,
    forming=("window",),
)
