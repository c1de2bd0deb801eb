import contextlib
import select
import socket
import struct
import threading
import time
import urllib.request

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from authplugin.errors import Reason
from authplugin.events import Events
from authplugin.keys.cache import KeyCache
from authplugin.metrics import MAX_CONNECTIONS, Metrics
from authplugin.model import Action, Allow, Connect, Deny
from authplugin.sessions import Session
from authplugin.watch import WatchState
from tests.support.gates import AID, Bench


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_decisions_are_counted_by_outcome_and_reason() -> None:
    bench, metrics = Bench(), Metrics()
    grant, connect = bench.grant(), Connect(AID, None, b"x", "192.0.2.1")
    metrics.authenticated(connect, Allow(grant), 0.00003)
    metrics.authenticated(connect, Deny(Reason.EXPIRED), 0.00003)
    metrics.authenticated(connect, Deny(Reason.EXPIRED), 0.00003)
    assert value(metrics, "authplugin_decisions_total", outcome="allowed", reason="none") == 1
    assert value(metrics, "authplugin_decisions_total", outcome="refused", reason="expired") == 2
    assert value(metrics, "authplugin_decisions_total", outcome="refused", reason="revoked") == 0
    assert value(metrics, "authplugin_decision_seconds_count") == 3
    assert value(metrics, "authplugin_decision_seconds_bucket", le="2.5e-05") == 0


def test_topics_faults_ends_and_reloads_are_counted() -> None:
    bench, metrics = Bench(), Metrics()
    grant = bench.grant()
    metrics.authorized(grant, Action.PUBLISH, "x", Allow(grant))
    metrics.authorized(grant, Action.SUBSCRIBE, "x", Deny(Reason.TOPIC_DENIED))
    metrics.failed(ValueError("x"))
    session = Session(AID, 1, grant, 0.0, 1)
    metrics.session_ended(session, Reason.EXPIRED)
    metrics.session_ended(session, None)
    allowed = {"action": "publish", "outcome": "allowed", "reason": "none"}
    refused = {"action": "subscribe", "outcome": "refused", "reason": "topic_denied"}
    assert value(metrics, "authplugin_topic_decisions_total", **allowed) == 1
    assert value(metrics, "authplugin_topic_decisions_total", **refused) == 1
    assert value(metrics, "authplugin_faults_total") == 1
    assert value(metrics, "authplugin_sessions_ended_total", reason="expired") == 1
    assert value(metrics, "authplugin_config_last_reload_successful") == 1
    metrics.reloaded(good=False)
    assert value(metrics, "authplugin_config_reloads_total", outcome="bad") == 1
    assert value(metrics, "authplugin_config_last_reload_successful") == 0


def test_what_the_memories_hold_is_read_when_asked() -> None:
    bench, metrics = Bench(), Metrics(CollectorRegistry())
    metrics.watch(sessions=bench.sessions, verdicts=bench.verdicts, keys=bench.keys)
    bench.gate.open_session(AID, 1, bench.grant())
    bench.connect(bench.mint.mint())
    bench.connect(bench.mint.unknown_key())
    bench.clock.advance(60)
    assert value(metrics, "authplugin_sessions") == 1
    assert value(metrics, "authplugin_verdicts") == 1
    assert value(metrics, "authplugin_verdict_hits_total") == 1
    assert value(metrics, "authplugin_verdict_misses_total") == 2
    assert value(metrics, "authplugin_key_set_usable", issuer="0") == 1
    assert value(metrics, "authplugin_key_set_age_seconds", issuer="0") == 60
    assert value(metrics, "authplugin_keys", issuer="0") == 1
    assert value(metrics, "authplugin_key_misses_total", issuer="0") == 1


def test_times_are_counted_up_to_each_bound() -> None:
    metrics = Metrics()
    for seconds in (0.000005, 0.00003, 0.00004, 5.0):
        metrics.authenticated(Connect(AID, None, b"x", "192.0.2.1"), Deny(Reason.EXPIRED), seconds)
    counts = [
        value(metrics, "authplugin_decision_seconds_bucket", le=bound)
        for bound in ("5e-06", "1e-05", "5e-05", "0.1", "+Inf")
    ]
    assert counts == [1, 1, 3, 3, 4]
    assert value(metrics, "authplugin_decision_seconds_count") == 4
    assert value(metrics, "authplugin_decision_seconds_sum") == pytest.approx(5.000075)


def test_lines_that_the_audit_lost_are_shown() -> None:
    metrics = Metrics()
    metrics.watch_audit(lambda: 7)
    assert value(metrics, "authplugin_audit_dropped_total") == 7


def test_an_issuer_without_keys_has_no_age() -> None:
    bench, metrics = Bench(), Metrics()
    empty = KeyCache(bench.policy.issuers, clock=bench.clock)
    metrics.watch(sessions=bench.sessions, verdicts=bench.verdicts, keys=empty)
    assert value(metrics, "authplugin_key_set_usable", issuer="0") == 0
    assert value(metrics, "authplugin_key_set_age_seconds", issuer="0") is None


def test_prometheus_reads_it_over_http_and_no_label_is_a_clients_word() -> None:
    bench, metrics = Bench(), Metrics()
    metrics.watch(sessions=bench.sessions, verdicts=bench.verdicts, keys=bench.keys)
    token = bench.mint.mint()
    bench.gate.open_session(AID, 1, bench.grant())
    metrics.authenticated(Connect(AID, AID, token, "192.0.2.1"), bench.connect(token), 0.1)
    endpoint = metrics.serve("127.0.0.1", 0)
    try:
        address = f"http://127.0.0.1:{endpoint.port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            text = answer.read().decode()
    finally:
        endpoint.close()
    families = list(text_string_to_metric_families(text))
    assert all(family.name.startswith("authplugin_") for family in families)
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels <= {"outcome", "reason", "action", "issuer", "le"}
    for secret in (AID, bench.mint.kid, token.decode()):
        assert secret not in text


def test_a_connection_that_asks_nothing_is_closed_and_said_nothing_of(
    capfd: pytest.CaptureFixture[str],
) -> None:
    endpoint = Metrics().serve("127.0.0.1", 0, patience=0.1)
    try:
        with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as half_open:
            half_open.sendall(b"GET /metrics")
            assert half_open.recv(1) == b""
    finally:
        endpoint.close()
    assert capfd.readouterr() == ("", "")


def test_a_connection_that_drips_is_closed_as_well() -> None:
    endpoint = Metrics().serve("127.0.0.1", 0, patience=0.3)
    try:
        with socket.create_connection(("127.0.0.1", endpoint.port), timeout=0.05) as dripping:
            deadline, ended = time.monotonic() + 10, False
            while not ended and time.monotonic() < deadline:
                try:
                    dripping.sendall(b"G")
                    ended = dripping.recv(1) == b""
                except TimeoutError:
                    continue
                except OSError:
                    ended = True
            assert ended
    finally:
        endpoint.close()


def test_few_connections_are_held_at_once() -> None:
    endpoint = Metrics().serve("127.0.0.1", 0, patience=600.0)
    with contextlib.ExitStack() as stack:
        stack.callback(endpoint.close)

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), timeout=10))

        # Each has a thread, and which of them comes last is the scheduler's choice.
        held = [connect() for _ in range(MAX_CONNECTIONS + 1)]
        (refused,), _, _ = select.select(held, [], [], 60)
        assert refused.recv(1) == b""
        held.remove(refused)
        held.pop().close()
        deadline = time.monotonic() + 10
        answer = b""
        while not answer and time.monotonic() < deadline:
            with contextlib.suppress(OSError), connect() as asking:
                asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                answer = asking.recv(12)
        assert answer == b"HTTP/1.0 200"


def test_a_connection_that_is_reset_leaves_no_trace_in_the_brokers_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    endpoint = Metrics().serve("127.0.0.1", 0)
    threads = threading.active_count()
    try:
        rude = socket.create_connection(("127.0.0.1", endpoint.port), timeout=10)
        rude.sendall(b"GET /metrics")
        deadline = time.monotonic() + 10
        while threading.active_count() == threads and time.monotonic() < deadline:
            time.sleep(0.01)
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.close()
        while threading.active_count() > threads and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        endpoint.close()
    assert capfd.readouterr() == ("", "")


def test_throttle_clones_events_and_watched_files_are_read_when_asked() -> None:
    bench, metrics = Bench(), Metrics()
    events = Events(clock=bench.clock, new_id=lambda: "1", unusable=list, capacity=1)
    state = WatchState("revocations", good=False, age=7.0, entries=3)
    metrics.watch_guards(throttle=bench.throttle, clones=bench.clones, events=events, states=lambda: [state])
    grant = bench.grant()
    bench.gate.open_session(AID, 1, grant)
    bench.gate.open_session(f"{AID}:2", 2, grant)
    bench.gate.quarantine(AID)
    for reason in (Reason.EXPIRED, Reason.MALFORMED):
        events.authenticated(Connect(AID, None, b"x", "192.0.2.1"), Deny(reason), 0.0)
    while bench.throttle.admits("198.51.100.7"):
        bench.throttle.failed("198.51.100.7", Reason.MALFORMED)
    assert value(metrics, "authplugin_throttle_addresses") == 3
    assert value(metrics, "authplugin_throttled_total") == 1
    assert value(metrics, "authplugin_quarantined") == 1
    assert value(metrics, "authplugin_clones_found_total", kind="clients") == 1
    assert value(metrics, "authplugin_clones_found_total", kind="key") == 0
    assert value(metrics, "authplugin_events_waiting") == 1
    assert value(metrics, "authplugin_events_dropped_total") == 1
    assert value(metrics, "authplugin_watched_file_good", file="revocations") == 0
    assert value(metrics, "authplugin_watched_file_age_seconds", file="revocations") == 7
    assert value(metrics, "authplugin_watched_file_entries", file="revocations") == 3


def test_without_events_there_are_no_numbers_of_them() -> None:
    bench, metrics = Bench(), Metrics()
    metrics.watch_guards(throttle=bench.throttle, clones=bench.clones, events=None, states=list)
    assert value(metrics, "authplugin_events_waiting") is None
    assert value(metrics, "authplugin_throttled_total") == 0
