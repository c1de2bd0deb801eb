"""``make test-durability``: nothing lost and nothing twice while everything is killed, to the sample."""

import argparse
import sys
from pathlib import Path

from tests.durability.autosave import measure
from tests.durability.run import FULL, Plan, run


def main() -> int:
    """Run it; exit code 0 when the books balance and the run counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.durability", description=__doc__)
    parser.add_argument("--assets", type=int, default=FULL.assets)
    parser.add_argument("--messages", type=int, default=FULL.per_asset, help="of each asset; 5 samples each")
    parser.add_argument("--rate", type=float, default=FULL.rate, help="messages a second")
    parser.add_argument("--seed", type=int, default=FULL.seed, help="decides what is killed, and when")
    parser.add_argument("--folder", type=Path, default=Path("build/durability"))
    given = parser.parse_args()
    plan = Plan(given.assets, given.messages, given.rate, given.seed)
    good = run(plan, given.folder)
    measure(given.folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
