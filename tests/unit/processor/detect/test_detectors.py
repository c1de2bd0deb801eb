"""What each detector finds, and what it leaves alone: plain Python, one series."""

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from processor.detect.catalog import DETECTORS
from processor.detect.duration import Duration, write
from processor.model import Explanation


class Probe:
    """One detector on one series."""

    def __init__(self, name: str, **options: Any) -> None:  # noqa: ANN401 - each detector has its own
        self.detector = DETECTORS[name]
        self.state = np.zeros(1, self.detector.state).view(np.recarray)[0]
        params = np.zeros(1, self.detector.params).view(np.recarray)
        for field, value in self.detector.pack(self.detector.options(**options)).items():
            params[field] = value
        self.params = params[0]
        self.last = (0, 0.0)

    def see(self, second: float, v: float) -> bool:
        self.last = (int(second * 1000) + 1_000_000, v)
        return bool(self.detector.step(self.state, self.params, *self.last))

    def follow(self, values: Sequence[float]) -> list[bool]:
        return [self.see(second, v) for second, v in enumerate(values)]

    def tick(self, second: float, gap: float = 0.0) -> bool:
        assert self.detector.tick is not None
        return bool(self.detector.tick(self.state, self.params, int(second * 1000), int(gap * 1000)))

    def explain(self) -> Explanation:
        return self.detector.explain(self.state, self.params, *self.last)


def test_threshold_is_found_above_and_over_only_beyond_the_hysteresis() -> None:
    probe = Probe("threshold", above=80.0, hysteresis=5.0)
    assert probe.follow([80, 80.1, 76, 75.1, 75, 79]) == [False, True, True, True, False, False]


def test_threshold_with_two_bounds_is_found_outside() -> None:
    probe = Probe("threshold", above=10.0, below=2.0)
    assert probe.follow([5, 11, 5, 1]) == [False, True, False, True]
    why = probe.explain()
    assert (why.seen, why.expected, why.margin) == (1.0, 2.0, 1.0)
    assert "below 2" in why.text


def test_rate_is_found_when_it_falls_faster_and_not_by_noise() -> None:
    probe = Probe("rate", falling=1.0, per=Duration(10_000), window=Duration(10_000))
    chance = random.Random(1)
    assert not any(probe.follow([5 + chance.gauss(0, 0.02) for _ in range(100)]))
    found = [probe.see(100 + n, 5 - 0.3 * n) for n in range(1, 60)]
    assert found[-1]
    assert probe.explain().seen == pytest.approx(-3, abs=0.2)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rate", {"rising": 1.0, "per": Duration(10_000), "window": Duration(10_000)}),
        ("ewma", {"deviations": 4.0, "window": Duration(20_000), "samples": 8}),
        ("forecast", {"reaches": 100.0, "within": Duration(60_000), "window": Duration(20_000)}),
    ],
)
def test_numbers_too_large_to_compute_with_blind_no_detector_for_what_comes_after(
    name: str, options: dict[str, Any]
) -> None:
    probe = Probe(name, **options)
    probe.follow([1.7e308, -1.7e308, 1.7e308, -1.7e308])
    chance = random.Random(1)
    for second in range(4, 60):
        probe.see(second, 5 + chance.gauss(0, 0.01))
    assert any(probe.see(60 + n, 5 + 2.0 * n) for n in range(1, 40))


def test_rate_does_not_judge_across_a_gap() -> None:
    probe = Probe("rate", rising=1.0, per=Duration(10_000), window=Duration(10_000))
    probe.follow([0.0] * 20)
    assert not probe.see(10_000, 500.0)


def test_forecast_says_nothing_before_there_is_evidence() -> None:
    probe = Probe("forecast", reaches=0.0, within=Duration(3_600_000), window=Duration(20_000), samples=10)
    found = probe.follow([50 - 0.1 * n for n in range(60)])
    assert not any(found[:10])
    assert found[-1]
    why = probe.explain()
    assert why.unit == "d"
    assert why.seen == pytest.approx((50 - 5.9) / 0.1 / 86_400, rel=0.05)
    assert why.margin == pytest.approx(why.expected - why.seen)


def test_forecast_is_not_fooled_by_noise_by_steps_of_the_sensor_or_by_a_spike() -> None:
    chance = random.Random(7)
    for values in (
        [50 + chance.gauss(0, 0.3) for _ in range(500)],
        [50.0] * 30 + [49.99] * 30 + [49.98] * 30,
        [50.0] * 30 + [5.0] + [50.0] * 30,
    ):
        probe = Probe("forecast", reaches=0.0, within=Duration(86_400_000), window=Duration(20_000))
        assert not any(probe.follow(values))


def test_forecast_begins_anew_after_a_refill() -> None:
    probe = Probe("forecast", reaches=0.0, within=Duration(3_600_000), window=Duration(20_000))
    assert probe.follow([20 - 0.1 * n for n in range(60)])[-1]
    refilled = [probe.see(60 + n, 100.0) for n in range(30)]
    assert refilled[0]
    assert not any(refilled[1:])


def test_silence_is_found_when_the_clock_ran_its_time_since_the_last_sample() -> None:
    probe = Probe("silence", after=Duration(10_000))
    assert not probe.tick(500)
    assert not probe.see(1, 1.0)
    assert [probe.tick(second) for second in (1, 5, 10.9, 11)] == [False, False, False, True]
    assert probe.detector.onset is not None
    assert probe.detector.onset(probe.state, probe.params) == 1_000_000 + 11_000
    assert not probe.see(20, 1.0)


def test_silence_gives_the_whole_time_again_after_a_gap() -> None:
    probe = Probe("silence", after=Duration(10_000))
    probe.see(1, 1.0)
    assert [probe.tick(second, gap=8) for second in (1, 12, 17.9, 18)] == [False, False, False, True]


def test_event_stays_until_it_was_not_repeated_for_the_quiet_time() -> None:
    probe = Probe("event", quiet=Duration(10_000))
    assert probe.see(0, 1.0)
    assert [probe.tick(second) for second in (1, 10, 11)] == [True, True, False]


def test_stuck_is_found_when_samples_come_but_do_not_change() -> None:
    probe = Probe("stuck", over=Duration(3_000), tolerance=0.1)
    assert probe.follow([5, 5.05, 5, 5.1, 5.1, 6]) == [False, False, False, True, True, False]


def test_ewma_is_found_far_from_the_recent_past_and_learns_slowly_from_it() -> None:
    chance = random.Random(3)
    probe = Probe("ewma", deviations=6.0, window=Duration(60_000))
    assert not any(probe.follow([20 + chance.gauss(0, 1) for _ in range(300)]))
    assert probe.see(301, 40.0)
    assert probe.explain().margin > 0
    assert not probe.see(302, 20.0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("threshold", {}),
        ("threshold", {"above": 1.0, "below": 2.0}),
        ("rate", {}),
        ("silence", {"after": Duration(10)}),
        ("ewma", {"deviations": 2.0, "window": Duration(1), "hysteresis": 3.0}),
        ("stuck", {"over": Duration(0)}),
        ("event", {"quiet": Duration(1)}),
        ("forecast", {"reaches": 0.0, "within": Duration(0), "window": Duration(1)}),
    ],
)
def test_options_that_make_no_sense_together_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Probe(name, **options)


@pytest.mark.parametrize(("text", "milliseconds"), [("250ms", 250), ("1.5h", 5_400_000), ("7d", 604_800_000)])
def test_durations_are_read_as_people_write_them(text: str, milliseconds: int) -> None:
    assert Duration.parse(text) == milliseconds
    assert Duration.parse(write(milliseconds)) == milliseconds


@pytest.mark.parametrize("text", ["10", "10 s", "s", "-1s", "1e3s", 10, None, "٣s"])
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="such as"):
        Duration.parse(text)


def test_no_explanation_is_lost_for_a_value_that_fits_no_float() -> None:
    probe = Probe("threshold", above=1.0)
    probe.see(0, 1e308)
    assert math.isfinite(probe.explain().margin)
