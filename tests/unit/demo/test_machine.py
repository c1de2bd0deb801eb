"""The demo's machines: plausible when healthy, and wrong in exactly their own way when not."""

import random
import statistics
from dataclasses import astuple

import pytest

from deploy.demo.machine import DAY_SECONDS, Fault, Machine, Noise, Reading


def life(seconds: int, seed: int = 1, fault: Fault = Fault.NONE) -> list[Reading]:
    machine = Machine(seed, fault=fault, fault_after=12.0)
    return [machine.advance(1.0) for _ in range(seconds)]


def test_the_same_seed_lives_the_same_life_and_another_does_not() -> None:
    assert life(60) == life(60)
    assert life(60) != life(60, seed=2)


@pytest.mark.parametrize("seed", range(46))
def test_a_healthy_machine_stays_within_its_limits_for_a_week_of_days(seed: int) -> None:
    readings = life(int(7 * DAY_SECONDS), seed)
    assert min(r.temperature for r in readings) > 48
    assert max(r.temperature for r in readings) < 70
    assert 4.8 < min(r.pressure for r in readings) <= max(r.pressure for r in readings) < 6.2
    assert readings[0].toner - readings[-1].toner < 0.1


def test_a_machine_has_a_day_warmer_in_its_middle_than_at_its_end() -> None:
    readings = life(int(4 * DAY_SECONDS))
    phases = [
        statistics.mean(r.temperature for r in readings[start :: int(DAY_SECONDS)])
        for start in (0, 30, 60, 90)
    ]
    assert max(phases) - min(phases) > 4


def test_an_overheating_machine_passes_85_degrees_for_good_and_keeps_its_toner() -> None:
    readings = life(60, fault=Fault.OVERHEATING)
    assert max(r.temperature for r in readings[:11]) < 70
    assert min(r.temperature for r in readings[40:]) > 85
    assert readings[0].toner - readings[-1].toner < 0.1


def test_a_machine_that_runs_low_loses_toner_and_nothing_else() -> None:
    readings = life(60, fault=Fault.RUNNING_LOW)
    assert readings[11].toner - readings[59].toner > 2
    assert max(r.temperature for r in readings) < 70


def test_a_consumable_never_falls_below_empty() -> None:
    machine = Machine(1, fault=Fault.RUNNING_LOW, fault_after=0.0)
    assert all(min(astuple(machine.advance(60.0))) >= 0.0 for _ in range(60))


def test_noise_settles_at_its_spread_however_often_it_is_looked_at() -> None:
    for step in (0.1, 1.0, 10.0):
        noise = Noise(2.0, 5.0, random.Random(3))
        values = [noise.step(step) for _ in range(20_000)]
        assert 1.5 < statistics.pstdev(values) < 2.5
