"""The tables of the gate's configuration: each key's type, bounds, unit, default and meaning."""

from typing import Annotated, Literal

import msgspec

from authplugin.jose.identity import IdForm
from authplugin.policy import PossessionMode
from authplugin.topics.template import PUBLISH, SUBSCRIBE


def _meta(description: str, **extra: object) -> msgspec.Meta:
    return msgspec.Meta(description=description, extra=extra)


def _number(description: str, *, ge: float, le: float, unit: str | None = None) -> msgspec.Meta:
    return msgspec.Meta(description=description, ge=ge, le=le, extra={"unit": unit} if unit else None)


Algorithm = Literal["RS256", "ES256", "EdDSA"]
ForeignClaim = Literal["at_hash", "c_hash", "nonce", "auth_time", "sub", "scp"]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: frozen, and closed to names it does not know."""


class AssetsTable(Table, frozen=True, kw_only=True):
    """The asset ids an issuer speaks for, when it is not "any"."""

    exact: Annotated[tuple[str, ...], _meta("Asset ids, in full; either form of a Salesforce id.")] = ()
    prefixes: Annotated[tuple[str, ...], _meta("Beginnings of asset ids.")] = ()


class PossessionAssetsTable(Table, frozen=True, kw_only=True):
    """Assets that prove possession in another way than the issuer's others."""

    mode: Annotated[PossessionMode, _meta("What these assets must do.")]
    exact: Annotated[tuple[str, ...], _meta("Asset ids, in full; they come before any prefix.")] = ()
    prefixes: Annotated[tuple[str, ...], _meta("Beginnings of asset ids; the longest one decides.")] = ()


class PossessionTable(Table, frozen=True, kw_only=True):
    """Whether clients must show that they hold the key their token is bound to (`cnf`)."""

    mode: Annotated[
        PossessionMode,
        _meta(
            "`required`: nobody comes in without a proof, by TLS client certificate or MQTT 5 method `ace`; "
            "`optional`: a proof is checked and recorded; `off`: certificates are not compared."
        ),
    ] = PossessionMode.OFF
    assets: Annotated[tuple[PossessionAssetsTable, ...], _meta("Assets with a mode of their own.")] = ()


class RequiredClaimTable(Table, frozen=True, kw_only=True):
    """A claim that every asset token of the issuer has; others are refused as `not_asset_token`."""

    claim: Annotated[
        str,
        msgspec.Meta(
            description="Its name; with a leading slash a JSON Pointer, as in `/device/serial`.",
            min_length=1,
            max_length=256,
        ),
    ]
    values: Annotated[
        tuple[str | int | bool, ...],
        _meta("What it may be, with the same type; of a list one is enough. Without any, it must be there."),
    ] = ()


class AttributeTable(Table, frozen=True, kw_only=True):
    """A claim that topic templates name: 1 to 64 letters, digits and `-_.`, or an integer."""

    name: Annotated[
        str,
        msgspec.Meta(
            description="Its name between braces in `[topics]`.",
            pattern="^[a-z][a-z0-9_]*$",
            min_length=1,
            max_length=32,
        ),
    ]
    claim: Annotated[
        str,
        msgspec.Meta(
            description="The claim; with a leading slash a JSON Pointer, as in `/device/site`.",
            min_length=1,
            max_length=256,
        ),
    ]


class IssuerTable(Table, frozen=True, kw_only=True):
    """One issuer of asset tokens."""

    issuer: Annotated[
        str, msgspec.Meta(description="The tokens' `iss`, compared exactly.", min_length=1, max_length=1024)
    ]
    audiences: Annotated[
        tuple[Text, ...],
        msgspec.Meta(
            description="Names this gate answers to; a token's `aud` has one of them.", min_length=1
        ),
    ]
    algorithms: Annotated[
        tuple[Algorithm, ...], msgspec.Meta(description="What the issuer may sign with.", min_length=1)
    ] = ("RS256",)
    jwks_uri: Annotated[
        str | None,
        _meta(
            "Where its key set is; without it, jwks_file and openid_configuration: `issuer` less a trailing "
            "slash + `/id/keys`."
        ),
    ] = None
    openid_configuration: Annotated[
        str | None,
        _meta("Where its OpenID Connect discovery document is, which says where the key set is."),
    ] = None
    jwks_hosts: Annotated[
        tuple[Text, ...], _meta("Hosts other than its own whose key set that document may name.")
    ] = ()
    jwks_file: Annotated[str | None, _meta("A file with its key set, instead of an address.", path=True)] = (
        None
    )
    id_form: Annotated[
        IdForm,
        _meta("How it writes asset ids: Salesforce record ids of 15 or 18 characters, or any safe text."),
    ] = IdForm.SALESFORCE
    assets: Annotated[
        Literal["any"] | AssetsTable,
        _meta("The asset ids it speaks for; no two issuers may speak for the same one."),
    ] = "any"
    leeway_s: Annotated[
        float, _number("By how much its clock and ours may differ.", ge=0, le=300, unit="s")
    ] = 30.0
    max_token_age_s: (
        Annotated[
            float,
            _number(
                "Age from `iat`, else `nbf`, at which a token is too old whatever its `exp`.",
                ge=1,
                le=10**9,
                unit="s",
            ),
        ]
        | None
    ) = None
    did_as_client_id: Annotated[
        bool,
        _meta(
            "Whether a device id may be an MQTT client id; only for issuers whose device ids are unique: "
            "assets that share one would take over each other's sessions."
        ),
    ] = False
    asset_claim: Annotated[
        str,
        msgspec.Meta(
            description="The claim with the asset id; with a leading slash a JSON Pointer: `/device/asset`.",
            min_length=1,
            max_length=256,
        ),
    ] = "aid"
    device_claim: Annotated[
        str,
        msgspec.Meta(
            description="The claim with the device id, named likewise.", min_length=1, max_length=256
        ),
    ] = "did"
    token_types: Annotated[
        tuple[Text, ...],
        msgspec.Meta(
            description="The header's `typ`, letter by letter; `JWT` stands for none as well.", min_length=1
        ),
    ] = ("JWT",)
    allowed_claims: Annotated[
        tuple[ForeignClaim, ...],
        _meta(
            "Claims of ID and access tokens that this issuer's asset tokens have too; `token_types` or "
            "`required_claims` must tell them apart then."
        ),
    ] = ()
    required_claims: Annotated[
        tuple[RequiredClaimTable, ...], _meta("Claims that the issuer's asset tokens have.")
    ] = ()
    attributes: Annotated[
        tuple[AttributeTable, ...],
        _meta("Claims for topic templates; Mosquitto's `acl_file` knows `{aid}` only."),
    ] = ()
    possession: PossessionTable = PossessionTable()
    require_provisioned: Annotated[
        bool, _meta("Whether an asset must be in `provisioned_file` to come in.")
    ] = False
    provisioned_file: Annotated[
        str | None,
        _meta("File with the ids of assets that exist, one a line, read anew when it changes.", path=True),
    ] = None


class ThrottleTable(Table, frozen=True, kw_only=True):
    """How much an address may fail before its unknown tokens are refused unread; good ones always come in."""

    per_second: Annotated[
        float,
        _number(
            "Bad tokens from an address (IPv6: /64) where none was good lately.", ge=0.01, le=1e6, unit="1/s"
        ),
    ] = 5.0
    burst: Annotated[float, _number("Bad tokens at once from such an address.", ge=1, le=1e6)] = 50.0
    known_per_second: Annotated[
        float, _number("Bad tokens from an address where one was good lately.", ge=0.01, le=1e6, unit="1/s")
    ] = 1000.0
    known_burst: Annotated[float, _number("Bad tokens at once from such an address.", ge=1, le=1e6)] = (
        20_000.0
    )
    credit: Annotated[
        float, _number("Bad tokens there that each newly verified good one makes up for.", ge=0, le=1000)
    ] = 10.0
    known_s: Annotated[
        float,
        _number(
            "Time for which an address is one of those after a good token or a session's end.",
            ge=1,
            le=2_592_000,
            unit="s",
        ),
    ] = 86_400.0
    capacity: Annotated[
        int, _number("Addresses of each kind remembered, about 0.3 kB each.", ge=1, le=10_000_000)
    ] = 100_000


class RevocationTable(Table, frozen=True, kw_only=True):
    """Tokens refused before their time."""

    file: Annotated[
        str | None,
        _meta("File of revocations, one JSON object a line, read anew when it changes.", path=True),
    ] = None


class ClonesTable(Table, frozen=True, kw_only=True):
    """One identity seen from two places."""

    clients_per_asset: Annotated[
        int,
        _number(
            "Client ids that an asset may be connected with, and use a token with, at once.", ge=1, le=64
        ),
    ] = 1
    half_life_s: Annotated[
        float, _number("Time in which an asset's score halves.", ge=1, le=604_800, unit="s")
    ] = 600.0
    report_score: Annotated[
        float,
        _number(
            "Score at which a clone is reported; 1 for a second client, token user or key, 0.4 for each "
            "take-over back and forth.",
            ge=0.1,
            le=1000,
        ),
    ] = 1.0
    quarantine_score: (
        Annotated[
            float,
            _number(
                "Score at which the asset is quarantined; without it none is: it stops the genuine device "
                "as well.",
                ge=0.1,
                le=1000,
            ),
        ]
        | None
    ) = None
    quarantine_s: Annotated[float, _number("How long a quarantine lasts.", ge=1, le=31_536_000, unit="s")] = (
        3600.0
    )
    capacity: Annotated[int, _number("Assets remembered, about 1 kB each.", ge=1, le=10_000_000)] = 100_000


class EventsTable(Table, frozen=True, kw_only=True):
    """Auth events under `assetgate/auth/`, published through the broker."""

    enabled: Annotated[bool, _meta("Whether there are any.")] = True
    denied_per_second: Annotated[
        float,
        _number(
            "Refused connects told of each reason; the others are summed in one event.",
            ge=0.01,
            le=1000,
            unit="1/s",
        ),
    ] = 1.0
    capacity: Annotated[
        int, _number("Events that wait for the broker; more are dropped and counted.", ge=1, le=1_000_000)
    ] = 10_000
    expiring_s: Annotated[
        float,
        _number(
            "Time before a session's end at which it is said to be expiring.", ge=0, le=604_800, unit="s"
        ),
    ] = 3600.0


class AdminTable(Table, frozen=True, kw_only=True):
    """Where `authplugin revoke`, `quarantine`, `sessions` and `keys` reach the running gate."""

    socket: Annotated[
        str | None, _meta("Unix socket, made with mode 0600; without it or a port there is none.", path=True)
    ] = None
    port: (
        Annotated[int, _number("Port on 127.0.0.1 instead of a socket; needs secret_file.", ge=1, le=65535)]
        | None
    ) = None
    secret_file: Annotated[
        str | None,
        _meta("File with the secret that requests show, at least 16 characters, mode 0600.", path=True),
    ] = None


class TopicsTable(Table, frozen=True, kw_only=True):
    """What every asset may do; `{aid}` is its own id, `{name}` an attribute that every issuer lists."""

    publish: Annotated[
        tuple[Text, ...], msgspec.Meta(description="Topic filters an asset may publish to.", min_length=1)
    ] = PUBLISH
    subscribe: Annotated[
        tuple[Text, ...], _meta("Topic filters an asset may subscribe within and receive from.")
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
        tuple[Text, ...], _meta("Topic filters it may publish to; none that assets publish to.")
    ] = ()
    subscribe: Annotated[tuple[Text, ...], _meta("Topic filters it may subscribe to.")] = ()


class KeysTable(Table, frozen=True, kw_only=True):
    """How key sets are kept fresh."""

    soft_ttl_s: Annotated[
        float, _number("Time between refreshes when the answer has no `max-age`.", ge=1, le=86400, unit="s")
    ] = 300.0
    soft_ttl_least_s: Annotated[
        float, _number("Least time between refreshes, whatever `max-age` says.", ge=1, le=86400, unit="s")
    ] = 60.0
    soft_ttl_most_s: Annotated[
        float, _number("Most time between refreshes, whatever `max-age` says.", ge=1, le=86400, unit="s")
    ] = 3600.0
    hard_ttl_s: Annotated[
        float,
        _number(
            "Age at which a set that could not be refreshed is trusted no longer.", ge=60, le=604800, unit="s"
        ),
    ] = 86400.0
    cooldown_s: Annotated[
        float, _number("Least time from any fetch to one for an unknown kid.", ge=1, le=3600, unit="s")
    ] = 30.0
    last_good_dir: Annotated[
        str | None,
        _meta("Directory where the last good sets are kept for a restart during an outage.", path=True),
    ] = None


class CacheTable(Table, frozen=True, kw_only=True):
    """The memory of verified tokens."""

    capacity: Annotated[int, _number("Good tokens remembered, about 0.5 kB each.", ge=0, le=10_000_000)] = (
        100_000
    )
    ttl_s: Annotated[
        float, _number("Time after which a good token is verified again.", ge=1, le=86400, unit="s")
    ] = 900.0
    refused_capacity: Annotated[int, _number("Bad tokens remembered.", ge=0, le=1_000_000)] = 4096
    refused_ttl_s: Annotated[
        float, _number("Time for which a bad token is remembered.", ge=1, le=600, unit="s")
    ] = 30.0


class SessionsTable(Table, frozen=True, kw_only=True):
    """How live sessions end."""

    expiry_jitter_s: Annotated[
        float,
        _number(
            "Most time after `exp` and leeway, drawn anew for each session, until it is disconnected.",
            ge=0,
            le=300,
            unit="s",
        ),
    ] = 5.0


class MosquittoTable(Table, frozen=True, kw_only=True):
    """The broker that the gate is loaded into."""

    acl_file: Annotated[
        str, _meta("The broker's `acl_file`, written from the topic templates.", path=True)
    ] = "acl"
    password_file: Annotated[
        str | None, _meta("The broker's `password_file`, for service accounts.", path=True)
    ] = None
    config_file: Annotated[
        str | None, _meta("The broker's own configuration, checked at start.", path=True)
    ] = None
    allow_plaintext: Annotated[
        bool,
        _meta(
            "Whether a listener off loopback may be without TLS, where anyone on the way reads the tokens."
        ),
    ] = False
    log_level: Annotated[
        Literal["info", "warning", "error"],
        _meta("The least that the gate writes to the broker's log; refusals are of level `info`."),
    ] = "info"
    exchange_s: Annotated[
        float,
        _number("Time a client has to answer a challenge before it is disconnected.", ge=1, le=10, unit="s"),
    ] = 5.0
    budget_ms: Annotated[
        float,
        _number(
            "Time a callback may keep the broker waiting; longer ones are counted and logged.",
            ge=0.1,
            le=10_000,
            unit="ms",
        ),
    ] = 5.0
    watch_s: Annotated[
        float,
        _number(
            "Time between two looks at this file and the broker's `acl_file`; a change is adopted as at "
            "SIGHUP. 0 leaves it to the signal.",
            ge=0,
            le=3600,
            unit="s",
        ),
    ] = 1.0


class MetricsTable(Table, frozen=True, kw_only=True):
    """The Prometheus endpoint."""

    address: Annotated[str, _meta("Address it listens on, an IP address.")] = "127.0.0.1"
    port: (
        Annotated[
            int,
            _number(
                "Port it listens on; 0 takes a free one; without it there is no endpoint.", ge=0, le=65535
            ),
        ]
        | None
    ) = None


class AuditTable(Table, frozen=True, kw_only=True):
    """One JSON line a decision."""

    file: Annotated[
        str | None, _meta("File the lines are appended to; without it there is no audit.", path=True)
    ] = None
    flush_s: Annotated[float, _number("Most time a line waits in memory.", ge=0.1, le=60, unit="s")] = 1.0
    sample_allowed: Annotated[
        float,
        _number(
            "Share of allowed connects that is written; refused ones are, 100 a second, the rest summed.",
            ge=0,
            le=1,
        ),
    ] = 1.0
    rotate_bytes: Annotated[
        int,
        _number(
            "Size from which the file is moved to `<file>.1`; 0 leaves that to logrotate, which needs to tell"
            " nobody.",
            ge=0,
            le=1 << 40,
            unit="B",
        ),
    ] = 100_000_000
    keep_files: Annotated[int, _number("Files kept besides the one in use.", ge=1, le=1000)] = 5


class GateSettings(Table, frozen=True, kw_only=True):
    """Everything the gate is told."""

    issuers: Annotated[
        tuple[IssuerTable, ...], msgspec.Meta(description="Issuers of asset tokens.", min_length=1)
    ]
    topics: TopicsTable = TopicsTable()
    service_accounts: Annotated[
        tuple[ServiceAccountTable, ...], _meta("Programs that log in by the broker's password file.")
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
