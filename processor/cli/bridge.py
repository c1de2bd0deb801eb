"""``processor bridge``: carry MQTT to Kafka until SIGTERM."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command's words."""
    parser = subparsers.add_parser("bridge", help="carry MQTT to Kafka")
    parser.add_argument("--config", type=Path, help="TOML settings; none: the defaults and the environment")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop."""
    import asyncio  # noqa: PLC0415 - --help must not wait for any of these

    from processor.bridge.program import main  # noqa: PLC0415 - as above
    from processor.settings import load  # noqa: PLC0415 - as above

    return asyncio.run(main(load(args.config)))
