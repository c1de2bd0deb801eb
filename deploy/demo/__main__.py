"""``python -m deploy.demo``: the whole product on this machine, told as a story.

Exits 0 when every line of the story came true, 1 when one did not (and names it), 130 when it was interrupted
before its end. With a terminal, or ``--stay``, it stays up after the story until Ctrl-C.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from deploy.demo.claims import CLAIMS
from deploy.demo.console import Console, Ink, Mark
from deploy.demo.installation import Installation
from deploy.demo.ledger import Ledger
from deploy.demo.processes import ProcessError, Supervisor
from deploy.demo.story import STORY_SECONDS, Story

_INTERRUPTED = 130
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_RULES = Path(__file__).parent / "rules.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Tell the story; the exit code says whether it came true."""
    parser = argparse.ArgumentParser(prog="deploy.demo", description="The whole product, told as a story.")
    staying = parser.add_mutually_exclusive_group()
    staying.add_argument("--once", action="store_true", help="exit when the story is told")
    staying.add_argument("--stay", action="store_true", help="stay up after it, also without a terminal")
    parser.add_argument("--rules", type=Path, default=_RULES, help="judge by this rules file")
    parser.add_argument(
        "--report",
        type=Path,
        help="write a JSON file with every address once all is started, then the verdict",
    )
    args = parser.parse_args(argv)
    stay = args.stay or (not args.once and sys.stdin.isatty() and sys.stdout.isatty())
    console = Console(sys.stdout)
    with directory() as root:
        return asyncio.run(
            run(console, root, rules=args.rules.resolve(), report=Report(args.report), stay=stay)
        )


class Report:
    """The file for programs that watch the demo; nothing when none was asked for."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        if file is not None:
            file.unlink(missing_ok=True)  # what an earlier run left
        self._content: dict[str, object] = {"addresses": None, "verdict": None}

    def start(self, addresses: dict[str, object]) -> None:
        """Everything is started."""
        self._write(addresses=addresses)

    def end(self, verdict: int) -> None:
        """The story is told."""
        self._write(verdict=verdict)

    def _write(self, **found: object) -> None:
        self._content |= found
        if self._file is not None:
            made = self._file.with_name(self._file.name + ".new")
            made.write_text(json.dumps(self._content), encoding="utf-8")
            made.replace(self._file)  # whole, or not there


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A directory that only this user can enter; gone afterwards, with the secrets in it."""
    root = Path(tempfile.mkdtemp(prefix="assetgate-demo-"))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def run(console: Console, root: Path, *, rules: Path, report: "Report", stay: bool) -> int:
    """Tell the story and stay if asked to; whatever happens, no process is left behind."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOPPING:
        loop.add_signal_handler(number, stop.set)
    installation = Installation(root, rules=rules)
    ledger = Ledger(CLAIMS, console)
    try:
        async with (
            Supervisor(installation.logs, environ=installation.environ(os.environ)) as supervisor,
            Story(console, ledger, installation, supervisor, report.start) as story,
        ):
            if not await finish(story.tell(), stop, supervisor, seconds=STORY_SECONDS):
                console.plain("\n   Interrupted: ending every process.", Ink.YELLOW)
                return _INTERRUPTED
            code = verdict(console, ledger)
            report.end(code)
            if stay:
                console.plain("\n   Everything stays up until Ctrl-C.", Ink.BOLD)
                await finish(story.stay(), stop, supervisor, seconds=None)
                console.plain("\n   Ending every process.", Ink.DIM)
    except Exception as error:  # noqa: BLE001 - whatever broke the story is told, and the ledger says what it cost
        console.line(Mark.FALSE, "The story broke off")
        console.plain(textwrap.indent(broken(error), "     "), Ink.RED)
        (installation.logs / "demo.log").write_text(traceback.format_exc(), encoding="utf-8")
        code = verdict(console, ledger) or 1
    if code:
        console.plain(f"   The logs are kept in {keep(installation.logs)}", Ink.DIM)
    return code


async def finish(
    work: Coroutine[None, None, None], stop: asyncio.Event, supervisor: Supervisor, *, seconds: float | None
) -> bool:
    """Run the work to its end; False when a signal came first.

    Raises:
        ProcessError: a child ended on its own.
        TimeoutError: the time is up.
    """
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    watching = asyncio.create_task(supervisor.watch())
    tasks: set[asyncio.Task[Any]] = {working, stopped, watching}
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise TimeoutError(f"it took more than {seconds:.0f} s")
        if watching in done:
            watching.result()
        if working in done:
            working.result()
        return working in done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def broken(error: BaseException) -> str:
    """What broke the story, for a person."""
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(broken(each) for each in error.exceptions)
    return str(error) if isinstance(error, ProcessError) else f"{type(error).__name__}: {error}"


def verdict(console: Console, ledger: Ledger) -> int:
    """Say which lines did not come true; the exit code."""
    unmet, unreached = ledger.unmet(), ledger.unreached()
    if not unmet and not unreached:
        console.plain(f"\n   Every one of the {ledger.total()} lines came true.", Ink.GREEN)
        return 0
    console.plain(f"\n   {len(unmet) + len(unreached)} of {ledger.total()} lines did not come true:", Ink.RED)
    for claim, seen in unmet:
        console.line(Mark.FALSE, f"{claim.name}: {claim.text}", seen)
    if unreached:
        console.line(Mark.FALSE, "not reached:", ", ".join(claim.name for claim in unreached))
    return 1


def keep(logs: Path) -> Path:
    """Copy the logs to where they survive the run; they hold no secrets."""
    kept = Path("build/demo-logs") / logs.parent.name
    shutil.copytree(logs, kept, dirs_exist_ok=True)
    return kept


if __name__ == "__main__":
    sys.exit(main())
