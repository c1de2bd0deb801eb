"""The tables of the gate's configuration: each key's type, bounds, unit, default and meaning."""

from typing import Annotated, Literal

import msgspec

from authplugin.policy import MOST_PER_ASSET
from authplugin.settings.issuers import IssuerTable
from authplugin.settings.table import Table, Text, meta, number
from authplugin.topics.template import PUBLISH, SUBSCRIBE


class ThrottleTable(Table, frozen=True, kw_only=True):
    """How much an address may fail before its unknown tokens are refused unread; good ones always come in."""

    per_second: Annotated[
        float,
        number(
            "Bad tokens from an address (IPv6: /64) where none was good lately.", ge=0.01, le=1e6, unit="1/s"
        ),
    ] = 5.0
    burst: Annotated[float, number("Bad tokens at once from such an address.", ge=1, le=1e6)] = 50.0
    known_per_second: Annotated[
        float, number("Bad tokens from an address where one was good lately.", ge=0.01, le=1e6, unit="1/s")
    ] = 1000.0
    known_burst: Annotated[float, number("Bad tokens at once from such an address.", ge=1, le=1e6)] = 20_000.0
    credit: Annotated[
        float, number("Bad tokens there that each newly verified good one makes up for.", ge=0, le=1000)
    ] = 10.0
    known_s: Annotated[
        float,
        number(
            "Time for which an address is one of those after a good token or a session's end.",
            ge=1,
            le=2_592_000,
            unit="s",
        ),
    ] = 86_400.0
    capacity: Annotated[
        int, number("Addresses of each kind remembered, about 0.3 kB each.", ge=1, le=10_000_000)
    ] = 100_000


class RevocationTable(Table, frozen=True, kw_only=True):
    """Tokens refused before their time."""

    file: Annotated[
        str | None,
        meta("File of revocations, one JSON object a line, read anew when it changes.", path=True),
    ] = None


class ClonesTable(Table, frozen=True, kw_only=True):
    """One identity seen from two places."""

    clients_per_asset: Annotated[
        int,
        number("Client ids that an asset may be connected with, and use a token with, at once.", ge=1, le=64),
    ] = 1
    half_life_s: Annotated[
        float, number("Time in which an asset's score halves.", ge=1, le=604_800, unit="s")
    ] = 600.0
    report_score: Annotated[
        float,
        number(
            "Score at which a clone is reported; 1 for a second client, token user or key, 0.4 for each "
            "take-over back and forth.",
            ge=0.1,
            le=1000,
        ),
    ] = 1.0
    quarantine_score: (
        Annotated[
            float,
            number(
                "Score at which the asset is quarantined; without it none is: it stops the genuine device "
                "as well.",
                ge=0.1,
                le=1000,
            ),
        ]
        | None
    ) = None
    quarantine_s: Annotated[float, number("How long a quarantine lasts.", ge=1, le=31_536_000, unit="s")] = (
        3600.0
    )
    capacity: Annotated[int, number("Assets remembered, about 1 kB each.", ge=1, le=10_000_000)] = 100_000


class EventsTable(Table, frozen=True, kw_only=True):
    """Auth events under `assetgate/auth/`, published through the broker."""

    enabled: Annotated[bool, meta("Whether there are any.")] = True
    denied_per_second: Annotated[
        float,
        number(
            "Refused connects told of each reason; the others are summed in one event.",
            ge=0.01,
            le=1000,
            unit="1/s",
        ),
    ] = 1.0
    capacity: Annotated[
        int, number("Events that wait for the broker; more are dropped and counted.", ge=1, le=1_000_000)
    ] = 10_000
    expiring_s: Annotated[
        float,
        number("Time before a session's end at which it is said to be expiring.", ge=0, le=604_800, unit="s"),
    ] = 3600.0


class AdminTable(Table, frozen=True, kw_only=True):
    """Where `authplugin revoke`, `quarantine`, `sessions` and `keys` reach the running gate."""

    socket: Annotated[
        str | None, meta("Unix socket, made with mode 0600; without it or a port there is none.", path=True)
    ] = None
    port: (
        Annotated[int, number("Port on 127.0.0.1 instead of a socket; needs secret_file.", ge=1, le=65535)]
        | None
    ) = None
    secret_file: Annotated[
        str | None,
        meta("File with the secret that requests show, at least 16 characters, mode 0600.", path=True),
    ] = None


class TopicsTable(Table, frozen=True, kw_only=True):
    """What every asset may do; `{aid}` is its own id, `{name}` an attribute that every issuer lists."""

    publish: Annotated[
        tuple[Text, ...], msgspec.Meta(description="Topic filters an asset may publish to.", min_length=1)
    ] = PUBLISH
    subscribe: Annotated[
        tuple[Text, ...], meta("Topic filters an asset may subscribe within and receive from.")
    ] = SUBSCRIBE


class ServiceAccountTable(Table, frozen=True, kw_only=True):
    """A program that logs in by the broker's password file, never by token."""

    name: Annotated[
        str,
        msgspec.Meta(
            description="Its MQTT user name: letters, digits and `-_.@`; never an asset id.",
            pattern="^[A-Za-z0-9_.@-]+$",
            min_length=1,
            max_length=64,
        ),
    ]
    publish: Annotated[
        tuple[Text, ...], meta("Topic filters it may publish to; none that assets publish to.")
    ] = ()
    subscribe: Annotated[tuple[Text, ...], meta("Topic filters it may subscribe to.")] = ()
    addresses: Annotated[
        tuple[Text, ...],
        meta(
            "Addresses and networks (`10.1.0.0/16`) that it may log in from, anywhere without them: nothing "
            "else bounds how often its password is guessed."
        ),
    ] = ()


class KeysTable(Table, frozen=True, kw_only=True):
    """How key sets are kept fresh."""

    soft_ttl_s: Annotated[
        float, number("Time between refreshes when the answer has no `max-age`.", ge=1, le=86400, unit="s")
    ] = 300.0
    soft_ttl_least_s: Annotated[
        float, number("Least time between refreshes, whatever `max-age` says.", ge=1, le=86400, unit="s")
    ] = 60.0
    soft_ttl_most_s: Annotated[
        float, number("Most time between refreshes, whatever `max-age` says.", ge=1, le=86400, unit="s")
    ] = 3600.0
    hard_ttl_s: Annotated[
        float,
        number(
            "Age at which a set that could not be refreshed is trusted no longer.", ge=60, le=604800, unit="s"
        ),
    ] = 86400.0
    cooldown_s: Annotated[
        float, number("Least time from any fetch to one for an unknown kid.", ge=1, le=3600, unit="s")
    ] = 30.0
    last_good_dir: Annotated[
        str | None,
        meta("Directory where the last good sets are kept for a restart during an outage.", path=True),
    ] = None


class CacheTable(Table, frozen=True, kw_only=True):
    """The memory of verified tokens."""

    capacity: Annotated[
        int,
        number(
            "Good tokens remembered, 0.5 kB each; of those used before, as many again; and as many "
            "sessions that ended, for wills that are sent later.",
            ge=0,
            le=10_000_000,
        ),
    ] = 100_000
    ttl_s: Annotated[
        float, number("Time after which a good token is verified again.", ge=1, le=86400, unit="s")
    ] = 900.0
    refused_capacity: Annotated[int, number("Bad tokens remembered.", ge=0, le=1_000_000)] = 4096
    refused_ttl_s: Annotated[
        float, number("Time for which a bad token is remembered.", ge=1, le=600, unit="s")
    ] = 30.0


class SessionsTable(Table, frozen=True, kw_only=True):
    """How many live sessions there may be, and how they end."""

    expiry_jitter_s: Annotated[
        float,
        number(
            "Most time after `exp` and leeway, drawn anew for each session, until it is disconnected.",
            ge=0,
            le=300,
            unit="s",
        ),
    ] = 5.0
    most_per_asset: Annotated[
        int,
        number(
            "Sessions with which an asset gets no other at once, but by its bare id; at least "
            "`clones.clients_per_asset`.",
            ge=1,
            le=64,
        ),
    ] = MOST_PER_ASSET


class MosquittoTable(Table, frozen=True, kw_only=True):
    """The broker that the gate is loaded into."""

    acl_file: Annotated[
        str, meta("The broker's `acl_file`, written from the topic templates.", path=True)
    ] = "acl"
    password_file: Annotated[
        str | None, meta("The broker's `password_file`, for service accounts.", path=True)
    ] = None
    config_file: Annotated[
        str | None,
        meta(
            "The broker's own configuration, for `check-config` without `--broker-config`; the gate itself "
            "checks the one that its broker was started with.",
            path=True,
        ),
    ] = None
    allow_plaintext: Annotated[
        bool,
        meta("Whether a listener off loopback may be without TLS, where anyone on the way reads the tokens."),
    ] = False
    log_level: Annotated[
        Literal["info", "warning", "error"],
        meta("The least that the gate writes to the broker's log; refusals are of level `info`."),
    ] = "info"
    exchange_s: Annotated[
        float,
        number("Time a client has to answer a challenge before it is disconnected.", ge=1, le=10, unit="s"),
    ] = 5.0
    budget_ms: Annotated[
        float,
        number(
            "Time a callback may keep the broker waiting; longer ones are counted and logged.",
            ge=0.1,
            le=10_000,
            unit="ms",
        ),
    ] = 5.0
    watch_s: Annotated[
        float,
        number(
            "Time between two looks at this file and the broker's `acl_file`; a change is adopted as at "
            "SIGHUP. 0 leaves it to the signal.",
            ge=0,
            le=3600,
            unit="s",
        ),
    ] = 1.0


class MetricsTable(Table, frozen=True, kw_only=True):
    """The Prometheus endpoint."""

    address: Annotated[str, meta("Address it listens on, an IP address.")] = "127.0.0.1"
    port: (
        Annotated[
            int,
            number(
                "Port it listens on; 0 takes a free one; without it there is no endpoint.", ge=0, le=65535
            ),
        ]
        | None
    ) = None


class AuditTable(Table, frozen=True, kw_only=True):
    """One JSON line a decision."""

    file: Annotated[
        str | None, meta("File the lines are appended to; without it there is no audit.", path=True)
    ] = None
    flush_s: Annotated[float, number("Most time a line waits in memory.", ge=0.1, le=60, unit="s")] = 1.0
    sample_allowed: Annotated[
        float,
        number(
            "Share of allowed connects that is written; refused ones are, 100 a second, the rest summed.",
            ge=0,
            le=1,
        ),
    ] = 1.0
    rotate_bytes: Annotated[
        int,
        number(
            "Size from which the file is moved to `<file>.1`; 0 leaves that to logrotate, which needs to tell"
            " nobody.",
            ge=0,
            le=1 << 40,
            unit="B",
        ),
    ] = 100_000_000
    keep_files: Annotated[int, number("Files kept besides the one in use.", ge=1, le=1000)] = 5


class GateSettings(Table, frozen=True, kw_only=True):
    """Everything the gate is told."""

    issuers: Annotated[
        tuple[IssuerTable, ...], msgspec.Meta(description="Issuers of asset tokens.", min_length=1)
    ]
    topics: TopicsTable = TopicsTable()
    service_accounts: Annotated[
        tuple[ServiceAccountTable, ...], meta("Programs that log in by the broker's password file.")
    ] = ()
    keys: KeysTable = KeysTable()
    cache: CacheTable = CacheTable()
    sessions: SessionsTable = SessionsTable()
    mosquitto: MosquittoTable = MosquittoTable()
    metrics: MetricsTable = MetricsTable()
    audit: AuditTable = AuditTable()
    throttle: ThrottleTable = ThrottleTable()
    revocation: RevocationTable = RevocationTable()
    clones: ClonesTable = ClonesTable()
    events: EventsTable = EventsTable()
    admin: AdminTable = AdminTable()
