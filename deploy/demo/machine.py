"""A plausible machine: its day, its noise, and the four ways in which one of the demo's goes wrong.

Everything hangs on the load: work comes and goes with the shift, heat follows it slowly, vibration at
once, and toner is used by it. Noise is mean-reverting (an Ornstein-Uhlenbeck process), so that a healthy
machine stays healthy for ever. A day of the machine passes in two minutes; time stamps are real.
"""

import math
import random
from dataclasses import dataclass
from enum import StrEnum

DAY_SECONDS = 120.0
"""How long a day of the machine takes on the clock."""

IDLE_CELSIUS, WORKING_CELSIUS = 52.0, 63.0
RUNAWAY_CELSIUS, RUNAWAY_SECONDS = 99.0, 7.0
"""Where an overheating machine goes, and its time constant on the way."""

TONER_PER_SECOND = 1.2e-5
"""Percent of toner a working machine uses: about 70 % in two months."""
LEAK_PER_SECOND = 0.05
"""The same for one that runs low: empty within the quarter of an hour."""


class Fault(StrEnum):
    """What goes wrong with a machine."""

    NONE = "none"
    OVERHEATING = "overheating"
    SILENT = "silent"
    RUNNING_LOW = "running_low"
    SUPPLY_LOW = "supply_low"


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the machine.

    Attributes:
        temperature: °C, one decimal.
        pressure: bar, two decimals.
        vibration: mm/s RMS, two decimals.
        toner: percent of a full cartridge, two decimals.
    """

    temperature: float
    pressure: float
    vibration: float
    toner: float


class Noise:
    """An Ornstein-Uhlenbeck process around zero.

    Args:
        spread: standard deviation it settles at.
        memory: seconds after which it has forgotten where it was.
        random: where chance comes from.
    """

    def __init__(self, spread: float, memory: float, random: random.Random) -> None:
        self._spread = spread
        self._memory = memory
        self._random = random
        self._value = random.gauss(0.0, spread)

    def step(self, seconds: float) -> float:
        """The value ``seconds`` later: exact for any step, so the rate of sampling changes nothing."""
        kept = math.exp(-seconds / self._memory)
        self._value = self._value * kept + self._random.gauss(0.0, self._spread) * math.sqrt(
            1.0 - kept * kept
        )
        return self._value


class Machine:
    """One machine; the same seed gives the same life.

    Args:
        seed: what tells it from its neighbours: its phase, its noise, how full it is.
        fault: what goes wrong.
        fault_after: seconds of its life until then.
    """

    def __init__(self, seed: int, *, fault: Fault = Fault.NONE, fault_after: float = 12.0) -> None:
        chance = random.Random(seed)
        self.fault = fault
        self.fault_after = fault_after
        self._phase = chance.uniform(0.0, math.tau)
        self._toner = 38.0 if fault is Fault.RUNNING_LOW else chance.uniform(45.0, 95.0)
        self._heat = IDLE_CELSIUS + chance.uniform(0.0, 4.0)
        self._age = 0.0
        self._warmth = Noise(0.5, 6.0, chance)
        self._flow = Noise(0.03, 4.0, chance)
        self._shake = Noise(0.08, 1.0, chance)
        self._sensor = Noise(0.004, 0.5, chance)

    @property
    def failing(self) -> bool:
        """Whether its fault has set in."""
        return self.fault is not Fault.NONE and self._age >= self.fault_after

    def advance(self, seconds: float) -> Reading:
        """Let time pass and look at the machine."""
        self._age += seconds
        load = 0.5 + 0.5 * math.sin(math.tau * self._age / DAY_SECONDS + self._phase)
        runaway = self.failing and self.fault is Fault.OVERHEATING
        towards = RUNAWAY_CELSIUS if runaway else IDLE_CELSIUS + (WORKING_CELSIUS - IDLE_CELSIUS) * load
        patience = RUNAWAY_SECONDS if runaway else DAY_SECONDS / 8
        self._heat += (towards - self._heat) * (1.0 - math.exp(-seconds / patience))
        leaking = self.failing and self.fault is Fault.RUNNING_LOW
        self._toner = max(
            0.0, self._toner - seconds * (LEAK_PER_SECOND if leaking else TONER_PER_SECOND * load)
        )
        return Reading(
            temperature=round(self._heat + self._warmth.step(seconds), 1),
            pressure=round(5.2 + 0.6 * load + self._flow.step(seconds), 2),
            vibration=round(max(0.0, 1.1 + 0.9 * load + self._shake.step(seconds)), 2),
            toner=round(max(0.0, self._toner + self._sensor.step(seconds)), 2),
        )
