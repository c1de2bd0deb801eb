"""``authplugin token``: mints tokens for tests and development, and shows what a token says."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authplugin.testing.mint import PrivateKey

_SHOWN_TIMES = ("nbf", "iat", "exp")
_WIDTH = 10
_LIFETIME_END = 1e12


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command and its parts."""
    parser = subparsers.add_parser("token", help="mint a token for development, or look into one")
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    mint = parts.add_parser(
        "mint",
        help="make a token with a key of your own; for tests and development",
        description="Prints a token on standard output, signed by the key in --key (made with mode 0600 when "
        "it is not there). A gate accepts it when its configuration names the issuer and the key set.",
    )
    mint.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="private key, PEM; made when missing"
    )
    mint.add_argument("--jwks", type=Path, metavar="FILE", help="also write the matching key set")
    mint.add_argument(
        "--algorithm", choices=("RS256", "ES256", "EdDSA"), default="RS256", help="of a key that is made"
    )
    mint.add_argument("--kid", default="Assets", help="the key's name (default: Assets)")
    mint.add_argument("--issuer", default="https://acme.my.site.com", help="iss (default: %(default)s)")
    mint.add_argument(
        "--audience", action="append", metavar="NAME", help="aud; more than once for several"
        " (default: https://ingest.example.com)"
    )  # fmt: skip
    mint.add_argument("--asset", default="02iAB00000CdEfG", metavar="ID", help="aid (default: %(default)s)")
    mint.add_argument(
        "--device",
        default="0a1b2c3d-0000-4000-8000-000000000001",
        metavar="ID",
        help="did (default: %(default)s)",
    )
    mint.add_argument(
        "--valid", type=_seconds, default=518_400, metavar="SECONDS", help="exp less now; negative is expired"
    )
    mint.add_argument("--claim", action="append", metavar="NAME=JSON", help="set any claim; null removes it")
    inspect = parts.add_parser(
        "inspect",
        help="show header and claims of a token without judging it",
        description="Decodes a token and prints header and claims, not its signature. Nothing is verified.",
    )
    inspect.add_argument("token", metavar="FILE", help="file with the token; - reads standard input")
    return parser


def _seconds(text: str) -> float:
    """A lifetime; argparse turns the error into its own.

    Raises:
        ValueError: no number, or one that no time can be told by.
    """
    seconds = float(text)
    if not abs(seconds) < _LIFETIME_END:
        raise ValueError
    return seconds


def run(args: argparse.Namespace) -> int:
    """Do one part; 0 when done.

    Raises:
        AuthpluginError: a file or a claim is wrong, or the token cannot be decoded.
    """
    return _mint(args) if args.part == "mint" else _inspect(args)


def _mint(args: argparse.Namespace) -> int:
    from authplugin.testing.mint import TokenMint  # noqa: PLC0415 - --help need not load cryptography

    key, algorithm = _read_key(args.key) if args.key.exists() else _make_key(args.key, args.algorithm)
    mint = TokenMint(args.issuer, kid=args.kid, algorithm=algorithm, key=key)
    now = int(time.time())
    claims = mint.claims(
        aud=args.audience or [mint.audience],
        aid=args.asset,
        did=args.device,
        nbf=now + min(0, int(args.valid)),
        exp=now + int(args.valid),
        cnf=None,
    )
    for text in args.claim or ():
        name, value = _claim(text)
        claims[name] = value
    if args.jwks is not None:
        args.jwks.write_text(json.dumps(mint.jwks(), indent=2) + "\n", encoding="utf-8")
    token = mint.sign({name: value for name, value in claims.items() if value is not None})
    print(token.decode())
    return 0


def _claim(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    try:
        return name, json.loads(value) if equals else _no_json()
    except ValueError:
        raise _wrong("--claim", text, 'NAME=JSON, such as tier=3 or site="north"') from None


def _no_json() -> object:
    raise ValueError


def _read_key(path: Path) -> "tuple[PrivateKey, str]":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise _wrong(f"--key {path}", "no readable private key", "an unencrypted PEM private key") from None
    if isinstance(key, RSAPrivateKey):
        return key, "RS256"
    if isinstance(key, EllipticCurvePrivateKey):
        return key, "ES256"
    if isinstance(key, Ed25519PrivateKey):
        return key, "EdDSA"
    raise _wrong(f"--key {path}", "another kind of key", "an RSA, P-256 or Ed25519 key")


def _make_key(path: Path, algorithm: str) -> "tuple[PrivateKey, str]":
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - as above
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    from authplugin.testing.mint import TokenMint  # noqa: PLC0415 - as above

    key = TokenMint(algorithm=algorithm).key
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _wrong(f"--key {path}", error.strerror or "no file", "a place for a new private key") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    print(f"made a private key: {path}", file=sys.stderr)
    return key, algorithm


def _inspect(args: argparse.Namespace) -> int:
    from authplugin.cli.input import read_token  # noqa: PLC0415 - as above
    from authplugin.errors import Reason, Refused  # noqa: PLC0415 - as above
    from authplugin.jose.compact import split  # noqa: PLC0415 - as above
    from authplugin.jose.json import parse_object  # noqa: PLC0415 - as above

    compact = split(read_token(args.token))
    try:
        header, claims = parse_object(compact.header), parse_object(compact.payload)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, f"header or payload {error}") from None
    print("NOT VERIFIED: anyone could have written this")
    for title, members in (("header", header), ("claims", claims)):
        print(title)
        width = max([_WIDTH, *map(len, members)])
        for name, value in members.items():
            # ASCII keeps whatever the token says from steering the terminal.
            print(f"  {json.dumps(name)[1:-1]:<{width}}  {json.dumps(value)}{_time(name, value)}")
    print(f"signature\n  {len(compact.signature)} bytes, not shown")
    return 0


def _time(name: str, value: object) -> str:
    """A time as people read it, and how far it is from now."""
    if name not in _SHOWN_TIMES or isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))
    except (ValueError, OverflowError, OSError):
        return "  (no time)"
    away = value - time.time()
    span = _span(abs(away))
    return f"  ({text}, {f'in {span}' if away >= 0 else f'{span} ago'})"


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _wrong(key: str, found: str, expected: str) -> Exception:
    from authplugin.errors import ConfigurationError  # noqa: PLC0415 - as above

    return ConfigurationError(file="the command line", line=None, key=key, found=found, expected=expected)
