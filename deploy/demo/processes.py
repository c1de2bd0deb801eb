"""The programs of the demo as child processes: started, awaited, watched, and every one of them ended.

Each child leads a session of its own, so a Ctrl-C in the terminal reaches the demo alone, which then ends
its children in order. Should the demo itself be killed outright, the kernel ends them (``PR_SET_PDEATHSIG``,
set by util-linux's ``setpriv``, which is part of every Debian, before the program starts).
"""

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import socket
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

#: Lines of a child's output that an error shows.
_LAST_LINES = 12
#: A line longer than this is cut: a child that never ends its line cannot fill the demo's memory.
_LINE_LIMIT = 64 * 1024
#: Seconds a child has to end by itself after SIGTERM.
STOP_SECONDS = 8.0


class ProcessError(Exception):
    """A child could not be started, was not ready in time, or ended on its own; says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run.

    Attributes:
        name: what the story calls it.
        argv: the command; never holds a secret, since every user of the machine can read it.
        ready: pattern of the output line that says the program is ready.
        environ: additions to the demo's own environment.
        seconds: how long it may take to be ready.
        remedy: what a person does when it is not.
    """

    name: str
    argv: tuple[str, ...]
    ready: re.Pattern[str]
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 30.0
    remedy: str = ""


def ended(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def failure(program: Program, happened: str, lines: Iterable[str]) -> ProcessError:
    """An error that names the program, what happened, its last lines and what to do."""
    said = "".join(f"\n    | {line}" for line in list(lines)[-_LAST_LINES:]) or "\n    | (it printed nothing)"
    remedy = f"\n  What to do: {program.remedy}" if program.remedy else ""
    return ProcessError(f"{program.name} {happened}. Its last lines:{said}{remedy}")


class Child:
    """One running program."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process, log: Path) -> None:
        self.program = program
        self.log = log
        self._process = process
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        with contextlib.ExitStack() as undo:
            file = undo.enter_context(log.open("w", encoding="utf-8"))
            self._readers = [
                asyncio.create_task(self._read(stream, file))
                for stream in (process.stdout, process.stderr)
                if stream is not None
            ]
            self._close_log = undo.pop_all().close
        self.ended: asyncio.Task[int] = asyncio.create_task(self._wait(), name=f"end of {program.name}")

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until the process has ended."""
        return self._process.returncode is None

    async def ready(self) -> str:
        """The line that said the program is ready.

        Raises:
            ProcessError: it ended first, or its time is up.
        """
        either: set[asyncio.Future[Any]] = {self._ready, self.ended}
        await asyncio.wait(either, timeout=self.program.seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            return self._ready.result()
        if self.ended.done():
            raise self.failure()
        raise self.failure(f"was not ready within {self.program.seconds:.0f} s")

    def failure(self, happened: str | None = None) -> ProcessError:
        """An error that names the program, what happened, its last lines and what to do."""
        return failure(self.program, happened or ended(self._process.returncode), self._last)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process; nothing when it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """End the process and what is left of its group; False when it had to be killed."""
        self.signal(signal.SIGTERM)
        clean = bool((await asyncio.wait({self.ended}, timeout=seconds))[0])
        # Also after a clean end: a grandchild may have outlived its parent.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.ended
        return clean

    async def _wait(self) -> int:
        code = await self._process.wait()
        # A grandchild may hold the pipes open: what the child itself wrote is there already.
        await asyncio.wait(self._readers, timeout=1.0)
        for reader in self._readers:
            reader.cancel()
        self._close_log()
        return code

    async def _read(self, stream: asyncio.StreamReader, log: IO[str]) -> None:
        while True:
            try:
                raw = await stream.readline()
            except ValueError:  # longer than the limit: the reader has dropped what it held of it
                raw = b"(a line too long to show)\n"
            if not raw:
                return
            line = raw.decode("utf-8", "replace").rstrip()
            log.write(line + "\n")
            log.flush()
            self._last.append(line)
            if not self._ready.done() and self.program.ready.search(line):
                self._ready.set_result(line)


class Supervisor:
    """Starts the children and answers for their end.

    An async context manager: leaving it, by whatever road, ends every child, the last started first.

    Args:
        logs: directory that gets one log file a program.
        environ: environment that children inherit.
    """

    def __init__(self, logs: Path, *, environ: Mapping[str, str] | None = None) -> None:
        self._logs = logs
        self._environ = dict(os.environ if environ is None else environ)
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def children(self) -> tuple[Child, ...]:
        """All children, in the order of their start."""
        return tuple(self._children)

    async def start(self, program: Program) -> Child:
        """Start the program without waiting for it to be ready.

        Raises:
            ProcessError: it cannot be started at all.
        """
        process = await self._launch(program)
        child = Child(program, process, self._logs / f"{program.name.replace(' ', '-')}.log")
        self._children.append(child)
        return child

    async def run(self, program: Program) -> str:
        """Run a program that ends by itself; gives what it wrote to its standard output.

        Raises:
            ProcessError: it failed, or did not end in time.
        """
        process = await self._launch(program)
        try:
            async with asyncio.timeout(program.seconds):
                output, errors = (text.decode("utf-8", "replace") for text in await process.communicate())
        except TimeoutError:
            raise failure(program, f"did not end within {program.seconds:.0f} s", ()) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.returncode != 0:
            raise failure(program, ended(process.returncode), (output + errors).splitlines())
        return output

    async def _launch(self, program: Program) -> asyncio.subprocess.Process:
        path = self._environ.get("PATH")
        found, setpriv = shutil.which(program.argv[0], path=path), shutil.which("setpriv", path=path)
        if found is None or setpriv is None:
            missing = program.argv[0] if found is None else "setpriv (Debian package util-linux)"
            raise ProcessError(
                f"{program.name} needs {missing}, which is not installed. {program.remedy}".strip()
            )
        return await asyncio.create_subprocess_exec(
            setpriv,
            "--pdeathsig",
            "KILL",
            found,
            *program.argv[1:],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**self._environ, **program.environ},
            start_new_session=True,
            limit=_LINE_LIMIT,
        )

    async def watch(self) -> None:
        """Wait until a child ends on its own, then raise `ProcessError`; children started later count too."""
        while True:
            ends = {child.ended: child for child in self._children}
            if not ends:
                await asyncio.sleep(0.2)
                continue
            done, _ = await asyncio.wait(ends, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            for end in done:
                raise ends[end].failure()

    async def stop(self) -> None:
        """End every child, the last started first, so that no one loses what it still writes to."""
        while self._children:
            child = self._children[-1]
            await child.stop()
            self._children.pop()


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 that nobody listens on now, all different.

    From below Linux's ephemeral range: a port within it may go to any outgoing connection before the
    server that it is meant for has started.
    """
    found: list[int] = []
    candidates = random.SystemRandom()
    while len(found) < count:
        port = candidates.randrange(10_000, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found
