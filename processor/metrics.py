"""What both programs count, under names that stay: ``processor_…``, base units, bounded labels."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from processor.errors import StreamError

_BATCH_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(slots=True)
class Exposition:
    """The address that Prometheus reads, served by a thread of its own until `close`."""

    url: str
    _server: WSGIServer
    _thread: threading.Thread

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def expose(registry: CollectorRegistry, address: str, port: int) -> Exposition:
    """Serve a registry at ``/metrics``; port 0 takes a free one.

    Raises:
        StreamError: the address cannot be listened on.
    """
    try:
        server, thread = start_http_server(port, address, registry=registry)
    except OSError as error:
        raise StreamError(
            f"metrics cannot be served at {address}:{port} ({error.strerror}): free the port, or change "
            "metrics.address or the program's port in [metrics]"
        ) from None
    return Exposition(f"http://{address}:{server.server_port}/metrics", server, thread)


@dataclass(slots=True)
class BridgeMetrics:
    """The bridge's: MQTT to Kafka."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    received: Counter = field(init=False)
    produced: Counter = field(init=False)
    dead: Counter = field(init=False)
    dropped: Counter = field(init=False)
    acks: Counter = field(init=False)
    stale_acks: Counter = field(init=False)
    connects: Counter = field(init=False)
    sessions_new: Counter = field(init=False)
    connected: Gauge = field(init=False)
    heartbeats: Counter = field(init=False)

    def __post_init__(self) -> None:
        r = self.registry
        self.received = Counter(
            "processor_bridge_received", "MQTT messages received, by QoS.", ["qos"], registry=r
        )
        self.produced = Counter(
            "processor_bridge_produced", "Records that Kafka has acknowledged.", registry=r
        )
        self.dead = Counter(
            "processor_bridge_dead_letters", "Messages sent to the dead letters.", ["reason"], registry=r
        )
        self.dropped = Counter(
            "processor_bridge_dropped",
            "Messages of QoS 0 dropped because `bridge.qos0_buffer` was full: Kafka did not keep up.",
            registry=r,
        )
        self.acks = Counter("processor_bridge_acks", "Messages acknowledged to the broker.", registry=r)
        self.stale_acks = Counter(
            "processor_bridge_stale_acks",
            "Acknowledgements dropped because their connection is gone: those messages come again.",
            registry=r,
        )
        self.connects = Counter("processor_bridge_connects", "Connections made to the broker.", registry=r)
        self.sessions_new = Counter(
            "processor_bridge_sessions_new",
            "Connects where the broker had no session: but for the first start, what it held is lost.",
            registry=r,
        )
        self.connected = Gauge("processor_bridge_connected", "1 while connected to the broker.", registry=r)
        self.heartbeats = Counter(
            "processor_bridge_heartbeats", "Heartbeats that came back through the broker.", registry=r
        )

    def watch(
        self,
        *,
        in_flight: Callable[[], float],
        oldest: Callable[[], float],
        heartbeat_age: Callable[[], float],
    ) -> None:
        """Read these at each scrape: messages in flight, seconds of the oldest, seconds since a heartbeat."""
        for name, text, read in (
            ("processor_bridge_in_flight", "Messages received and not yet safe in Kafka.", in_flight),
            ("processor_bridge_oldest_unacked_seconds", "Age of the oldest of them.", oldest),
            (
                "processor_bridge_heartbeat_age_seconds",
                "Time since a heartbeat came back through the broker.",
                heartbeat_age,
            ),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)


@dataclass(slots=True)
class WorkerMetrics:
    """The worker's: telemetry to findings."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    records: Counter = field(init=False)
    samples: Counter = field(init=False)
    events: Counter = field(init=False)
    dead: Counter = field(init=False)
    batch_seconds: Histogram = field(init=False)
    lag_records: Gauge = field(init=False)
    lag_seconds: Gauge = field(init=False)
    partitions: Gauge = field(init=False)
    rebalances: Counter = field(init=False)
    recovery: Gauge = field(init=False)
    commits: Counter = field(init=False)
    snapshots: Counter = field(init=False)
    snapshot_bytes: Gauge = field(init=False)
    state_rows: Gauge = field(init=False)
    state_bytes: Gauge = field(init=False)
    heartbeat_age: Gauge = field(init=False)
    evaluations: Counter = field(init=False)
    transitions: Counter = field(init=False)
    passed_over: Counter = field(init=False)
    sequence_gaps: Counter = field(init=False)
    sequence_filled: Counter = field(init=False)
    sequence_restarts: Counter = field(init=False)
    gaps: Counter = field(init=False)
    cuts: Counter = field(init=False)
    lost_records: Counter = field(init=False)
    renewals: Counter = field(init=False)
    engine_failures: Counter = field(init=False)
    rules_read: Counter = field(init=False)
    rules_refused: Counter = field(init=False)
    rules_good: Gauge = field(init=False)
    rules_outdated: Gauge = field(init=False)
    rule_sets: Gauge = field(init=False)

    def __post_init__(self) -> None:
        r = self.registry
        self.records = Counter("processor_worker_records", "Records read from Kafka.", registry=r)
        self.samples = Counter(
            "processor_worker_samples",
            "Samples by what became of them; received is their sum, once none is held.",
            ["outcome"],
            registry=r,
        )
        self.events = Counter(
            "processor_worker_events", "Case events acknowledged by Kafka.", ["rule", "type"], registry=r
        )
        self.dead = Counter(
            "processor_worker_dead_letters", "Records sent to the dead letters.", ["reason"], registry=r
        )
        self.batch_seconds = Histogram(
            "processor_worker_batch_seconds",
            "Time to judge a run of records.",
            buckets=_BATCH_SECONDS,
            registry=r,
        )
        self.lag_records = Gauge(
            "processor_worker_lag_records", "Records in Kafka not judged yet.", ["partition"], registry=r
        )
        self.lag_seconds = Gauge(
            "processor_worker_lag_seconds",
            "Age of the newest judged record while there are newer ones, else 0; before there is any, of the "
            "first one read, or of the assignment.",
            ["partition"],
            registry=r,
        )
        self.partitions = Gauge("processor_worker_partitions", "Partitions this worker judges.", registry=r)
        self.rebalances = Counter("processor_worker_rebalances", "Assignments received.", registry=r)
        self.recovery = Gauge(
            "processor_worker_recovery_ratio",
            "How much of the state was read at the last assignment: below 1 while it is being read.",
            registry=r,
        )
        self.commits = Counter("processor_worker_commits", "Commits of input offsets.", registry=r)
        self.snapshots = Counter("processor_worker_snapshots", "Snapshots acknowledged by Kafka.", registry=r)
        self.snapshot_bytes = Gauge(
            "processor_worker_snapshot_bytes",
            "Size of a partition's last snapshot.",
            ["partition"],
            registry=r,
        )
        self.state_rows = Gauge(
            "processor_worker_state_rows", "Rows in memory, by what they are of.", ["kind"], registry=r
        )
        self.state_bytes = Gauge(
            "processor_worker_state_bytes", "Bytes of the columns that hold those rows.", registry=r
        )
        self.heartbeat_age = Gauge(
            "processor_worker_heartbeat_age_seconds",
            "Age of the newest heartbeat that moved a partition's clock: silence and `for` wait for it. "
            "Below 0, a bridge's clock is ahead of the worker's.",
            ["partition"],
            registry=r,
        )
        self.evaluations = Counter("processor_worker_evaluations", "Rules asked about samples.", registry=r)
        self.transitions = Counter(
            "processor_worker_transitions", "Conditions of rules that came true or ended.", registry=r
        )
        self.passed_over = Counter(
            "processor_worker_values_passed_over",
            "Texts, data, sums and nulls beside numbers: no rule can judge them.",
            registry=r,
        )
        self.sequence_gaps = Counter(
            "processor_worker_sequence_gaps",
            "Messages missing by the devices' own numbers (`seq`), dead letters among them.",
            ["partition"],
            registry=r,
        )
        self.sequence_filled = Counter(
            "processor_worker_sequence_filled",
            "Of those, the ones that came after all.",
            ["partition"],
            registry=r,
        )
        self.sequence_restarts = Counter(
            "processor_worker_sequence_restarts",
            "Times that a device began to count anew.",
            ["partition"],
            registry=r,
        )
        self.gaps = Counter(
            "processor_worker_gaps",
            "Times that fetched records skipped ahead and were fetched again.",
            registry=r,
        )
        self.cuts = Counter(
            "processor_worker_log_cuts",
            "Times that the telemetry topic was found to end before what had been judged of it.",
            registry=r,
        )
        self.lost_records = Counter(
            "processor_worker_lost_records",
            "Records that Kafka's retention deleted before they were judged.",
            registry=r,
        )
        self.renewals = Counter(
            "processor_worker_topic_renewals",
            "Partitions found in a telemetry topic that was deleted and made anew: what the former one held "
            "unjudged is lost.",
            registry=r,
        )
        self.engine_failures = Counter(
            "processor_worker_engine_failures",
            "Runs that the engine failed on; their records are dead letters.",
            registry=r,
        )
        self.rules_read = Counter(
            "processor_worker_rules_read", "Changed rules files that were good.", registry=r
        )
        self.rules_refused = Counter(
            "processor_worker_rules_refused",
            "Changed rules files that were wrong: the rules in force stayed.",
            registry=r,
        )
        self.rules_good = Gauge(
            "processor_worker_rules_last_read_good",
            "1 when the rules file was good as it was last read.",
            registry=r,
        )
        self.rules_good.set(1)
        self.rules_outdated = Gauge(
            "processor_worker_rules_outdated",
            "1 for a partition that does not take the rules of the worker's file and judges by others: the "
            "log says why. Rules that are taken and wait for their `effective` time do not count.",
            ["partition"],
            registry=r,
        )
        self.rule_sets = Gauge(
            "processor_worker_rule_sets",
            "Rule sets that a partition judges by: more than 1 around a swap.",
            ["partition"],
            registry=r,
        )

    def forget_partitions(self) -> None:
        """Drop what was said of partitions, which others judge from now on: a gauge would stand for ever."""
        for gauge in (
            self.lag_records,
            self.lag_seconds,
            self.snapshot_bytes,
            self.state_rows,
            self.heartbeat_age,
            self.rules_outdated,
            self.rule_sets,
        ):
            gauge.clear()

    def watch(self, *, commit_age: Callable[[], float]) -> None:
        """Read this at each scrape: seconds that records read have waited for their commit."""
        Gauge(
            "processor_worker_commit_age_seconds",
            "How long records have waited for their commit since they were read; alarm on a minute.",
            registry=self.registry,
        ).set_function(commit_age)
