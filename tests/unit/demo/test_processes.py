import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deploy.demo.processes import ProcessError, Program, Supervisor, free_ports

READY = re.compile("^ready$")


def python(code: str, *, seconds: float = 20.0, remedy: str = "") -> Program:
    return Program(
        "the child", (sys.executable, "-c", textwrap.dedent(code)), READY, seconds=seconds, remedy=remedy
    )


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def gone(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        await asyncio.sleep(0.05)
    return False


def run(tmp_path: Path, scenario: Callable[[Supervisor], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Supervisor(tmp_path) as supervisor:
            await scenario(supervisor)

    asyncio.run(main())


def test_a_child_is_ready_when_it_says_so_and_is_ended_on_leaving(tmp_path: Path) -> None:
    pids: list[int] = []

    async def scenario(supervisor: Supervisor) -> None:
        child = await supervisor.start(python("import time; print('ready', flush=True); time.sleep(60)"))
        assert await child.ready() == "ready"
        assert child.running
        pids.append(child.pid)

    run(tmp_path, scenario)
    assert not alive(pids[0])


def test_an_early_end_is_an_error_with_the_childs_last_words_and_the_remedy(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        child = await supervisor.start(
            python(
                "import sys; print('no such topic', file=sys.stderr); sys.exit(3)", remedy="Create the topic."
            )
        )
        with pytest.raises(
            ProcessError, match=r"(?s)the child ended with code 3.*no such topic.*Create the topic\."
        ):
            await child.ready()

    run(tmp_path, scenario)


def test_a_child_that_is_never_ready_is_given_up_at_its_deadline(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        child = await supervisor.start(python("import time; time.sleep(60)", seconds=0.3))
        with pytest.raises(ProcessError, match="was not ready within"):
            await child.ready()

    run(tmp_path, scenario)


def test_a_child_that_ends_on_its_own_later_is_noticed(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        child = await supervisor.start(python("import time; print('ready', flush=True); time.sleep(60)"))
        await child.ready()
        watch = asyncio.create_task(supervisor.watch())
        child.signal(signal.SIGKILL)
        with pytest.raises(ProcessError, match="the child was ended by SIGKILL"):
            await asyncio.wait_for(watch, 20)

    run(tmp_path, scenario)


def test_a_child_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    pids: list[int] = []

    async def scenario(supervisor: Supervisor) -> None:
        child = await supervisor.start(
            python(
                """
                import signal, subprocess, sys, time
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
                print(other.pid, flush=True)
                print("ready", flush=True)
                time.sleep(60)
                """
            )
        )
        await child.ready()
        pids.extend((child.pid, int(child.log.read_text().split()[0])))
        assert not await child.stop(seconds=0.3)
        assert await gone(pids[0])
        assert await gone(pids[1])

    run(tmp_path, scenario)


def test_children_do_not_outlive_a_demo_that_is_killed(tmp_path: Path) -> None:
    code = """
        import asyncio, re, sys
        from pathlib import Path
        from deploy.demo.processes import Program, Supervisor
        async def main():
            supervisor = Supervisor(Path(sys.argv[1]))
            nap = "import time; print('ready', flush=True); time.sleep(60)"
            child = await supervisor.start(Program("nap", (sys.executable, "-c", nap), re.compile("ready")))
            await child.ready()
            print(child.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    ) as demo:
        assert demo.stdout is not None
        pid = int(demo.stdout.readline())
        assert alive(pid)
        demo.kill()
        demo.wait()
    assert asyncio.run(gone(pid))


def test_a_program_that_is_not_installed_is_named(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        with pytest.raises(ProcessError, match="needs no-such-program, which is not installed"):
            await supervisor.start(Program("the child", ("no-such-program",), READY))

    run(tmp_path, scenario)


def test_free_ports_differ() -> None:
    ports = free_ports(8)
    assert len(set(ports)) == 8


def test_a_program_that_runs_to_its_end_gives_its_output_or_its_error(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        said = await supervisor.run(python("import sys; print('made'); print('note', file=sys.stderr)"))
        assert said == "made\n"
        with pytest.raises(ProcessError, match=r"(?s)the child ended with code 1.*cannot be made"):
            await supervisor.run(python("raise SystemExit('cannot be made')"))
        with pytest.raises(ProcessError, match="did not end within"):
            await supervisor.run(python("import time; time.sleep(60)", seconds=0.3))

    run(tmp_path, scenario)
