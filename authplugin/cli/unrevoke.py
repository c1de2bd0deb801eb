"""``authplugin unrevoke``: takes a revocation back."""

import argparse

from authplugin.cli.revoke import add_entry, entry


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "unrevoke",
        help="take a revocation back",
        description="Takes the lines that name the same out of the running gate's file of revocations.",
    )
    add_entry(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Take it back; 0 when there was one, 1 when there was none.

    Raises:
        AuthpluginError: no gate answers, or it refuses.
    """
    from authplugin.cli.live import ask  # noqa: PLC0415 - --help need not load the settings

    removed = ask(args.config, "POST", "/unrevoke", entry(args))["removed"]
    print(f"took {removed} revocations back" if removed else "nothing like that is revoked")
    return 0 if removed else 1
