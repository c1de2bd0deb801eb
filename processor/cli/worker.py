"""``processor worker``: judge telemetry until SIGTERM."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command's words."""
    parser = subparsers.add_parser("worker", help="judge telemetry by the rules")
    parser.add_argument("--config", type=Path, help="TOML settings; none: the defaults and the environment")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop."""
    from processor.flow.program import main  # noqa: PLC0415 - --help must not wait for Faust
    from processor.settings import load  # noqa: PLC0415 - as above

    return main(load(args.config))
