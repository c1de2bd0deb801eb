"""The refreshers of the configured issuers: from settings to what keeps a `KeyCache` fresh."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from authplugin.clock import Clock
from authplugin.keys.cache import KeyCache
from authplugin.keys.discovery import DiscoverySource
from authplugin.keys.fetch import HttpSource
from authplugin.keys.lastgood import LastGoodFile
from authplugin.keys.refresher import Refresher
from authplugin.keys.schedule import Timing
from authplugin.keys.source import FileSource, KeySource
from authplugin.settings import GateSettings, IssuerTable, key_timing, key_url

_Recipe = tuple[str | None, str | None, tuple[str, ...], str, tuple[str, ...], Timing, str | None]


class KeySupply:
    """One refresher an issuer, each with a thread of its own.

    Args:
        settings: checked ones.
        cache: has a place for every issuer.
        clock: for ages and schedules.
        jitter: numbers in [0, 1).

    Raises:
        KeySetError: an address of a key set may not be asked.
    """

    def __init__(
        self, settings: GateSettings, cache: KeyCache, *, clock: Clock, jitter: Callable[[], float]
    ) -> None:
        """Load the last good sets; nothing is fetched before `start`."""
        self._cache = cache
        self._clock = clock
        self._jitter = jitter
        self._running: dict[str, tuple[_Recipe, Refresher]] = {
            issuer.issuer: (_recipe(settings, issuer), self._make(settings, issuer))
            for issuer in settings.issuers
        }

    def start(self) -> None:
        """Start the threads; each asks at once."""
        for _, refresher in self._running.values():
            refresher.start()

    def step(self) -> None:
        """Ask those that are due, here and now; for who starts no threads."""
        for _, refresher in self._running.values():
            refresher.step()

    def adopt(self, settings: GateSettings) -> None:
        """Serve other issuers from now on; those that are asked as before go on undisturbed.

        An issuer whose key set moved keeps its keys until the new place has answered; one that is gone
        loses them at once.

        Raises:
            KeySetError: an address of a key set may not be asked; nothing has changed then.
        """
        sources = {issuer.issuer: _source(issuer) for issuer in settings.issuers}
        self._cache.assign(sources)
        before, self._running = self._running, {}
        for issuer in settings.issuers:
            recipe = _recipe(settings, issuer)
            old = before.pop(issuer.issuer, None)
            if old is not None and old[0] == recipe:
                self._running[issuer.issuer] = old
                continue
            if old is not None:
                old[1].stop(0.0)
            refresher = self._make(settings, issuer, sources[issuer.issuer])
            self._running[issuer.issuer] = recipe, refresher
            refresher.start()
        for _, refresher in before.values():
            refresher.stop(0.0)

    def stop(self, timeout: float) -> None:
        """Stop the threads; one that waits for an issuer is left behind after ``timeout`` seconds."""
        for _, refresher in self._running.values():
            refresher.stop(timeout)

    def _make(
        self, settings: GateSettings, issuer: IssuerTable, source: KeySource | None = None
    ) -> Refresher:
        last_good = settings.keys.last_good_dir
        return Refresher(
            self._cache,
            issuer.issuer,
            _source(issuer) if source is None else source,
            algorithms=issuer.algorithms,
            clock=self._clock,
            jitter=self._jitter,
            timing=key_timing(settings, issuer),
            last_good=None if last_good is None else LastGoodFile(Path(last_good), issuer.issuer),
        )


def fetch_once(settings: GateSettings, *, clock: Clock) -> KeyCache:
    """Every issuer's set, asked for once, here and now; for programs beside the gate.

    Last-good files are neither believed nor written: they are the gate's own.

    Args:
        settings: checked ones.
        clock: for ages.

    Raises:
        KeySetError: an address of a key set may not be asked.
    """
    own = msgspec.structs.replace(settings, keys=msgspec.structs.replace(settings.keys, last_good_dir=None))
    cache = KeyCache([issuer.issuer for issuer in settings.issuers], clock=clock)
    KeySupply(own, cache, clock=clock, jitter=lambda: 0.0).step()
    return cache


def _recipe(settings: GateSettings, issuer: IssuerTable) -> _Recipe:
    """All that a refresher is made from: as long as it is the same, the refresher is."""
    return (
        issuer.jwks_file,
        issuer.openid_configuration,
        issuer.jwks_hosts,
        key_url(issuer),
        issuer.algorithms,
        key_timing(settings, issuer),
        settings.keys.last_good_dir,
    )


def _source(issuer: IssuerTable) -> KeySource:
    if issuer.jwks_file is not None:
        return FileSource(Path(issuer.jwks_file))
    if issuer.openid_configuration is not None:
        return DiscoverySource(issuer.openid_configuration, issuer.issuer, hosts=issuer.jwks_hosts)
    return HttpSource(key_url(issuer))
