"""Resolve the dependencies into locks with hashes, one a purpose.

``python -m deploy.lock`` resolves anew and writes them; with ``--check`` it says whether the locks
still answer to ``pyproject.toml`` (resolving against the locks themselves, so that a new release
somewhere is no failure).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = "pyproject.toml"

#: Lock → what it resolves. The first constrains the others: one version of a package everywhere.
LOCKS = {
    "dev.txt": (PROJECT, "--extra", "watch", "--group", "dev"),
    "build.txt": ("--group", f"{PROJECT}:build"),
    "gate.txt": (PROJECT,),
    "watch.txt": (PROJECT, "--extra", "watch"),
}


def resolve(name: str, into: Path, constraints: Path | None, *, upgrade: bool) -> None:
    """Write the lock ``name`` to ``into``, starting from the pins that stand there."""
    command = [
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
    ]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", *LOCKS[name]]
    if constraints:
        command += ["--constraint", str(constraints)]
    if upgrade:
        command.append("--upgrade")
    command += ["--output-file", str(into)]
    # Locks hold what the package index publishes, not what a directory of this machine holds.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_FIND_LINKS"}
    program = Path(sys.executable).parent / command[0]
    subprocess.run(
        [program, *command[1:]], check=True, env=environment, cwd=HERE.parents[1], stdout=subprocess.DEVNULL
    )


def read_pins(lock: Path) -> list[str]:
    """Return the requirement lines of a lock; the hashes of one version may grow as wheels are added."""
    return [line for line in lock.read_text("utf-8").splitlines() if not line.startswith(" ")]


def main() -> int:
    """Write the locks, or check them."""
    parser = argparse.ArgumentParser(prog="python -m deploy.lock", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when a lock is out of date"
    )
    check = parser.parse_args().check
    stale = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in LOCKS:
            lock, fresh = HERE / name, Path(scratch) / name
            if check:
                fresh.write_bytes(lock.read_bytes())
            constraints = None if name == "dev.txt" else (HERE if check else Path(scratch)) / "dev.txt"
            resolve(name, fresh, constraints, upgrade=not check)
            if not check:
                lock.write_bytes(fresh.read_bytes())
            elif read_pins(fresh) != read_pins(lock):
                stale.append(name)
    for name in stale:
        sys.stderr.write(f"deploy/lock/{name} does not answer to pyproject.toml: run `make lock`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
