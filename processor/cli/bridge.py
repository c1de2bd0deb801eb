"""``processor bridge``: carry MQTT to Kafka until SIGTERM, or say what would lose messages."""

import argparse
import sys
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command's words."""
    parser = subparsers.add_parser("bridge", help="carry MQTT to Kafka")
    parser.add_argument("--config", type=Path, help="TOML settings; none: the defaults and the environment")
    parser.add_argument(
        "--check",
        action="store_true",
        help="only say what in the broker would lose messages, and how to mend it",
    )
    parser.add_argument(
        "--broker-config",
        type=Path,
        metavar="FILE",
        help="with --check: the broker's mosquitto.conf; none: that of the broker which runs on this host",
    )
    parser.add_argument(
        "--gone",
        metavar="CLIENT_ID",
        help="only say that this bridge is gone for good: the partitions' clocks wait for it no more",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop, or when the check found nothing."""
    from processor.settings import load  # noqa: PLC0415 - --help must not wait for it

    settings = load(args.config)
    if args.gone is not None:
        from processor.clock import SystemClock  # noqa: PLC0415 - as above
        from processor.kafka.retire import retire  # noqa: PLC0415 - as above

        count = retire(settings.kafka, settings.topics, args.gone, SystemClock())
        print(f"the clocks of {count} partitions wait for {args.gone} no more")
        return 0
    if args.check:
        from processor.bridge.check import check  # noqa: PLC0415 - as above
        from processor.clock import SystemClock  # noqa: PLC0415 - as above

        findings, seen = check(settings.mqtt, args.broker_config, SystemClock())
        for line in seen:
            print(line)
        for finding in findings:
            print(finding, file=sys.stderr)
        print(f"{len(findings)} found" if findings else "nothing found that would lose messages")
        return 1 if findings else 0
    if args.broker_config is not None:
        print("processor: --broker-config goes with --check", file=sys.stderr)
        return 2
    import asyncio  # noqa: PLC0415 - as above

    from processor.bridge.program import main  # noqa: PLC0415 - as above

    return asyncio.run(main(settings))
