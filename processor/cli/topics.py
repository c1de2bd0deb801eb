"""``processor topics``: make those that are missing, check those that are there."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command's words."""
    parser = subparsers.add_parser("topics", help="create or check the Kafka topics")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create", help="make the topics that are missing; refuse a different number of partitions"
    )
    check = actions.add_parser(
        "check",
        help="say what in the topics would lose records, and what retention has taken; change nothing",
    )
    for each in (create, check):
        each.add_argument("--config", type=Path, help="TOML settings; none: the defaults and the environment")
    return parser


def run(args: argparse.Namespace) -> int:
    """Create, or check; 0 when all is as it should be."""
    from processor.settings import load  # noqa: PLC0415 - --help must not wait for it

    settings = load(args.config)
    return _check(settings) if args.action == "check" else _create(settings)


def _check(settings: Any) -> int:  # noqa: ANN401 - ProcessorSettings; imported late
    from processor.kafka.inspection import inspect  # noqa: PLC0415 - --help must not wait for Kafka's client

    findings, seen = inspect(settings)
    for line in seen:
        print(line)
    for finding in findings:
        print(finding, file=sys.stderr)
    print(f"{len(findings)} found" if findings else "nothing found that would lose records")
    return 1 if findings else 0


def _create(settings: Any) -> int:  # noqa: ANN401 - as above
    from processor.kafka.admin import Admin  # noqa: PLC0415 - as above

    outcomes = Admin(settings.kafka).create(settings.topics)
    width = max(len(outcome.topic.name) for outcome in outcomes)
    print(f"{'topic':<{width}}  partitions  kept     state")
    for outcome in outcomes:
        topic = outcome.topic
        print(
            f"{topic.name:<{width}}  {topic.partitions:>10}  "
            f"{topic.config['cleanup.policy']:<7}  {outcome.what}"
        )
    return 0
