"""``authplugin quarantine``: keeps an asset out for a while, or lists the assets that are."""

import argparse
import math

from authplugin.cli.live import add_config


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "quarantine",
        help="keep an asset out for a while; without one, list those in quarantine",
        description="Ends the asset's sessions and refuses its tokens until the time is over, `authplugin "
        "release` ends it or the gate restarts.",
    )
    add_config(parser)
    parser.add_argument("asset", nargs="?", metavar="ASSET", help="the asset's id, in either form")
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="how long; else clones.quarantine_s")
    return parser


def _seconds(text: str) -> float:
    """A time that is no more than a number; JSON knows no infinity, and none would be the default."""
    seconds = float(text)
    if not math.isfinite(seconds):
        raise ValueError
    return seconds


def run(args: argparse.Namespace) -> int:
    """Quarantine or list; 0 when done.

    Raises:
        AuthpluginError: no gate answers, or it refuses.
    """
    from authplugin.cli.input import refuse  # noqa: PLC0415 - as below
    from authplugin.cli.live import ask  # noqa: PLC0415 - --help need not load the settings

    if args.asset is None:
        if args.seconds is not None:
            refuse("--seconds", "no asset beside it", "ASSET: without one, those in quarantine are listed")
        for asset_id, seconds in ask(args.config, "GET", "/quarantined").items():
            print(f"{asset_id}  {seconds} s left")
        return 0
    body = {"asset": args.asset} | ({} if args.seconds is None else {"seconds": args.seconds})
    answer = ask(args.config, "POST", "/quarantine", body)
    print(f"quarantined; {answer['sessions']} live sessions end")
    return 0
