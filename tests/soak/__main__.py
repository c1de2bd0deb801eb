"""Gate and watch under load at once, as on one host: ``make soak``, with ``DURATION`` in seconds."""

import argparse
import subprocess
import sys

_HALVES = ("tests.soak.mosquitto", "tests.soak.watch")


def main() -> None:
    """Run both; exit 1 when either does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--duration", type=float, default=1200.0, help="seconds")
    given = parser.parse_args()
    words = ["--duration", str(given.duration)]
    halves = [subprocess.Popen([sys.executable, "-m", half, *words]) for half in _HALVES]
    codes = [half.wait() for half in halves]
    for half, code in zip(_HALVES, codes, strict=True):
        print(f"{half}: {'held' if code == 0 else 'did NOT hold'}")
    sys.exit(max(1 if code else 0 for code in codes))


if __name__ == "__main__":
    main()
