"""A line through recent samples: least squares whose weights halve as they age, in constant memory.

Sums are kept relative to the newest sample's time (seconds) and to the first sample's value, so that
neither a long life nor a large offset costs precision. Every function is plain Python that numba compiles.
"""

import math
from typing import Any

import numpy as np
from numba.extending import register_jitable

from processor.detect.detector import Row

#: A state's fields for a line; `n` counts samples since the estimate began at `first`.
FIELDS: list[tuple[str, Any]] = [
    ("t", np.int64),
    ("first", np.int64),
    ("origin", np.float64),
    ("w", np.float64),
    ("wt", np.float64),
    ("wv", np.float64),
    ("wtt", np.float64),
    ("wtv", np.float64),
    ("n", np.int32),
]
#: The fields that `doubt` needs beside them.
DOUBT: list[tuple[str, Any]] = [("w2", np.float64), ("wvv", np.float64)]

#: Less spread in time than this is none (seconds², weighted).
_NONE = 1e-9
#: Fewer samples in effect than this leave nothing to estimate an error from.
_FEW = 2.5


@register_jitable
def restart(x: Row, t: int, v: float) -> None:
    """Begin a new estimate with this sample."""
    x.t = t
    x.first = t
    x.origin = v
    x.w = 1.0
    x.wt = 0.0
    x.wv = 0.0
    x.wtt = 0.0
    x.wtv = 0.0
    x.n = 1


@register_jitable
def restart_doubt(x: Row) -> None:
    """Begin anew with the sample that `restart` has begun with."""
    x.w2 = 1.0
    x.wvv = 0.0


@register_jitable
def fold(x: Row, t: int, v: float, window: float) -> None:
    """Take in a sample; `window` (seconds) is the age at which a weight has fallen to 1/e."""
    dt = (t - x.t) / 1000.0
    decay = math.exp(-dt / window)
    y = v - x.origin
    # Shift the origin of time to the new sample, then let everything age.
    x.wtt = (x.wtt - 2.0 * dt * x.wt + dt * dt * x.w) * decay
    x.wtv = (x.wtv - dt * x.wv) * decay
    x.wt = (x.wt - dt * x.w) * decay
    x.wv = x.wv * decay + y
    x.w = x.w * decay + 1.0
    x.t = t
    x.n += 1


@register_jitable
def fold_doubt(x: Row, t: int, v: float, window: float) -> None:
    """What `doubt` needs of a sample, before `fold` takes it in."""
    decay = math.exp(-(t - x.t) / 1000.0 / window)
    y = v - x.origin
    x.wvv = x.wvv * decay + y * y
    x.w2 = x.w2 * decay * decay + 1.0


@register_jitable
def slope(x: Row) -> float:
    """Change per second; 0 while the samples do not span any time."""
    spread = x.wtt - x.wt * x.wt / x.w
    if spread <= _NONE:
        return 0.0
    return float((x.wtv - x.wt * x.wv / x.w) / spread)


@register_jitable
def level(x: Row) -> float:
    """The line's value at the newest sample's time."""
    return float(x.origin + (x.wv - slope(x) * x.wt) / x.w)


@register_jitable
def doubt(x: Row) -> float:
    """Standard error of the slope; infinite while it cannot be told."""
    spread = x.wtt - x.wt * x.wt / x.w
    effective = x.w * x.w / x.w2
    if spread <= _NONE or effective <= _FEW:
        return math.inf
    b = (x.wtv - x.wt * x.wv / x.w) / spread
    rest = x.wvv - x.wv * x.wv / x.w - b * (x.wtv - x.wt * x.wv / x.w)
    if rest <= 0.0:
        return 0.0
    return math.sqrt(rest / (effective - 2.0) * effective / x.w / (spread / x.w * effective))
