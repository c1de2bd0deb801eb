"""Threshold: a value above, below or outside a band, with hysteresis on the way back."""

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from processor.detect.detector import Detector, Row, Target
from processor.model import Explanation


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule may write under ``threshold``."""

    above: Annotated[float | None, Meta(description="found when the value is greater")] = None
    below: Annotated[
        float | None, Meta(description="found when the value is less; with `above`: outside")
    ] = None
    hysteresis: Annotated[
        float, Meta(ge=0, description="how far the value must come back inside before it is over")
    ] = 0.0


STATE = np.dtype([("on", np.uint8)])
PARAMS = np.dtype([("above", np.float64), ("below", np.float64), ("hysteresis", np.float64)])


def pack(options: Options) -> dict[str, float]:
    """Absent bounds become infinite ones."""
    if options.above is None and options.below is None:
        raise ValueError("above, below or both")
    above = math.inf if options.above is None else options.above
    below = -math.inf if options.below is None else options.below
    if above - options.hysteresis < below + options.hysteresis:
        raise ValueError("above - hysteresis to be at least below + hysteresis")
    return {"above": above, "below": below, "hysteresis": options.hysteresis}


def step(x: Row, p: Row, t: int, v: float) -> bool:  # noqa: ARG001 - every step has the same four arguments
    """Compare; once found, the bounds move inwards by the hysteresis."""
    slack = p.hysteresis if x.on else 0.0
    on = bool(v > p.above - slack or v < p.below + slack)
    x.on = on
    return on


def explain(x: Row, p: Row, t: int, v: float) -> Explanation:  # noqa: ARG001 - the same for every detector
    """The bound that was crossed."""
    high = v - p.above >= p.below - v
    bound = float(p.above if high else p.below)
    margin = max(0.0, v - bound if high else bound - v)
    word = "above" if high else "below"
    return Explanation(v, bound, margin, "", f"{v:g} is {word} {bound:g}")


THRESHOLD = Detector(
    name="threshold",
    summary="The value is above, below or outside what is allowed.",
    targets=(Target.METRIC,),
    options=Options,
    pack=pack,
    state=STATE,
    params=PARAMS,
    step=step,
    explain=explain,
)
