"""The ``authplugin`` program: one module a command."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from authplugin import __version__
from authplugin.errors import AuthpluginError

#: Command → module of this package with ``add_parser(subparsers)`` and ``run(args) -> int``.
COMMANDS = (
    "mosquitto",
    "issuer",
    "explain",
    "check_config",
    "token",
    "revoke",
    "unrevoke",
    "quarantine",
    "release",
    "sessions",
    "keys",
    "jwks",
)

_INTERRUPTED = 130
"""What shells say of a program that Ctrl-C ended: 128 and the signal's number."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command: 0 when it did what was asked, 1 when something must be changed.

    2 stands for usage, 130 for Ctrl-C.
    """
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
        code = int(args.run(args))
        if sys.stdout is not None:  # whoever closed it wants no output
            sys.stdout.flush()
    except AuthpluginError as error:
        print(f"authplugin: {error}", file=sys.stderr)
        return 1
    except UnicodeEncodeError:
        # The text is not shown: a terminal cannot, and it may be a secret.
        print(
            "authplugin: an argument or variable: found bytes that are no UTF-8, expected text",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return 1
    except OSError as error:
        print(
            f"authplugin: {error.filename2 or error.filename or 'output'}: {error.strerror}", file=sys.stderr
        )
        _drop_output()
        return 1
    return code


def _drop_output() -> None:
    """Let what is left of the output go nowhere: Python would try it again at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
