"""The refreshers of the configured issuers: from settings to what keeps a `KeyCache` fresh."""

from collections.abc import Callable
from pathlib import Path

from authplugin.clock import Clock
from authplugin.keys.cache import KeyCache
from authplugin.keys.fetch import HttpSource
from authplugin.keys.lastgood import LastGoodFile
from authplugin.keys.refresher import Refresher
from authplugin.keys.source import FileSource, KeySource
from authplugin.settings import GateSettings, IssuerTable, key_timing, key_url


def make_refreshers(
    settings: GateSettings, cache: KeyCache, *, clock: Clock, jitter: Callable[[], float]
) -> list[Refresher]:
    """One refresher an issuer, not started: last good sets are loaded, nothing is fetched yet.

    Args:
        settings: checked ones.
        cache: has a place for every issuer.
        clock: for ages and schedules.
        jitter: numbers in [0, 1).

    Raises:
        KeySetError: an address of a key set may not be asked.
    """
    last_good = settings.keys.last_good_dir
    return [
        Refresher(
            cache,
            issuer.issuer,
            _source(issuer),
            algorithms=issuer.algorithms,
            clock=clock,
            jitter=jitter,
            timing=key_timing(settings, issuer),
            last_good=None if last_good is None else LastGoodFile(Path(last_good), issuer.issuer),
        )
        for issuer in settings.issuers
    ]


def _source(issuer: IssuerTable) -> KeySource:
    return FileSource(Path(issuer.jwks_file)) if issuer.jwks_file is not None else HttpSource(key_url(issuer))
