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
            "Where its key set is; else `issuer` less a trailing slash + `/id/keys`, unless jwks_file is set."
        ),
    ] = None
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
        str, msgspec.Meta(description="The claim with the asset id.", min_length=1, max_length=256)
    ] = "aid"
    device_claim: Annotated[
        str, msgspec.Meta(description="The claim with the device id.", min_length=1, max_length=256)
    ] = "did"
    possession: PossessionTable = PossessionTable()


class TopicsTable(Table, frozen=True, kw_only=True):
    """What every asset may do; `{aid}` is its own id."""

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
