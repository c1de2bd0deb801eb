"""``authplugin sessions``: who is connected to the running gate, and by what."""

import argparse
import sys
from datetime import UTC, datetime
from urllib.parse import urlencode

from authplugin.cli.live import add_config

_COLUMNS = ("clientId", "asset", "device", "kid", "token", "possession", "address")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "sessions", help="list live sessions", description="Lists live sessions; tokens by their digest only."
    )
    add_config(parser)
    parser.add_argument("--asset", metavar="ID", help="of this asset only, its id in either form")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many, up to 1000")
    parser.add_argument("--json", action="store_true", help="as the gate says it, one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """List them; 0 when the gate answers.

    Raises:
        AuthpluginError: no gate answers, or it refuses.
    """
    import msgspec  # noqa: PLC0415 - --help need not load the settings

    from authplugin.cli.live import ask  # noqa: PLC0415 - as above

    query = {"limit": str(args.limit)} | ({} if args.asset is None else {"asset": args.asset})
    answer = ask(args.config, "GET", f"/sessions?{urlencode(query)}")
    if args.json:
        print(msgspec.json.encode(answer).decode())
        return 0
    for session in answer["sessions"]:
        words = "  ".join(_printable(str(session[name] or "-")) for name in _COLUMNS)
        print(f"{words}  for {session['seconds']:.0f} s, token until {_moment(session['expires'])}")
    shown = len(answer["sessions"])
    if shown < answer["found"]:
        print(f"{shown} of {answer['found']} shown; --limit and --asset choose", file=sys.stderr)
    return 0


def _moment(seconds: float) -> str:
    """A time, in UTC; a token may well end beyond what a calendar holds."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return "after the year 9999"


def _printable(text: str) -> str:
    """What devices call themselves, without power over the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
