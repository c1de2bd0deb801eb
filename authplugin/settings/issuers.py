"""The table of an issuer: whose tokens are accepted, what they look like, where their keys are."""

from typing import Annotated, Literal

import msgspec

from authplugin.jose.identity import IdForm
from authplugin.policy import PossessionMode
from authplugin.settings.table import Table, Text, meta, number

Algorithm = Literal["RS256", "ES256", "EdDSA"]
ForeignClaim = Literal["at_hash", "c_hash", "nonce", "auth_time", "sub", "scp"]


class AssetsTable(Table, frozen=True, kw_only=True):
    """The asset ids an issuer speaks for, when it is not "any"."""

    exact: Annotated[tuple[str, ...], meta("Asset ids, in full; either form of a Salesforce id.")] = ()
    prefixes: Annotated[tuple[str, ...], meta("Beginnings of asset ids.")] = ()


class PossessionAssetsTable(Table, frozen=True, kw_only=True):
    """Assets that prove possession in another way than the issuer's others."""

    mode: Annotated[PossessionMode, meta("What these assets must do.")]
    exact: Annotated[tuple[str, ...], meta("Asset ids, in full; they come before any prefix.")] = ()
    prefixes: Annotated[tuple[str, ...], meta("Beginnings of asset ids; the longest one decides.")] = ()


class PossessionTable(Table, frozen=True, kw_only=True):
    """Whether clients must show that they hold the key their token is bound to (`cnf`)."""

    mode: Annotated[
        PossessionMode,
        meta(
            "`required`: nobody comes in without a proof, by TLS client certificate or MQTT 5 method `ace`; "
            "`optional`: a proof is checked and recorded; `off`: certificates are not compared."
        ),
    ] = PossessionMode.OFF
    assets: Annotated[tuple[PossessionAssetsTable, ...], meta("Assets with a mode of their own.")] = ()


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
        meta("What it may be, with the same type; of a list one is enough. Without any, it must be there."),
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
        meta(
            "Where its key set is; without it, jwks_file and openid_configuration: `issuer` less a trailing "
            "slash + `/id/keys`."
        ),
    ] = None
    openid_configuration: Annotated[
        str | None,
        meta("Where its OpenID Connect discovery document is, which says where the key set is."),
    ] = None
    jwks_hosts: Annotated[
        tuple[Text, ...], meta("Hosts other than its own whose key set that document may name.")
    ] = ()
    jwks_file: Annotated[str | None, meta("A file with its key set, instead of an address.", path=True)] = (
        None
    )
    id_form: Annotated[
        IdForm,
        meta("How it writes asset ids: Salesforce record ids of 15 or 18 characters, or any safe text."),
    ] = IdForm.SALESFORCE
    assets: Annotated[
        Literal["any"] | AssetsTable,
        meta("The asset ids it speaks for; no two issuers may speak for the same one."),
    ] = "any"
    leeway_s: Annotated[
        float, number("By how much its clock and ours may differ.", ge=0, le=300, unit="s")
    ] = 30.0
    max_token_age_s: (
        Annotated[
            float,
            number(
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
        meta(
            "Whether a device id may be an MQTT client id; for one issuer only, whose device ids are unique: "
            "assets that share one would take over each other's sessions. Programs need client ids that no "
            "device can have then: their account's name, or `assetgate-` and more."
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
        meta(
            "Claims of ID and access tokens that this issuer's asset tokens have too; `token_types` or "
            "`required_claims` must tell them apart then."
        ),
    ] = ()
    required_claims: Annotated[
        tuple[RequiredClaimTable, ...], meta("Claims that the issuer's asset tokens have.")
    ] = ()
    attributes: Annotated[
        tuple[AttributeTable, ...],
        meta("Claims for topic templates; Mosquitto's `acl_file` knows `{aid}` only."),
    ] = ()
    possession: Annotated[
        PossessionTable, meta("Whether clients prove that they hold their token's key: the table below.")
    ] = PossessionTable()
    require_provisioned: Annotated[
        bool, meta("Whether an asset must be in `provisioned_file` to come in.")
    ] = False
    provisioned_file: Annotated[
        str | None,
        meta("File with the ids of assets that exist, one a line, read anew when it changes.", path=True),
    ] = None
