"""``processor topics create``: make the topics that are missing, check those that are there."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command's words."""
    parser = subparsers.add_parser("topics", help="create the Kafka topics")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create", help="make the topics that are missing; refuse a different number of partitions"
    )
    create.add_argument("--config", type=Path, help="TOML settings; none: the defaults and the environment")
    return parser


def run(args: argparse.Namespace) -> int:
    """Create, then print one line a topic."""
    from processor.kafka.admin import Admin  # noqa: PLC0415 - --help must not wait for Kafka's client
    from processor.settings import load  # noqa: PLC0415 - as above

    settings = load(args.config)
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
