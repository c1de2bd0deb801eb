"""The gate with all it stands on, put together from settings: keys, refreshers, sessions, metrics."""

import functools
import logging
import random
from pathlib import Path

from authplugin.audit import Audit
from authplugin.auditfile import AuditFile
from authplugin.clock import Clock
from authplugin.errors import ConfigurationError
from authplugin.gate import Gate
from authplugin.keys.cache import KeyCache
from authplugin.keys.supply import make_refreshers
from authplugin.metrics import Endpoint, Metrics
from authplugin.sessions import Sessions
from authplugin.settings import Loaded
from authplugin.verdicts import VerdictCache

_LOG = logging.getLogger(__name__)


class Assembly:
    """A gate that runs; a door calls `gate` from one thread.

    Attributes:
        loaded: the settings and the policy.
        keys: what each issuer's refresher holds.
        sessions: live sessions.
        metrics: counters of this process.
        gate: decides.
    """

    def __init__(self, loaded: Loaded, *, clock: Clock) -> None:
        """Put it together; nothing is fetched and no thread runs before `start`.

        Raises:
            KeySetError: the address of a key set may not be asked.
        """
        settings = loaded.settings
        self.loaded = loaded
        self.keys = KeyCache(loaded.policy.issuers, clock=clock)
        self._refreshers = make_refreshers(settings, self.keys, clock=clock, jitter=random.random)
        jitter = functools.partial(random.uniform, 0.0, settings.sessions.expiry_jitter_s)
        self.sessions = Sessions(clock=clock, jitter=jitter)
        verdicts = VerdictCache(
            capacity=settings.cache.capacity,
            ttl=settings.cache.ttl_s,
            refused_capacity=settings.cache.refused_capacity,
            refused_ttl=settings.cache.refused_ttl_s,
        )
        self.metrics = Metrics()
        self.metrics.watch(sessions=self.sessions, verdicts=verdicts, keys=self.keys)
        self._endpoint: Endpoint | None = None
        self._audit: Audit | None = None
        if settings.audit.file is not None:
            audit = settings.audit
            self._audit = Audit(
                AuditFile(Path(settings.audit.file), rotate_bytes=audit.rotate_bytes, keep=audit.keep_files),
                clock=clock,
                flush_seconds=settings.audit.flush_s,
                sample_allowed=settings.audit.sample_allowed,
                draw=random.random,
            )
        self.gate = Gate(
            loaded.policy,
            self.keys,
            clock=clock,
            sessions=self.sessions,
            verdicts=verdicts,
            metrics=self.metrics,
            audit=self._audit,
        )

    def start(self) -> None:
        """Start the threads: one an issuer, one for the audit, one for the metrics endpoint.

        Raises:
            ConfigurationError: the metrics endpoint cannot listen there.
        """
        metrics = self.loaded.settings.metrics
        if metrics.port is not None:
            try:
                self._endpoint = self.metrics.serve(metrics.address, metrics.port)
            except OSError as error:
                raise ConfigurationError(
                    file="the gate's configuration",
                    line=None,
                    key="metrics.port",
                    found=f"{metrics.port} ({error.strerror})",
                    expected="a free port of this machine",
                ) from None
            _LOG.info("metrics at http://%s:%d/metrics", metrics.address, self._endpoint.port)
        if self._audit is not None:
            self._audit.start()
        for refresher in self._refreshers:
            refresher.start()

    def stop(self, timeout: float) -> None:
        """Stop the threads; one that waits for an issuer is left behind after ``timeout`` seconds."""
        for refresher in self._refreshers:
            refresher.stop(timeout)
        if self._audit is not None:
            self._audit.stop(timeout)
        if self._endpoint is not None:
            self._endpoint.close()
