"""The ``processor`` program: one module a command."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from processor import __version__
from processor.errors import ProcessorError

#: Command → module of this package with ``add_parser(subparsers)`` and ``run(args) -> int``.
COMMANDS = ("topics", "bridge", "worker", "rules", "dlq", "state")

#: What a gate-only install leaves out, by the names they are imported under.
WATCH = frozenset(
    {
        "aiokafka",
        "aiomqtt",
        "confluent_kafka",
        "cramjam",
        "faust",
        "mode",
        "mqtt5",
        "numba",
        "numpy",
        "paho",
        "yaml",
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 1 when something must be changed, 2 for usage."""
    parser = argparse.ArgumentParser(prog="processor", description="The watch: telemetry judged into cases.")
    parser.add_argument("--version", action="version", version=f"assetgate {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"processor.cli.{name}")
        module.add_parser(subparsers).set_defaults(run=module.run)
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except ProcessorError as error:
        for line in str(error).splitlines():
            print(f"processor: {line}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in WATCH:
            raise
        print(f"processor: {error.name} is not installed: pip install 'assetgate[watch]'", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        # Before a program listens for signals: nothing was begun.
        return 130
