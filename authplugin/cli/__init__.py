"""The ``authplugin`` program: one module a command."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from authplugin import __version__
from authplugin.errors import AuthpluginError

#: Command → module of this package with ``add_parser(subparsers)`` and ``run(args) -> int``.
COMMANDS = ("mosquitto", "issuer", "explain", "check_config", "token")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 1 when something must be changed, 2 for usage."""
    parser = argparse.ArgumentParser(
        prog="authplugin", description="The gate: asset tokens at the broker's door."
    )
    parser.add_argument("--version", action="version", version=f"assetgate {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"authplugin.cli.{name}")
        module.add_parser(subparsers).set_defaults(run=module.run)
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except AuthpluginError as error:
        print(f"authplugin: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
