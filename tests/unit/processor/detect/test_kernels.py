"""The compiled passes and plain Python are one and the same detector."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.detect.catalog import DETECTORS
from processor.detect.detector import Detector
from processor.detect.kernel import build, cache_directory

OPTIONS: dict[str, dict[str, Any]] = {
    "threshold": {"above": 10.0, "below": -10.0, "hysteresis": 3.0},
    "rate": {"rising": 5.0, "falling": 4.0, "hysteresis": 1.0, "samples": 3},
    "forecast": {
        "reaches": 0.0,
        "within": 60_000,
        "window": 10_000,
        "samples": 4,
        "change": 0.1,
        "jump": 8.0,
    },
    "silence": {"after": 5_000},
    "event": {"quiet": 5_000},
    "stuck": {"over": 5_000, "tolerance": 0.5},
    "ewma": {"deviations": 2.0, "window": 10_000, "samples": 4},
}

samples = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(1, 9_000),
        st.one_of(st.floats(-30, 30), st.sampled_from([0.0, 10.0, -10.0, 7.0, 1e300])),
    ),
    max_size=60,
)


def run(detector: Detector, stream: list[tuple[int, int, float]], *, jit: bool) -> tuple[list[Any], Any]:
    """Two series under two rules each; after every few samples the clock moves."""
    kernel = build(detector, jit=jit)
    params = np.zeros(2, detector.params)
    for field, value in detector.pack(detector.options(**OPTIONS[detector.name])).items():
        params[field] = value
    state, flag = np.zeros(4, detector.state), np.zeros(4, np.uint8)
    rule = np.array([0, 1, 0, 1], np.uint8)
    first = np.array([0, 2, 4], np.int32)
    changes: list[Any] = []
    t = 1_000_000
    for start in range(0, len(stream), 7):
        part = stream[start : start + 7]
        series = np.array([each[0] for each in part], np.int64)
        times = t + np.cumsum([each[1] for each in part])
        t = int(times[-1])
        values = np.array([each[2] for each in part])
        out = np.zeros(4 * len(part), kernel.out)
        with np.errstate(all="ignore"):
            k = kernel.sweep(first[series], first[series + 1], times, values, rule, params, state, flag, out)
        changes += out[:k][["sample", "row", "on"]].tolist()
        if kernel.tick is not None:
            out = np.zeros(4, kernel.out)
            k = kernel.tick(start * 400, 0, 4, rule, params, state, flag, out)
            changes += out[:k][["sample", "row", "on"]].tolist()
    return changes, state


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=lambda each: each.name)
@settings(max_examples=60, deadline=None)
@given(stream=samples)
def test_compiled_and_plain_agree_on_random_streams(
    detector: Detector, stream: list[tuple[int, int, float]]
) -> None:
    compiled, plain = (run(detector, stream, jit=jit) for jit in (True, False))
    assert compiled[0] == plain[0]
    for field in detector.state.names or ():
        np.testing.assert_allclose(compiled[1][field], plain[1][field], rtol=1e-9, atol=1e-9)


def test_the_cache_goes_where_it_is_told_and_never_to_a_place_others_can_write(tmp_path: Path) -> None:
    named = cache_directory({"NUMBA_CACHE_DIR": str(tmp_path / "named")})
    assert named is not None
    assert named.parent == tmp_path / "named"
    service = cache_directory({"CACHE_DIRECTORY": f"{tmp_path}/service:/other", "HOME": str(tmp_path)})
    assert service is not None
    assert str(service).startswith(f"{tmp_path}/service/")
    assert cache_directory({"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "relative"}) is None
    assert cache_directory({}) is None


def test_a_second_process_takes_the_kernels_from_the_cache(tmp_path: Path) -> None:
    script = (
        "from processor.detect.catalog import DETECTORS\n"
        "from processor.detect import kernel\n"
        "import numpy as np\n"
        "d = DETECTORS['stuck']\n"
        "kernel.warm(d, np.dtype(np.uint8))\n"
        "print(sum(kernel.build(d, jit=True).sweep.stats.cache_hits.values()))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    hits = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert hits == ["0", "1"]


def test_a_field_that_numpy_rows_have_a_meaning_for_is_refused() -> None:
    good = DETECTORS["stuck"]
    with pytest.raises(TypeError, match="'base'"):
        Detector(
            name="x", summary="", targets=good.targets, options=good.options, pack=good.pack,
            state=np.dtype([("base", np.int64)]), params=good.params, step=good.step, explain=good.explain,
        )  # fmt: skip
