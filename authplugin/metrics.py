"""What Prometheus sees of the gate: decisions by reason, how long they took, keys, sessions, faults.

Labels are words of ours and small numbers, never a client's: an asset id, kid or client id as label
would let anyone fill the monitoring's memory. What already is a number somewhere is read when
Prometheus asks, so counting costs a decision two additions; see `authplugin.tally`.
"""

import contextlib
import io
import socket
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from threading import BoundedSemaphore, Thread
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from authplugin.clones import Clones
from authplugin.errors import Reason
from authplugin.events import Events
from authplugin.keys.cache import KeyCache
from authplugin.model import Action, Allow, Connect, Decision, Grant
from authplugin.observer import Observer
from authplugin.sessions import Session, Sessions
from authplugin.tally import BUCKETS, Tally
from authplugin.throttle import Throttle
from authplugin.verdicts import VerdictCache
from authplugin.watch import WatchState

MAX_CONNECTIONS = 8
"""Most connections that are answered at once; each holds a thread and a descriptor of the broker's."""


class Metrics(Observer):
    """Counts decisions; what is counted elsewhere is read there.

    Args:
        registry: where the series are, by default one of its own.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._tally = Tally()
        self.registry.register(self._tally)

    def authenticated(self, _connect: Connect, decision: Decision, seconds: float) -> None:
        """Count a connect."""
        tally = self._tally
        if isinstance(decision, Allow):
            tally.allowed += 1
        else:
            tally.refused[decision.reason] += 1
        tally.seconds += seconds
        tally.buckets[bisect_left(BUCKETS, seconds)] += 1

    def authorized(self, _grant: Grant, action: Action, _topic: str, decision: Decision) -> None:
        """Count a topic."""
        topics = self._tally.topics
        kind = (action, None if isinstance(decision, Allow) else decision.reason)
        topics[kind] = topics.get(kind, 0) + 1

    def flooded(self, subscriptions: int) -> None:
        """Count filters that a door refused by itself, because one client sent too many at once."""
        topics, kind = self._tally.topics, (Action.SUBSCRIBE, Reason.THROTTLED)
        topics[kind] = topics.get(kind, 0) + subscriptions

    def failed(self, _error: Exception) -> None:
        """Count a fault of the gate."""
        self._tally.faults += 1

    def session_ended(self, _session: Session, reason: Reason | None) -> None:
        """Count a session that the gate ended."""
        if reason is not None:
            self._tally.ended[reason] += 1

    def reloaded(self, *, good: bool) -> None:
        """Count a configuration read anew: put in force, or refused while the old one stays."""
        self._tally.reloads[good] += 1
        self._tally.newest = good

    def watch(self, *, sessions: Sessions, verdicts: VerdictCache, keys: KeyCache) -> None:
        """Show what these hold whenever Prometheus asks."""
        self.registry.register(_Memory(sessions, verdicts, keys))

    def watch_guards(
        self,
        *,
        throttle: Throttle,
        clones: Clones,
        events: Events | None,
        states: Callable[[], list[WatchState]],
    ) -> None:
        """Show what these hold whenever Prometheus asks."""
        self.registry.register(_Guards(throttle, clones, events, states))

    def watch_audit(self, dropped: Callable[[], int]) -> None:
        """Show how many lines the audit could not write whenever Prometheus asks."""
        self.registry.register(_Dropped(dropped))

    def serve(self, address: str, port: int, *, patience: float = 5.0) -> "Endpoint":
        """Answer Prometheus at ``http://<address>:<port>/metrics`` from a thread.

        Args:
            address: an IP address.
            port: 0 for a free one.
            patience: seconds in which a connection has to have asked; else it is closed.

        Raises:
            OSError: the address cannot be listened on.
        """

        class Handler(_Handler):
            timeout = patience
            free = BoundedSemaphore(MAX_CONNECTIONS)

        server, thread = start_http_server(port, address, self.registry)
        server.RequestHandlerClass = Handler
        return Endpoint(server, thread)


class _Handler(WSGIRequestHandler):
    """Answers one request, and writes nothing into the broker's log."""

    timeout: ClassVar[float]
    free: ClassVar[BoundedSemaphore]

    def setup(self) -> None:
        """Read with one deadline."""
        super().setup()
        self.rfile = io.BufferedReader(_Request(self.connection, time.monotonic() + self.timeout))

    def handle(self) -> None:
        """Answer, unless nothing is asked in time, or too many ask."""
        if not self.free.acquire(blocking=False):
            return
        try:
            with contextlib.suppress(OSError):  # too slow, or gone
                super().handle()
        finally:
            self.free.release()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name for it
        """Say nothing."""


class _Request(io.RawIOBase):
    """What a connection sends, up to a moment on the monotonic clock: whoever drips is not waited for."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer: 3.11 has no type for it
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class Endpoint:
    """A metrics endpoint that listens.

    Attributes:
        port: the one it got, where 0 was asked for.
    """

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port: int = server.server_port

    def close(self) -> None:
        """Stop listening; returns when the thread has ended."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Memory(Collector):
    """Numbers that are kept anyway; issuers are told apart by their place in the configuration."""

    def __init__(self, sessions: Sessions, verdicts: VerdictCache, keys: KeyCache) -> None:
        self._sessions = sessions
        self._verdicts = verdicts
        self._keys = keys

    def collect(self) -> Iterator[Metric]:
        """Every series, now."""
        yield _gauge("authplugin_sessions", "Live sessions.", len(self._sessions))
        yield _gauge("authplugin_verdicts", "Verified tokens remembered.", len(self._verdicts))
        yield _counter("authplugin_verdict_hits", "Tokens known to be good.", self._verdicts.hits)
        yield _counter(
            "authplugin_verdict_misses", "Tokens that were not known to be good.", self._verdicts.misses
        )
        yield from self._key_sets()

    def _key_sets(self) -> Iterator[Metric]:
        usable = _of_issuer(
            GaugeMetricFamily, "authplugin_key_set_usable", "Whether its tokens can be verified now."
        )
        age = _of_issuer(
            GaugeMetricFamily, "authplugin_key_set_age_seconds", "Time since it vouched for its keys."
        )
        held = _of_issuer(GaugeMetricFamily, "authplugin_keys", "Keys in use.")
        left_out = _of_issuer(
            GaugeMetricFamily, "authplugin_keys_left_out", "Published keys that are unfit for use."
        )
        fetches = _of_issuer(CounterMetricFamily, "authplugin_key_fetches", "Attempts to read its key set.")
        failures = _of_issuer(
            CounterMetricFamily, "authplugin_key_fetch_failures", "Attempts that brought no keys."
        )
        misses = _of_issuer(CounterMetricFamily, "authplugin_key_misses", "Tokens whose kid was not held.")
        for place, state in enumerate(self._keys.states()):
            label = [str(place)]
            usable.add_metric(label, float(state.usable))
            if state.age is not None:
                age.add_metric(label, state.age)
            held.add_metric(label, len(state.keys))
            left_out.add_metric(label, len(state.left_out))
            fetches.add_metric(label, state.attempts)
            failures.add_metric(label, state.failures)
            misses.add_metric(label, state.misses)
        yield from (usable, age, held, left_out, fetches, failures, misses)


class _Guards(Collector):
    """Numbers of throttle, clones, events and watched files; files are told apart by what they are."""

    def __init__(
        self,
        throttle: Throttle,
        clones: Clones,
        events: Events | None,
        states: Callable[[], list[WatchState]],
    ) -> None:
        self._throttle = throttle
        self._clones = clones
        self._events = events
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """Every series, now."""
        yield _gauge(
            "authplugin_throttle_addresses", "Addresses with a debt or a credit.", len(self._throttle)
        )
        yield _counter("authplugin_throttled", "Tokens refused unread.", self._throttle.refused)
        yield _gauge("authplugin_quarantined", "Assets in quarantine.", len(self._clones.quarantined()))
        found = CounterMetricFamily("authplugin_clones_found", "Findings of clones.", labels=["kind"])
        for kind, count in self._clones.found.items():
            found.add_metric([kind.value], count)
        yield found
        if self._events is not None:
            yield _gauge("authplugin_events_waiting", "Events that wait for the broker.", len(self._events))
            yield _counter("authplugin_events_dropped", "Events lost, too many waited.", self._events.dropped)
        good = GaugeMetricFamily(
            "authplugin_watched_file_good", "Whether what it says now is in force.", labels=["file"]
        )
        age = GaugeMetricFamily(
            "authplugin_watched_file_age_seconds", "Time since what is in force was read.", labels=["file"]
        )
        entries = GaugeMetricFamily("authplugin_watched_file_entries", "Entries in force.", labels=["file"])
        for state in self._states():
            good.add_metric([state.name], float(state.good))
            age.add_metric([state.name], state.age)
            entries.add_metric([state.name], state.entries)
        yield from (good, age, entries)


class _Dropped(Collector):
    """What the audit has lost."""

    def __init__(self, dropped: Callable[[], int]) -> None:
        self._dropped = dropped

    def collect(self) -> Iterator[Metric]:
        """The one series, now."""
        yield _counter(
            "authplugin_audit_dropped", "Audit lines lost: disk full, or too many waited.", self._dropped()
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _of_issuer(family: type[Any], name: str, text: str) -> Any:  # noqa: ANN401 - one of two families, alike but unrelated
    return family(name, text, labels=["issuer"])
