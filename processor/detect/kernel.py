"""Compile a detector's step into a pass over columns; with `jit=False` the same functions are plain Python.

Why so: one pass per detector with its own typed state costs 3 ns a sample, a Python object per rule 430.
A closure over ``step`` would never hit numba's disk cache, so each pass is this file's template function
rebuilt under the detector's own file name: the cache then knows it by the file that a change would touch.
The cache lives in a directory named after the sources of all kernels, because numba itself looks only at
the file of the outermost function and would keep a stale inner one.
"""

import hashlib
import os
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from processor.detect.detector import Detector

Array = NDArray[Any]


def _sweep(begin, end, t, v, rule, params, state, flag, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, PLR0913, PLR0917 - compiled: one argument a column
    """Rows `begin` to `end` of every sample; only changes of a flag are written out. Returns how many."""
    k = 0
    for i in range(begin.shape[0]):
        for r in range(begin[i], end[i]):
            on = step(state[r], params[rule[r]], t[i], v[i])  # type: ignore[name-defined] # noqa: F821 - bound when rebuilt
            if on != (flag[r] != 0):
                flag[r] = on
                out[k].sample = i
                out[k].row = r
                out[k].on = on
                out[k].state = state[r]
                k += 1
    return k


def _tick(clock, gap, rows, rule, params, state, flag, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled: one argument a column
    """Every row, when the partition's clock moves; only changes of a flag are written out."""
    k = 0
    for r in range(rows):
        on = tick(state[r], params[rule[r]], clock, gap)  # type: ignore[name-defined] # noqa: F821 - bound when rebuilt
        if on != (flag[r] != 0):
            flag[r] = on
            out[k].sample = -1
            out[k].row = r
            out[k].on = on
            out[k].state = state[r]
            k += 1
    return k


@dataclass(frozen=True, slots=True)
class Kernel:
    """A detector ready to run: `sweep` over samples, `tick` over all rows, `out` the dtype of a change."""

    detector: Detector
    out: np.dtype[Any]
    sweep: Callable[..., int]
    tick: Callable[..., int] | None


def cache_directory(environment: Mapping[str, str]) -> Path | None:
    """Where compiled kernels are kept; None when no directory of this user can be written.

    ``NUMBA_CACHE_DIR`` decides if it is set; else systemd's ``CACHE_DIRECTORY``, ``XDG_CACHE_HOME`` or
    ``~/.cache``. A shared temporary directory is never used: a cache holds code.
    """
    named = environment.get("NUMBA_CACHE_DIR")
    if named:
        places = [Path(named)]
    else:
        bases = [environment.get("CACHE_DIRECTORY", "").partition(":")[0]]
        bases.append(environment.get("XDG_CACHE_HOME", ""))
        if environment.get("HOME"):
            bases.append(environment["HOME"] + "/.cache")
        places = [Path(base) / "assetgate" / "kernels" for base in bases if base.startswith("/")]
    for place in places:
        directory = place / _fingerprint()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK):
            return directory
    return None


def _fingerprint() -> str:
    """Names the sources of every kernel: those of this package and the engine's."""
    digest = hashlib.sha256(numba.__version__.encode())
    package = Path(__file__).parent.parent
    others = [
        package / name
        for name in ("engine/directory.py", "engine/intake.py", "engine/order.py", "flow/batch.py")
    ]
    for file in sorted([*package.glob("detect/*.py"), *others]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def prepare() -> bool:
    """Point numba at the cache directory, once; whether there is one."""
    directory = cache_directory(os.environ)
    if directory is not None:
        numba.config.CACHE_DIR = str(directory)  # type: ignore[attr-defined] # made at import
    return directory is not None


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled at its first call or taken from the cache."""
    return numba.njit(function, cache=prepare(), nogil=True)  # type: ignore[no-any-return]


def _rebuild(template: Callable[..., Any], name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    code = template.__code__.replace(co_filename=inner.__code__.co_filename)
    scope = {name: numba.njit(inner, nogil=True), "range": range, "__name__": inner.__module__}
    return compiled(types.FunctionType(code, scope, template.__name__))


def _plain(template: Callable[..., Any], name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    return plain(types.FunctionType(template.__code__, {name: inner, "range": range}, template.__name__))


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it stands, on arrays whose rows have their fields as attributes."""

    def run(*columns: Any) -> Any:  # noqa: ANN401 - arrays and numbers, as the function takes them
        return function(*(_view(column) for column in columns))

    return run


def _view(column: Any) -> Any:  # noqa: ANN401 - an array, or a number that passes through
    return column.view(np.recarray) if isinstance(column, np.ndarray) and column.dtype.names else column


@cache
def build(detector: Detector, *, jit: bool) -> Kernel:
    """The passes of a detector; compiling happens at their first call."""
    make = _rebuild if jit else _plain
    out = np.dtype(
        [("sample", np.int64), ("row", np.int64), ("on", np.uint8), ("state", detector.state)], align=True
    )
    return Kernel(
        detector=detector,
        out=out,
        sweep=make(_sweep, "step", detector.step),
        tick=None if detector.tick is None else make(_tick, "tick", detector.tick),
    )


def warm(detector: Detector, rule: np.dtype[Any]) -> None:
    """Compile both passes (or read them from the cache) by running them over nothing.

    `rule` is the type of a row's place among the rules.
    """
    kernel = build(detector, jit=True)
    no_rows = np.zeros(0, np.int32)
    rows = (
        np.zeros(0, rule),
        np.zeros(0, detector.params),
        np.zeros(0, detector.state),
        np.zeros(0, np.uint8),
        np.zeros(0, kernel.out),
    )
    kernel.sweep(no_rows, no_rows, np.zeros(0, np.int64), np.zeros(0), *rows)
    if kernel.tick is not None:
        kernel.tick(0, 0, 0, *rows)
