"""The gate's settings: one frozen model, from a TOML file and ``AUTHPLUGIN_<TABLE>__<KEY>`` variables."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from authplugin.keys.schedule import FILE_TIMING, Timing
from authplugin.policy import Policy
from authplugin.settings.compiler import compile_policy, key_url
from authplugin.settings.file import ConfigFile, read_text
from authplugin.settings.issuers import IssuerTable
from authplugin.settings.tables import GateSettings

__all__ = ["GateSettings", "IssuerTable", "Loaded", "key_timing", "key_url", "load", "parse"]

PREFIX = "AUTHPLUGIN"
_OTHERS = f"{PREFIX}_ISSUER__"
"""Variables of the development issuer, which may run in the same shell."""


class Loaded(msgspec.Struct, frozen=True):
    """Settings and the policy compiled from them.

    Attributes:
        settings: with absolute paths.
        policy: what the gate decides by.
    """

    settings: GateSettings
    policy: Policy


def load(path: Path, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read a configuration file, check everything, compile the policy.

    Args:
        path: the TOML file; relative paths in it start at its directory.
        environ: variables that override it, by default the process's.

    Raises:
        ConfigurationErrors: every mistake, with file, line, key, found, expected.
    """
    variables = os.environ if environ is None else environ
    return parse(read_text(path), name=str(path), environ=variables, base=path.resolve().parent)


def parse(text: str, *, name: str, environ: Mapping[str, str], base: Path) -> Loaded:
    """The same for a text; ``base`` is where relative paths start.

    Raises:
        ConfigurationErrors: every mistake.
    """
    variables = {variable: environ[variable] for variable in environ if not variable.startswith(_OTHERS)}
    file = ConfigFile(name, text, environ=variables, prefix=PREFIX, base=base)
    settings = file.read(GateSettings)
    policy = compile_policy(settings, file.refuse)
    file.raise_errors()
    return Loaded(settings, policy)


def key_timing(settings: GateSettings, issuer: IssuerTable) -> Timing:
    """How often an issuer's key set is asked for; a file is read often, for it costs nobody anything."""
    keys = settings.keys
    if issuer.jwks_file is not None:
        return msgspec.structs.replace(FILE_TIMING, hard=keys.hard_ttl_s)
    return Timing(
        soft=keys.soft_ttl_s,
        soft_least=keys.soft_ttl_least_s,
        soft_most=keys.soft_ttl_most_s,
        hard=keys.hard_ttl_s,
        cooldown=keys.cooldown_s,
    )
