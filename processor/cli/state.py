"""``processor state``: what the workers remember, when the number of partitions changes."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command's words."""
    parser = subparsers.add_parser(
        "state", help="deal the workers' memory out to another number of partitions"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    repartition = actions.add_parser(
        "repartition",
        help="extend the topics to topics.partitions, judge what waits, and deal the memory out anew; "
        "bridges and workers must be stopped",
    )
    repartition.add_argument(
        "--config", type=Path, help="TOML settings; none: the defaults and the environment"
    )
    repartition.add_argument("--yes", action="store_true", help="do it; without, only say what would be done")
    repartition.add_argument(
        "--from",
        type=_count,
        dest="former",
        metavar="NUMBER",
        help="how many partitions there were; needed only when there is no memory that tells",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Repartition; 0 when it is done, or when it could be."""
    from processor.flow.repartition import load as load_partitions  # noqa: PLC0415 - as below
    from processor.flow.repartition import repartition  # noqa: PLC0415 - --help must not wait for Kafka's client
    from processor.flow.survey import survey  # noqa: PLC0415 - as above
    from processor.settings import load  # noqa: PLC0415 - as above

    settings = load(args.config)
    found = survey(settings, args.former)
    for name, count in found.short.items():
        print(f"{name}: {count} partitions, to be {found.wanted}")
    if found.remembers:
        print(f"{settings.topics.state}: the memory is of {found.former} partitions, to be of {found.wanted}")
    else:
        print(f"{settings.topics.state}: there is no memory")
    print(f"{settings.topics.telemetry}: {found.waiting} records wait to be judged")
    if found.done:
        print("nothing to do")
    elif args.yes:
        repartition(settings, found, lambda step: print(step, flush=True))
    else:
        # What would be refused is said now.
        load_partitions(settings, found)
        print("nothing was changed; stop the bridges and run it again with --yes")
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 1")
    return int(text)
