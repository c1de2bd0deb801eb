"""What goes wrong, in an order and at times that a seed decides.

Whatever ends is started again, as a supervisor would; whatever ends by itself (a bridge whose producer
Kafka has forgotten, a worker that starts while Kafka is away) is counted.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.kafka import ApacheKafka
from tests.support.watch import PlainBroker, Program, Watch

#: The same evil more often: bridges die at the moment that matters only now and then.
DECK = (
    "kill bridge", "kill bridge", "kill bridge", "kill worker one", "kill worker two",
    "freeze worker one", "freeze worker two", "kill kafka", "restart mosquitto",
)  # fmt: skip

#: Seconds that Kafka may take to recover what a kill left, on a machine that does much else.
_PATIENCE = 240


@dataclass
class Rig:
    """The whole road under the driver: broker, bridge, Kafka, two workers.

    Attributes:
        settings: of each program, by name.
        done: how often each evil was done, and each program ended by itself.
    """

    watch: Watch
    broker: PlainBroker
    kafka: ApacheKafka
    settings: dict[str, Path]
    random: random.Random
    session: float
    programs: dict[str, Program] = field(default_factory=dict)
    logs: dict[str, list[Path]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)

    def supervise(self) -> None:
        """Start what does not run."""
        for name, settings in self.settings.items():
            program = self.programs.get(name)
            if program is None or program.process.poll() is not None:
                if program is not None and program.process.returncode != -signal.SIGKILL:
                    self.done[f"{name} ended by itself"] += 1
                program = self.watch.launch(name.partition(" ")[0], "--config", settings)
                self.programs[name] = program
                self.logs.setdefault(name, []).append(program.log)

    def rest(self, seconds: float) -> None:
        """Let everything run, supervised."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.supervise()
            time.sleep(0.1)

    def do(self, evil: str) -> None:
        """One evil, and what follows it."""
        verb, _, victim = evil.partition(" ")
        self.done[evil] += 1
        if victim == "kafka":
            self.kafka.stop(signal.SIGKILL)
            self.rest(self.random.uniform(0, 2))
            self.kafka.start(_PATIENCE)
        elif victim == "mosquitto":
            self.broker.stop()
            self.rest(self.random.uniform(0, 2))
            self.broker.start()
        elif verb == "kill":
            self.programs[victim].end(signal.SIGKILL)
        else:
            process = self.programs[victim].process
            process.send_signal(signal.SIGSTOP)
            self.rest(self.session * self.random.uniform(1.5, 2.5))
            process.send_signal(signal.SIGCONT)

    def torment(self, until: Callable[[], bool], pause: tuple[float, float], deck: tuple[str, ...]) -> None:
        """Deal the whole deck, again until the fleet is done; `pause` bounds the seconds between two."""
        while not until():
            for evil in self.random.sample(deck, len(deck)):
                self.rest(self.random.uniform(*pause))
                print(f"{time.monotonic() - self.began:7.1f} s  {evil}", flush=True)
                self.do(evil)

    def stop(self) -> None:
        """End what runs, in order: the bridge drains, the workers save."""
        for name in sorted(self.programs):
            program = self.programs.pop(name)
            if program.process.poll() is None:
                program.end(seconds=60)
