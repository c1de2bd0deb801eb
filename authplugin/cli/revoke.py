"""``authplugin revoke``: refuses tokens before their time, and ends their sessions within a second."""

import argparse
import sys
from pathlib import Path

from authplugin.cli.live import add_config


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "revoke",
        help="refuse a token, asset, device, key, issuer, or all that was issued before a time",
        description="Adds a line to the running gate's file of revocations. What it names is refused from "
        "then on, and its live sessions are ended.",
    )
    add_entry(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help="also revoke what is likely a slip: an issuer that is not configured, an asset id of no "
        "issuer's form, what is issued before a time to come",
    )
    parser.add_argument("--note", metavar="TEXT", help="why, for people who read the file")
    return parser


def add_entry(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that name what is revoked."""
    add_config(parser)
    parser.add_argument("--token", metavar="FILE", help="file with the token; - reads standard input")
    parser.add_argument("--digest", metavar="HEX", help="a token's SHA-256, 64 digits or the 16 of the log")
    parser.add_argument("--asset", metavar="ID", help="all tokens of an asset, its id in either form")
    parser.add_argument("--device", metavar="ID", help="all tokens of a device")
    parser.add_argument("--kid", metavar="KID", help="all tokens signed by a key; needs --issuer")
    parser.add_argument("--issuer", metavar="URL", help="all tokens of an issuer, or the device's or key's")
    parser.add_argument(
        "--issued-before",
        metavar="TIME",
        help="only tokens issued before this time (RFC 3339 with a zone), of the asset, the issuer or all",
    )


def entry(args: argparse.Namespace) -> dict[str, str]:
    """The revocation that the arguments name; the gate says whether it means something.

    Raises:
        AuthpluginError: nothing is named, or half of something; what the file holds is no token.
    """
    import hashlib  # noqa: PLC0415 - --help need not load what reads tokens

    from authplugin.cli.input import read_token, refuse  # noqa: PLC0415 - as above
    from authplugin.jose.compact import split  # noqa: PLC0415 - as above

    digest = args.digest
    if args.token is not None:
        if digest is not None:
            refuse("--token and --digest", "both", "one of the two")
        token = read_token(args.token)
        split(token)  # the digest of anything else would revoke nothing, and look as if it did
        digest = hashlib.sha256(token).hexdigest()
    if args.kid is not None and args.issuer is None:
        refuse("--kid", "no --issuer beside it", "whose key that is: issuers may give keys the same name")
    given = {
        "token": digest,
        "asset": args.asset,
        "device": args.device,
        "kid": args.kid,
        "issuer": args.issuer,
        "issued_before": args.issued_before,
    }
    if not any(value is not None for value in given.values()):
        refuse(
            args.command,
            "nothing named",
            "one of --token, --digest, --asset, --device, --kid, --issuer, --issued-before",
        )
    return {name: value for name, value in given.items() if value is not None}


def run(args: argparse.Namespace) -> int:
    """Revoke; 0 when it is in force.

    Raises:
        AuthpluginError: no gate answers, or it refuses.
    """
    from authplugin.cli.live import ask  # noqa: PLC0415 - as above

    config: Path = args.config
    note = {} if args.note is None else {"note": args.note}
    answer = ask(config, "POST", "/revoke?force=1" if args.force else "/revoke", entry(args) | note)
    if answer["note"] is not None:
        print(f"note: {answer['note']}", file=sys.stderr)
    print(f"revoked; {answer['sessions']} live sessions end")
    return 0
