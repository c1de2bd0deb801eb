import os
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.demo import PROGRAMS, RunningDemo, left

pytestmark = [pytest.mark.needs("mosquitto", "cc"), pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Ending:
    """What ends a demo midway, and how it must end then."""

    of: str
    number: signal.Signals
    code: int
    says: str


ENDINGS = (
    Ending("the demo", signal.SIGINT, 130, "Interrupted"),
    Ending("the demo", signal.SIGTERM, 130, "Interrupted"),
    Ending("the demo", signal.SIGKILL, -signal.SIGKILL, ""),
    Ending("processor bridge", signal.SIGKILL, 1, "bridge was ended by SIGKILL"),
)


def test_however_it_is_ended_midway_it_leaves_no_process_behind(tmp_path: Path) -> None:
    with ExitStack() as stack:
        demos = []
        for number in range(len(ENDINGS)):
            directory = tmp_path / str(number)
            directory.mkdir()
            demos.append(stack.enter_context(RunningDemo(directory, "--once")))
        for ending, demo in zip(ENDINGS, demos, strict=True):
            demo.addresses()
            children = demo.descendants()
            assert len(children) == PROGRAMS
            pid = demo.process.pid if ending.of == "the demo" else running(children, ending.of)
            os.kill(pid, ending.number)
            assert demo.wait() == ending.code, demo.output
            assert ending.says in demo.output
            assert left(children) == set()


def running(pids: set[int], words: str) -> int:
    """The one of the processes whose command line has those words."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in pids}
    (found,) = [pid for pid, line in lines.items() if words in line]
    return found
