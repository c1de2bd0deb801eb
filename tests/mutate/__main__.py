"""``python -m tests.mutate``: are the tests of a package good enough to see a small mistake in it?

Makes every small mistake of `tests.mutate.mutants` in turn and runs the tests that reach it. Writes
``build/mutate/report.json``; ends with an error when a package's score is not above the bound. A
mutant that no test can tell from the original is left out only by ``tests/mutate/equivalent.toml``,
with its reason.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import msgspec
from hypothesis import settings

from tests.mutate.score import Score, judge_package

BOUND = 0.90
TARGETS = {
    # A proof of possession and an issuer's own claims are told to the gate, and are judged there.
    "authplugin/jose": (
        "tests/unit/authplugin/jose",
        "tests/unit/authplugin/test_gate_possession.py",
        "tests/unit/authplugin/test_gate_issuers.py",
    ),
    "authplugin/topics": ("tests/unit/authplugin/topics",),
}
REPORT = Path("build/mutate/report.json")


def main() -> int:
    """Run; exit code 0 when the score of each package is above the bound."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__)
    parser.add_argument("--package", type=Path, help="folder of modules; without it jose and topics")
    parser.add_argument("--tests", action="append", default=[], help="test file or folder; may be repeated")
    parser.add_argument("--unit", action="append", help="only mutants of this function; may be repeated")
    parser.add_argument("--report", default=REPORT, type=Path)
    parser.add_argument("--workers", default=os.cpu_count() or 1, type=int)
    given = parser.parse_args()
    given.report.parent.mkdir(parents=True, exist_ok=True)
    if given.package is None:
        scores = [_apart(package, tests, given.report) for package, tests in TARGETS.items()]
    else:
        settings.register_profile("mutate", derandomize=True, deadline=None, database=None)
        settings.load_profile("mutate")
        scores = [judge_package(given.package, given.tests, units=given.unit, workers=given.workers)]
        for score in scores:
            _tell(score)
    given.report.write_bytes(msgspec.json.format(msgspec.json.encode(scores), indent=2) + b"\n")
    return 0 if all(score.score > BOUND for score in scores) else 1


def _apart(package: str, tests: tuple[str, ...], report: Path) -> Score:
    """Judge a package in a process of its own, in which nothing of it has been imported before."""
    part = report.with_suffix(f".{package.replace('/', '.')}.json")
    part.unlink(missing_ok=True)
    chosen = [word for test in tests for word in ("--tests", test)]
    command = [sys.executable, "-m", "tests.mutate", "--package", package, *chosen, "--report", str(part)]
    subprocess.run(command, check=False)  # its exit code says again what the report says
    (score,) = msgspec.json.decode(part.read_bytes(), type=list[Score])
    part.unlink()
    return score


def _tell(score: Score) -> None:
    for survivor in score.survivors:
        print(f"survived {survivor.module}:{survivor.line} in {survivor.unit or 'the module'}")
        print(f"    - {survivor.before}\n    + {survivor.after}")
    print(
        f"{score.package}: {score.killed} of {score.mutants} mutants killed, {score.score:.1%} (above "
        f"{BOUND:.0%} is asked for), {score.equivalent} equivalent ones left out, {score.seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
