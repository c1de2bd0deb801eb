"""What can be set: unit, bounds, default; ``docs/reference/processor-settings.md`` is made of this."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from processor.errors import ConfigurationError
from processor.limits import Limits

_Port = Annotated[int, Meta(ge=1, le=65535)]
_Name = Annotated[str, Meta(min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$")]


class Secret:
    """A text that never shows itself: its repr is masked; `reveal` is the one way to read it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the call that needs it and nothing else."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown keys are errors."""


class MqttSettings(_Table, frozen=True):
    """``[mqtt]``: the broker that the bridge reads from."""

    host: Annotated[str, Meta(min_length=1, description="The broker's host.")] = "127.0.0.1"
    port: Annotated[_Port, Meta(description="The broker's port.")] = 1883
    source: Annotated[
        Literal["mqtt5", "aiomqtt"],
        Meta(
            description="The client that reads: the fast one on the codec mqtt5, or aiomqtt over paho, which "
            "also speaks MQTT 3.1.1."
        ),
    ] = "mqtt5"
    version: Annotated[
        Literal["5", "3.1.1"],
        Meta(
            description="Of the protocol. 3.1.1 needs aiomqtt; there the broker's max_inflight_messages is "
            "the only bound on what is in flight, and session_expiry is the broker's to set."
        ),
    ] = "5"
    tls: Annotated[bool, Meta(description="Speak TLS, with the broker's certificate verified.")] = False
    ca_file: Annotated[
        str | None, Meta(description="PEM of the authorities to trust; none: the system's.")
    ] = None
    cert_file: Annotated[str | None, Meta(description="PEM of the bridge's own certificate.")] = None
    key_file: Annotated[str | None, Meta(description="PEM of that certificate's key.")] = None
    username: Annotated[str | None, Meta(description="The service account's name.")] = None
    password: Annotated[Secret | None, Meta(description="Its password; a file is better.")] = None
    password_file: Annotated[
        str | None, Meta(description="A file with the password, read anew at each connect.")
    ] = None
    client_id: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=128,
            pattern=r"^[^\x00-\x1f\x7f]+$",
            description="Names the session that the broker keeps: one bridge.",
        ),
    ] = "assetgate-bridge"
    filters: Annotated[
        tuple[str, ...], Meta(min_length=1, description="Topic filters that this bridge carries, QoS 1.")
    ] = ("assets/+/telemetry/#", "assets/+/events/#", "assets/+/status", "assetgate/auth/+")
    heartbeat_topic: Annotated[
        str, Meta(min_length=1, description="Where the bridge publishes its heartbeat to itself.")
    ] = "assetgate/heartbeat"
    receive_maximum: Annotated[
        int,
        Meta(ge=1, le=65535, description="Messages the broker may send ahead of our acknowledgements."),
    ] = 2000
    session_expiry: Annotated[
        int,
        Meta(
            ge=0,
            le=4_294_967_295,
            description="How long the broker keeps messages while no bridge runs.",
            extra={"unit": "s"},
        ),
    ] = 86_400
    keepalive: Annotated[
        int, Meta(ge=1, le=65535, description="Longest silence on the connection.", extra={"unit": "s"})
    ] = 20
    connect_timeout: Annotated[
        float, Meta(gt=0, le=300, description="Longest wait for the broker to answer.", extra={"unit": "s"})
    ] = 5.0

    def read_password(self) -> str | None:
        """The password now; raises `ConfigurationError` when its file cannot be read."""
        if self.password_file is None:
            return self.password.reveal() if self.password is not None else None
        try:
            return Path(self.password_file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                file=self.password_file,
                line=None,
                key="mqtt.password_file",
                found=str(getattr(error, "strerror", None) or "bytes that are not UTF-8"),
                expected="a readable UTF-8 file with the password on its first line",
            ) from None


class KafkaSettings(_Table, frozen=True):
    """``[kafka]``: the cluster."""

    bootstrap: Annotated[
        str, Meta(min_length=1, description="Comma-separated host:port of some brokers.")
    ] = "127.0.0.1:9092"
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="As the listener says.")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Meta(description="With SASL protocols.")
    ] = "SCRAM-SHA-512"
    sasl_username: Annotated[str | None, Meta(description="With SASL protocols.")] = None
    sasl_password: Annotated[Secret | None, Meta(description="With SASL protocols.")] = None
    ca_file: Annotated[
        str | None, Meta(description="PEM of the authorities to trust; none: the system's.")
    ] = None
    cert_file: Annotated[str | None, Meta(description="PEM of our own certificate.")] = None
    key_file: Annotated[str | None, Meta(description="PEM of that certificate's key.")] = None


class TopicSettings(_Table, frozen=True):
    """``[topics]``: names, and what ``processor topics create`` makes."""

    telemetry: Annotated[_Name, Meta(description="Payloads as the devices sent them.")] = "asset.telemetry.v1"
    auth: Annotated[_Name, Meta(description="What the gate saw.")] = "asset.auth.v1"
    tokens: Annotated[_Name, Meta(description="Asset-token events of the issuer.")] = "asset.tokens.v1"
    state: Annotated[_Name, Meta(description="The worker's memory (compacted).")] = "asset.state.v1"
    cases: Annotated[_Name, Meta(description="Case events.")] = "asset.cases.v1"
    shadow: Annotated[_Name, Meta(description="Case events of rules in shadow.")] = "asset.shadow.v1"
    dead: Annotated[_Name, Meta(description="What could not be judged.")] = "asset.telemetry.dead.v1"
    rules: Annotated[_Name, Meta(description="Rules in force (compacted).")] = "asset.rules.v1"
    assets: Annotated[_Name, Meta(description="Who owns an asset (compacted).")] = "asset.assets.v1"
    partitions: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Of every topic: an asset's records meet in one number. Raised by `processor state "
            "repartition` alone: an asset's partition changes with it, and its memory must follow.",
        ),
    ] = 4
    replication: Annotated[int, Meta(ge=1, le=9, description="Copies of each record; 3 on a cluster.")] = 1
    telemetry_retention: Annotated[
        int,
        Meta(ge=3600, description="How long telemetry and cases are kept.", extra={"unit": "s"}),
    ] = 604_800
    dead_retention: Annotated[
        int, Meta(ge=3600, description="How long dead letters are kept.", extra={"unit": "s"})
    ] = 2_419_200


class BridgeSettings(_Table, frozen=True):
    """``[bridge]``: MQTT to Kafka."""

    linger: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="How long a record waits for others to share its batch.",
            extra={"unit": "s"},
        ),
    ] = 0.005
    compression: Annotated[
        Literal["none", "gzip", "lz4", "snappy", "zstd"],
        Meta(description="Of record batches."),
    ] = "lz4"
    max_payload: Annotated[
        int,
        Meta(ge=1024, le=1_000_000, description="A larger payload is a dead letter.", extra={"unit": "B"}),
    ] = 262_144
    topic_cache: Annotated[int, Meta(ge=100, description="MQTT topics remembered with their key.")] = 200_000
    qos0_buffer: Annotated[
        int,
        Meta(
            ge=1_048_576,
            description="Memory for messages of QoS 0 that wait for Kafka; beyond it they are dropped, "
            "and counted.",
            extra={"unit": "B"},
        ),
    ] = 67_108_864
    flush_timeout: Annotated[
        float,
        Meta(gt=0, le=600, description="Longest wait for Kafka at a clean stop.", extra={"unit": "s"}),
    ] = 10.0


class WorkerSettings(_Table, frozen=True):
    """``[worker]``: the judge."""

    group: Annotated[_Name, Meta(description="Consumer group: its workers share the partitions.")] = (
        "assetgate-processor"
    )
    instance_id: Annotated[
        _Name | None,
        Meta(description="Fixed name of this worker (static membership): it restarts without a rebalance."),
    ] = None
    rules: Annotated[
        str, Meta(min_length=1, description="The rules file, relative to the settings file.")
    ] = "rules.yaml"
    state_interval: Annotated[
        float,
        Meta(
            gt=0,
            le=300,
            description="Longest time between snapshots of a partition's memory: the most that a "
            "crash repeats.",
            extra={"unit": "s"},
        ),
    ] = 5.0
    commit_interval: Annotated[
        float, Meta(gt=0, le=60, description="Time between commits.", extra={"unit": "s"})
    ] = 1.0
    session_timeout: Annotated[
        float,
        Meta(
            ge=1,
            le=300,
            description="A worker silent for longer loses its partitions; stock brokers refuse less than 6 "
            "(`group.min.session.timeout.ms`).",
            extra={"unit": "s"},
        ),
    ] = 6.0
    run_size: Annotated[int, Meta(ge=1, le=100_000, description="Most records judged in one step.")] = 10_000
    dead_letters: Annotated[
        int,
        Meta(ge=1, description="Dead letters of one asset in an hour; more are a finding, once a day."),
    ] = 100
    buffered_runs: Annotated[int, Meta(ge=2, le=1000, description="Steps that may wait in memory.")] = 2


class MetricsSettings(_Table, frozen=True):
    """``[metrics]``: where Prometheus reads."""

    address: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    bridge_port: Annotated[
        int, Meta(ge=0, le=65535, description="The bridge's; 0 takes a free one and prints it.")
    ] = 9611
    worker_port: Annotated[
        int, Meta(ge=0, le=65535, description="The worker's; 0 takes a free one and prints it.")
    ] = 9612


class ProcessorSettings(_Table, frozen=True):
    """The whole file."""

    mqtt: MqttSettings = msgspec.field(default_factory=MqttSettings)
    kafka: KafkaSettings = msgspec.field(default_factory=KafkaSettings)
    topics: TopicSettings = msgspec.field(default_factory=TopicSettings)
    bridge: BridgeSettings = msgspec.field(default_factory=BridgeSettings)
    worker: WorkerSettings = msgspec.field(default_factory=WorkerSettings)
    engine: Limits = msgspec.field(default_factory=Limits)
    metrics: MetricsSettings = msgspec.field(default_factory=MetricsSettings)
