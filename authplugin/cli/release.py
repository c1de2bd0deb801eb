"""``authplugin release``: lets a quarantined asset in again."""

import argparse

from authplugin.cli.live import add_config


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser("release", help="let a quarantined asset in again")
    add_config(parser)
    parser.add_argument("asset", metavar="ASSET", help="the asset's id, in either form")
    return parser


def run(args: argparse.Namespace) -> int:
    """Release; 0 when it was quarantined, 1 when it was not.

    Raises:
        AuthpluginError: no gate answers, or it refuses.
    """
    from authplugin.cli.live import ask  # noqa: PLC0415 - --help need not load the settings

    released = ask(args.config, "POST", "/release", {"asset": args.asset})["released"]
    print("released" if released else "it is not in quarantine")
    return 0 if released else 1
