"""``authplugin keys``: which keys are held for each issuer, how old they are, and why any is left out."""

import argparse
import sys
from typing import Any

from authplugin.cli.live import add_config


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "keys",
        help="show the issuers' keys and why any is left out",
        description="Shows what the running gate holds, when [admin] names where it listens and it answers; "
        "else what one fetch of its own brings, and says which of the two. Exits 0 when tokens of every "
        "issuer can be verified.",
    )
    add_config(parser)
    parser.add_argument("--fetch", action="store_true", help="ask the issuers, not the running gate")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Show them; 0 when every issuer has usable keys.

    Raises:
        AuthpluginError: the configuration is wrong.
    """
    import msgspec  # noqa: PLC0415 - --help need not load the settings

    source, issuers = _find(args)
    if args.json:
        print(msgspec.json.encode({"source": source, "issuers": issuers}).decode())
    else:
        print("what the running gate holds" if source == "gate" else "what one fetch brought, just now")
        for issuer in issuers:
            print(_told(issuer))
    return 0 if all(issuer["usable"] for issuer in issuers) else 1


def _find(args: argparse.Namespace) -> tuple[str, list[dict[str, Any]]]:
    """Where the answer is from, ``gate`` or ``fetch``, and the issuers."""
    from authplugin.administration import tell_keys  # noqa: PLC0415 - as above
    from authplugin.cli.live import LiveError, ask  # noqa: PLC0415 - as above
    from authplugin.clock import SystemClock  # noqa: PLC0415 - as above
    from authplugin.keys.supply import fetch_once  # noqa: PLC0415 - as above
    from authplugin.settings import load  # noqa: PLC0415 - as above

    settings = load(args.config).settings
    if not args.fetch and (settings.admin.socket is not None or settings.admin.port is not None):
        try:
            return "gate", ask(args.config, "GET", "/keys")
        except LiveError as error:
            print(f"authplugin: {error}", file=sys.stderr)
    return "fetch", [tell_keys(state) for state in fetch_once(settings, clock=SystemClock()).states()]


def _told(issuer: dict[str, Any]) -> str:
    """One issuer as people read it."""
    age = "no key set" if issuer["age"] is None else f"vouched for {_span(issuer['age'])} ago"
    lines = [f"{_printable(issuer['issuer'])}  {'usable' if issuer['usable'] else 'NOT usable'}, {age}"]
    if issuer["error"] is not None:
        lines.append(f"  last attempt failed: {_printable(issuer['error'])}")
    width = max((len(key["kid"]) for key in issuer["keys"]), default=0)
    lines += [
        f"  {key['kid']:<{width}}  {key['algorithm']}  {key['bits']} bits  {key['thumbprint']}"
        for key in issuer["keys"]
    ]
    for out in issuer["leftOut"]:
        kid = "without a usable kid" if out["kid"] is None else out["kid"]
        lines.append(
            f"  left out: key {out['position']}, {kid}: {out['why']}: it {_printable(out['detail'])}"
        )
    return "\n".join(lines)


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _printable(text: str) -> str:
    """What issuers say, without power over the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
