"""``python -m tests.fuzz``: every target under atheris, each for a minute, corpora kept in ``build/fuzz``.

The fuzzer has an environment of its own in ``build/peers/atheris``, made from ``tests/fuzz/atheris.txt``.
Ends with an error when an input broke a target; the input is in ``build/fuzz``.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

LOCK = Path("tests/fuzz/atheris.txt")
PEER = Path("build/peers/atheris")
CORPORA = Path("build/fuzz")


def main() -> int:
    """Run; exit code 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this; may be repeated")
    given = parser.parse_args()
    python = install()
    found = []
    for name in given.target or TARGETS:
        corpus = CORPORA / name
        corpus.mkdir(parents=True, exist_ok=True)
        command = [python, "-m", "tests.fuzz.feed", name, str(corpus), str(given.seconds)]
        run = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
        kept = sum(1 for _ in corpus.iterdir())
        print(
            f"{name}: {runs[1] if runs else 'no'} inputs in {given.seconds} s, corpus of {kept} in {corpus}"
        )
        if run.returncode:
            found.append(name)
            print(run.stdout[-2000:] + run.stderr[-4000:])
    if found:
        print(f"found something in: {', '.join(found)}; the inputs are in {CORPORA}")
    return 1 if found else 0


def install() -> Path:
    """The fuzzer's Python, with this project in it; made anew from its lock when that has changed."""
    stamp = PEER / "lock.sha256"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        environment = os.environ | {"PYTHON": sys.executable}
        subprocess.run(["deploy/venv.sh", PEER, "deploy/lock/build.txt", LOCK], check=True, env=environment)
        stamp.write_text(digest)
    return PEER / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
