"""The development issuer's settings: the table ``[issuer]`` of a TOML file, and its environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from authplugin.settings.file import ConfigFile, read_text, shown
from authplugin.settings.table import Table, Text

PREFIX = "AUTHPLUGIN"
SECRET_VARIABLE = "AUTHPLUGIN_ISSUER__CLIENT_SECRET"  # noqa: S105 - the variable's name
"""Holds the secret itself; the file names a file with it, so that no secret lies among settings."""

URL_FORM = "http(s)://HOST[:PORT][/PATH] without a slash at the end"
_TEN_YEARS = 10 * 365 * 86400


def _meta(description: str, **extra: object) -> msgspec.Meta:
    return msgspec.Meta(description=description, extra=extra)


class IssuerSettings(Table, frozen=True, kw_only=True):
    """The development issuer."""

    host: Annotated[str, _meta("Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, msgspec.Meta(description="Port to listen on; 0 takes a free one.", ge=0, le=65535)
    ] = 8443
    issuer: Annotated[str | None, _meta("`iss`, when it is not http://HOST:PORT.")] = None
    audience: Annotated[tuple[Text, ...], _meta("`aud` of asset tokens; at least one.")] = ()
    client_id: Annotated[Text, _meta("Name of the client that registers devices.")] = "development"
    client_secret_file: Annotated[
        str | None,
        _meta(f"File with that client's secret; without it the variable {SECRET_VARIABLE}.", path=True),
    ] = None
    key_file: Annotated[
        str | None, _meta("Keeps the keys over restarts, mode 0600; made when missing.", path=True)
    ] = None
    kid: Annotated[
        str, msgspec.Meta(description="Name of the first signing key.", min_length=1, max_length=256)
    ] = "Assets"
    kafka: Annotated[
        str | None, _meta("Where asset-token events go, HOST:PORT; without it they stay in memory.")
    ] = None
    validity: Annotated[
        int,
        msgspec.Meta(description="How long an asset token lives.", ge=1, le=_TEN_YEARS, extra={"unit": "s"}),
    ] = 518_400
    development_claims: Annotated[
        bool, _meta("Whether a request may choose its token's `validity` and `audience`.")
    ] = False
    accept_unsigned_actors: Annotated[
        bool, _meta("Whether actor tokens that bind no key may have `alg` none.")
    ] = False


class IssuerFile(Table, frozen=True, kw_only=True):
    """The whole file."""

    issuer: IssuerSettings = IssuerSettings()


def load_settings(path: Path | None, environ: Mapping[str, str]) -> IssuerSettings:
    """Read the file, if there is one, and what the environment adds.

    Args:
        path: the TOML file; relative paths in it start at its directory.
        environ: variables; ``AUTHPLUGIN_ISSUER__<KEY>`` override the file's keys.

    Raises:
        ConfigurationErrors: every mistake, with file, line, key, found, expected.
    """
    variables = {
        name: value
        for name, value in environ.items()
        if name.startswith(f"{PREFIX}_ISSUER__") and name != SECRET_VARIABLE
    }
    text, name, base = ("", "environment", Path())
    if path is not None:
        text, name, base = read_text(path), str(path), path.resolve().parent
    file = ConfigFile(name, text, environ=variables, prefix=PREFIX, base=base)
    settings = file.read(IssuerFile).issuer
    if settings.issuer is not None and not is_issuer(settings.issuer):
        file.refuse(("issuer", "issuer"), shown(settings.issuer), URL_FORM)
    file.raise_errors()
    return settings


def is_issuer(url: str) -> bool:
    """Whether that can be ``iss``, and paths be added to it."""
    parts = urlsplit(url)
    whole = parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment
    return bool(whole) and not url.endswith("/")
