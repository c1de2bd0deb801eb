"""`python -m deploy.demo` as a child: what it says, what it reports, and what is left of it afterwards."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.prometheus import Prometheus

ROOT = Path(__file__).parents[2]
#: Its children: Kafka, issuer, broker, bridge, worker.
PROGRAMS = 5
#: Longest time to have everything started, and to tell the story, on a slow machine.
START_SECONDS, STORY_SECONDS, END_SECONDS = 90.0, 180.0, 40.0


@dataclass(frozen=True)
class Addresses:
    """Where everything of a running demo is."""

    page: str
    kafka: str
    mqtt: str
    issuer: str
    metrics: Mapping[str, str]

    def targets(self) -> dict[str, str]:
        """Prometheus' job → host:port."""
        return {f"assetgate-{program}": urlsplit(url).netloc for program, url in self.metrics.items()}


class RunningDemo:
    """A demo in a process group of its own; leaving the context interrupts it, as Ctrl-C does."""

    def __init__(self, directory: Path, *words: str) -> None:
        self.prometheus: Prometheus | None = None
        self._report = directory / "report.json"
        self._log = directory / "output.txt"
        self._words = words

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.demo", *self._words, "--report", str(self._report)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the demo did not end by itself:\n" + self.output) from None

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def addresses(self) -> Addresses:
        """Wait until everything is started."""
        return Addresses(**self._reported("addresses", START_SECONDS))

    def told(self) -> int:
        """Wait until the story is told; its verdict, as an exit code."""
        return int(self._reported("verdict", STORY_SECONDS))

    def wait(self) -> int:
        """Wait until it ends by itself; its exit code."""
        return self.process.wait(START_SECONDS + STORY_SECONDS)

    def descendants(self) -> set[int]:
        """Process ids below it, at any depth."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = path.read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(path.parent.name)] = int(text.rpartition(")")[2].split()[1])
        found: set[int] = set()
        edge = {self.process.pid}
        while edge:
            edge = {pid for pid, parent in parents.items() if parent in edge}
            found |= edge
        return found

    def _reported(self, key: str, seconds: float) -> Any:  # noqa: ANN401 - JSON
        end = time.monotonic() + seconds
        while True:
            if self._report.exists():
                value = json.loads(self._report.read_text())[key]
                if value is not None:
                    return value
            assert self.process.poll() is None, f"the demo ended:\n{self.output}"
            assert time.monotonic() < end, f"no {key} within {seconds:.0f} s:\n{self.output}"
            time.sleep(0.1)


def left(pids: set[int], seconds: float = 10.0) -> set[int]:
    """Those that still run when the time is up."""
    end = time.monotonic() + seconds
    while (found := alive(pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that run now (a zombie does not)."""
    found = set()
    for pid in pids:
        try:
            if "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
                found.add(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
