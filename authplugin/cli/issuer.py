"""``authplugin issuer``: run the development issuer."""

import argparse
import asyncio
import hashlib
import json
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from authplugin.errors import ConfigurationError

if TYPE_CHECKING:
    from authplugin.issuer.settings import IssuerSettings

_SECRET_LIMIT = 4096


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Describe the command."""
    parser = subparsers.add_parser(
        "issuer",
        help="run a development issuer: key set, token exchange, asset records",
        description="Stands in for the CRM that issues asset tokens. Not for production. Options override "
        "variables AUTHPLUGIN_ISSUER__<KEY>, which override the table [issuer] of the file.",
    )
    add, flag = parser.add_argument, argparse.BooleanOptionalAction
    add("--config", type=Path, metavar="FILE", help="TOML file with a table [issuer]")
    add("--host", help="address to listen on (default 127.0.0.1)")
    add("--port", type=int, help="port to listen on, 0 for a free one (default 8443)")
    add("--issuer", metavar="URL", help="iss, when it is not http://HOST:PORT")
    add("--audience", action="append", metavar="A", help="aud of asset tokens; may be repeated")
    add("--client-id", metavar="C", help="the client's name (default development)")
    add(
        "--client-secret-file",
        metavar="F",
        help="file with the client's secret; without it the variable AUTHPLUGIN_ISSUER__CLIENT_SECRET",
    )
    add("--key-file", metavar="F", help="keep keys in this file, mode 0600; made when missing")
    add("--kid", help="name of the first signing key (default Assets)")
    add(
        "--kafka",
        metavar="BOOTSTRAP",
        help="publish asset-token events there; without it they stay in memory",
    )
    add("--validity", type=int, metavar="S", help="seconds a token lives (default six days)")
    add("--development-claims", action=flag, help="let requests choose validity and audience")
    add("--accept-unsigned-actors", action=flag, help="take alg none where no key is bound")
    return parser


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean stop."""
    from authplugin.issuer.server import open_socket  # noqa: PLC0415 - keeps --help fast

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    settings = _settings(args)
    digest = hashlib.sha256(_read_secret(settings.client_secret_file)).digest()
    with open_socket(settings.host, settings.port) as listener:
        asyncio.run(_serve(settings, digest, listener))
    return 0


def _settings(args: argparse.Namespace) -> "IssuerSettings":
    """Defaults, the file, the environment, the options: the later the stronger."""
    import typing  # noqa: PLC0415 - as above

    import msgspec  # noqa: PLC0415 - as above

    from authplugin.issuer.settings import URL_FORM, IssuerSettings, is_issuer, load_settings  # noqa: PLC0415 - as above
    from authplugin.settings.file import described, shown  # noqa: PLC0415 - as above

    settings = load_settings(args.config, os.environ)
    given = {}
    for name, hint in typing.get_type_hints(IssuerSettings, include_extras=True).items():
        value = getattr(args, name)
        if value is None:
            continue
        try:
            given[name] = msgspec.convert(value, hint)
        except msgspec.ValidationError:
            raise _wrong(f"--{name.replace('_', '-')}", shown(value), described(hint)) from None
    settings = msgspec.structs.replace(settings, **given)
    if settings.issuer is not None and not is_issuer(settings.issuer):
        raise _wrong("--issuer", settings.issuer, URL_FORM)
    if not settings.audience:
        raise _wrong("--audience", "none", "at least one, here or as issuer.audience in the file")
    return settings


async def _serve(settings: "IssuerSettings", secret_digest: bytes, listener: socket.socket) -> None:
    from authplugin.issuer import Issuer, IssuerProfile, KeyRing, MemorySink, create_app  # noqa: PLC0415 - as above
    from authplugin.issuer.http import KEYS_PATH, TOKEN_PATH  # noqa: PLC0415 - as above
    from authplugin.issuer.kafka import KafkaSink  # noqa: PLC0415 - as above
    from authplugin.issuer.server import serve  # noqa: PLC0415 - as above

    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    url = settings.issuer or address
    profile = IssuerProfile(
        url=url,
        audiences=settings.audience,
        client_id=settings.client_id,
        client_secret_digest=secret_digest,
        validity=settings.validity,
        development_claims=settings.development_claims,
        accept_unsigned_actors=settings.accept_unsigned_actors,
    )
    keys = KeyRing(settings.kid, path=None if settings.key_file is None else Path(settings.key_file))
    sink = MemorySink() if settings.kafka is None else KafkaSink(settings.kafka)
    ready = json.dumps({"issuer": url, "keys": address + KEYS_PATH, "token_endpoint": address + TOKEN_PATH})
    try:
        await serve(create_app(Issuer(profile, keys, sink)), listener, lambda: print(ready, flush=True))
    finally:
        await asyncio.to_thread(sink.close)


def _read_secret(name: str | None) -> bytes:
    from authplugin.issuer.settings import SECRET_VARIABLE  # noqa: PLC0415 - as above

    if name is None:
        # Taken out, so that nothing this process starts or dumps has it.
        secret = os.environb.pop(SECRET_VARIABLE.encode(), b"")
        if not secret:
            raise _wrong("--client-secret-file", "none", f"a file, or {SECRET_VARIABLE} in the environment")
        return secret
    try:
        with Path(name).open("rb") as file:
            text = file.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise _wrong("--client-secret-file", error.strerror or "no file", "a readable file") from None
    secret = text.rstrip(b"\r\n")
    if not secret or len(text) > _SECRET_LIMIT:
        raise _wrong("--client-secret-file", f"{len(text)} bytes", f"a secret of 1 to {_SECRET_LIMIT} bytes")
    return secret


def _wrong(key: str, found: str, expected: str) -> ConfigurationError:
    return ConfigurationError(file="command line", line=None, key=key, found=found, expected=expected)
