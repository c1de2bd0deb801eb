"""``authplugin issuer``: run the development issuer."""

import argparse
import asyncio
import hashlib
import json
import logging
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from authplugin.errors import ConfigurationError

SECRET_VARIABLE = "AUTHPLUGIN_ISSUER__CLIENT_SECRET"  # noqa: S105 - the variable's name

_SECRET_LIMIT = 4096


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Describe the command."""
    parser = subparsers.add_parser(
        "issuer",
        help="run a development issuer: key set, token exchange, asset records",
        description="Stands in for the CRM that issues asset tokens. Not for production.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=8443, help="port to listen on, 0 for a free one (default %(default)s)")
    add("--issuer", metavar="URL", help="iss, when it is not http://HOST:PORT")
    add(
        "--audience", action="append", required=True, metavar="A", help="aud of asset tokens; may be repeated"
    )
    add("--client-id", default="development", metavar="C", help="the client's name (default %(default)s)")
    add(
        "--client-secret-file",
        type=Path,
        metavar="F",
        help=f"file with the client's secret; without it the environment's {SECRET_VARIABLE}",
    )
    add("--key-file", type=Path, metavar="F", help="keep keys in this file, mode 0600; made when missing")
    add("--kid", default="Assets", help="name of the first signing key (default %(default)s)")
    add(
        "--kafka",
        metavar="BOOTSTRAP",
        help="publish asset-token events there; without it they stay in memory",
    )
    add("--validity", type=int, default=518400, metavar="S", help="seconds a token lives (default six days)")
    add("--development-claims", action="store_true", help="let requests choose validity and audience")
    add("--accept-unsigned-actors", action="store_true", help="take alg none where no key is bound")
    return parser


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean stop."""
    from authplugin.issuer.server import open_socket  # noqa: PLC0415 - keeps --help fast

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    if args.validity <= 0:
        raise _wrong("--validity", str(args.validity), "a positive number of seconds")
    if args.issuer is not None and not _is_issuer(args.issuer):
        raise _wrong("--issuer", args.issuer, "http(s)://HOST[:PORT][/PATH] without a slash at the end")
    digest = hashlib.sha256(_read_secret(args.client_secret_file)).digest()
    with open_socket(args.host, args.port) as listener:
        asyncio.run(_serve(args, digest, listener))
    return 0


async def _serve(args: argparse.Namespace, secret_digest: bytes, listener: socket.socket) -> None:
    from authplugin.issuer import Issuer, IssuerProfile, KeyRing, MemorySink, create_app  # noqa: PLC0415 - as above
    from authplugin.issuer.http import KEYS_PATH, TOKEN_PATH  # noqa: PLC0415 - as above
    from authplugin.issuer.kafka import KafkaSink  # noqa: PLC0415 - as above
    from authplugin.issuer.server import serve  # noqa: PLC0415 - as above

    host = f"[{args.host}]" if ":" in args.host else args.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    url = args.issuer or address
    profile = IssuerProfile(
        url=url,
        audiences=tuple(args.audience),
        client_id=args.client_id,
        client_secret_digest=secret_digest,
        validity=args.validity,
        development_claims=args.development_claims,
        accept_unsigned_actors=args.accept_unsigned_actors,
    )
    keys = KeyRing(args.kid, path=args.key_file)
    sink = MemorySink() if args.kafka is None else KafkaSink(args.kafka)
    ready = json.dumps({"issuer": url, "keys": address + KEYS_PATH, "token_endpoint": address + TOKEN_PATH})
    try:
        await serve(create_app(Issuer(profile, keys, sink)), listener, lambda: print(ready, flush=True))
    finally:
        await asyncio.to_thread(sink.close)


def _read_secret(path: Path | None) -> bytes:
    if path is None:
        secret = os.environb.pop(SECRET_VARIABLE.encode(), b"")
        if not secret:
            raise _wrong("--client-secret-file", "none", f"a file, or {SECRET_VARIABLE} in the environment")
        return secret
    try:
        with path.open("rb") as file:
            text = file.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise _wrong("--client-secret-file", error.strerror or "no file", "a readable file") from None
    secret = text.rstrip(b"\r\n")
    if not secret or len(text) > _SECRET_LIMIT:
        raise _wrong("--client-secret-file", f"{len(text)} bytes", f"a secret of 1 to {_SECRET_LIMIT} bytes")
    return secret


def _is_issuer(url: str) -> bool:
    parts = urlsplit(url)
    whole = parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment
    return bool(whole) and not url.endswith("/")


def _wrong(key: str, found: str, expected: str) -> ConfigurationError:
    return ConfigurationError(file="command line", line=None, key=key, found=found, expected=expected)
