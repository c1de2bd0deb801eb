"""The gate with all it stands on, put together from settings: keys, refreshers, sessions, metrics."""

import gc
import logging
import random
from pathlib import Path

from authplugin.audit import Audit
from authplugin.auditfile import AuditFile, check_place
from authplugin.brokers.guards import Guards
from authplugin.clock import Clock
from authplugin.errors import ConfigurationError
from authplugin.gate import Gate
from authplugin.keys.cache import KeyCache
from authplugin.keys.supply import KeySupply
from authplugin.metrics import Endpoint, Metrics
from authplugin.sessions import Sessions
from authplugin.settings import Loaded
from authplugin.verdicts import VerdictCache

_LOG = logging.getLogger(__name__)

_FIXED = (
    *("metrics", "audit", "cache", "throttle", "clones", "events", "admin"),
    *("mosquitto.acl_file", "mosquitto.watch_s"),
)
"""Tables and keys of the settings that are read at the start only."""


class Assembly:
    """A gate that runs; a door calls `gate` from one thread.

    Attributes:
        loaded: the settings and the policy.
        keys: what each issuer's refresher holds.
        sessions: live sessions.
        metrics: counters of this process.
        audit: what writes decisions down, None when nobody asked for it.
        gate: decides.
        guards: what stands beside it; among them the events that a door publishes.
    """

    def __init__(self, loaded: Loaded, *, clock: Clock) -> None:
        """Put it together; nothing is fetched and no thread runs before `start`.

        Raises:
            KeySetError: the address of a key set may not be asked.
            ConfigurationError: a watched file is missing or wrong, or the audit can have no file there.
        """
        settings = loaded.settings
        self.loaded = loaded
        self.keys = KeyCache(loaded.policy.issuers, clock=clock)
        self._supply = KeySupply(settings, self.keys, clock=clock, jitter=random.random)
        self.guards = Guards(settings, self.keys, clock=clock)
        warning = settings.events.expiring_s if settings.events.enabled else 0.0
        self.sessions = Sessions(clock=clock, jitter=self._jitter, warning=warning)
        verdicts = VerdictCache(
            capacity=settings.cache.capacity,
            ttl=settings.cache.ttl_s,
            refused_capacity=settings.cache.refused_capacity,
            refused_ttl=settings.cache.refused_ttl_s,
        )
        self.metrics = Metrics()
        self.metrics.watch(sessions=self.sessions, verdicts=verdicts, keys=self.keys)
        self._endpoint: Endpoint | None = None
        self.audit: Audit | None = None
        if settings.audit.file is not None:
            audit = settings.audit
            check_place(Path(settings.audit.file))
            self.audit = Audit(
                AuditFile(Path(settings.audit.file), rotate_bytes=audit.rotate_bytes, keep=audit.keep_files),
                clock=clock,
                flush_seconds=settings.audit.flush_s,
                sample_allowed=settings.audit.sample_allowed,
                draw=random.random,
            )
            self.metrics.watch_audit(lambda: 0 if self.audit is None else self.audit.dropped)
        self.gate = Gate(
            loaded.policy,
            self.keys,
            clock=clock,
            sessions=self.sessions,
            verdicts=verdicts,
            metrics=self.metrics,
            audit=self.audit,
            events=self.guards.events,
            throttle=self.guards.throttle,
            clones=self.guards.clones,
        )
        self.guards.attach(settings, self.gate, self.sessions)
        self.metrics.watch_guards(
            throttle=self.guards.throttle,
            clones=self.guards.clones,
            events=self.guards.events,
            states=self.guards.states,
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
        if self.audit is not None:
            self.audit.start()
        self._supply.start()
        # What stands by now stays: a full collection need not look through it, decision after decision.
        gc.collect()
        gc.freeze()
        self.guards.start(self.loaded.settings)

    def check_change(self, loaded: Loaded) -> None:
        """Check that other settings may be adopted while the broker runs.

        Raises:
            ConfigurationError: one that is read at the start only has changed.
        """
        for name in _FIXED:
            table, _, only = name.partition(".")
            old, new = getattr(self.loaded.settings, table), getattr(loaded.settings, table)
            for key in (only,) if only else old.__struct_fields__:
                if getattr(old, key) != getattr(new, key):
                    raise ConfigurationError(
                        file="the gate's configuration",
                        line=None,
                        key=f"{table}.{key}",
                        found=_shown(getattr(new, key)),
                        expected=f"{_shown(getattr(old, key))}: it changes with a restart of the broker only",
                    )

    def rehearse(self, loaded: Loaded) -> None:
        """Do all of `adopt` that changes nothing; for any thread, for it reads files.

        Raises:
            ConfigurationError: see `check_change`; or a watched file is missing or wrong.
        """
        self.check_change(loaded)
        self.guards.prepare(loaded.settings)

    def adopt(self, loaded: Loaded) -> None:
        """Decide by other settings from now on: all of them, or none when it raises.

        Sessions are not touched: the door asks about each anew.

        Raises:
            ConfigurationError: see `check_change`.
            KeySetError: the address of a key set may not be asked.
        """
        self.check_change(loaded)
        watch_anew = self.guards.prepare(loaded.settings)
        self._supply.adopt(loaded.settings)
        self.gate.adopt(loaded.policy)
        watch_anew()
        self.loaded = loaded

    def stop(self, timeout: float) -> None:
        """Stop the threads; one that waits for an issuer is left behind after ``timeout`` seconds."""
        self._supply.stop(timeout)
        self.guards.stop(timeout)
        if self.audit is not None:
            self.audit.stop(timeout)
        if self._endpoint is not None:
            self._endpoint.close()

    def _jitter(self) -> float:
        """Seconds to add to the end of one session."""
        return random.uniform(0.0, self.loaded.settings.sessions.expiry_jitter_s)  # noqa: S311 - spreads load, hides nothing


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{value}"
