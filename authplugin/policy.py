"""The compiled policy: what is allowed, as frozen tables that a decision only looks up.

Built from settings at load, swapped whole on reload, never changed. No I/O, and no text to parse.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from authplugin.jose.claims import ASSET_TOKEN, FOREIGN, LEEWAY_SECONDS, ClaimNames
from authplugin.jose.compact import DEFAULT_TYPES
from authplugin.jose.identity import IdForm, canonical_asset_id
from authplugin.jose.profile import Attribute, RequiredClaim
from authplugin.jose.usual import USUAL
from authplugin.topics.template import Templates

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_PER_ASSET = 16
"""Live sessions of one asset, where nothing else is said."""

PROGRAMS = "assetgate-"
"""How the client ids of this product's own programs begin, as the bridge's does."""


@dataclass(frozen=True, slots=True)
class AssetScope:
    """The asset ids an issuer speaks for.

    Attributes:
        exact: ids, in the form used in topics.
        prefixes: beginnings of ids.
        every: whether it speaks for any id.
    """

    exact: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    every: bool = False

    def holds(self, asset_id: str) -> bool:
        """Whether the issuer speaks for the asset."""
        return self.every or asset_id in self.exact or asset_id.startswith(self.prefixes)

    def overlap(self, other: "AssetScope") -> str | None:
        """An id or prefix that both would speak for, None when they are apart."""
        for one, two in ((self, other), (other, self)):
            if one.every and (two.every or two.exact or two.prefixes):
                return "any"
            for asset_id in sorted(one.exact):
                if two.holds(asset_id):
                    return asset_id
            for prefix in one.prefixes:
                if prefix.startswith(two.prefixes):
                    return prefix
        return None


class PossessionMode(StrEnum):
    """Whether a client must show that it holds the key its token is bound to."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class PossessionPolicy:
    """Which assets of an issuer must prove possession.

    Attributes:
        default: for assets that nothing else names.
        exact: by asset id, in the form used in topics.
        prefixes: beginnings of ids, the longest first; the first that fits decides.
    """

    default: PossessionMode = PossessionMode.OFF
    exact: Mapping[str, PossessionMode] = field(default_factory=dict)
    prefixes: tuple[tuple[str, PossessionMode], ...] = ()

    def mode(self, asset_id: str) -> PossessionMode:
        """What one asset must do: its own entry, else the longest prefix, else the default."""
        found = self.exact.get(asset_id)
        if found is not None:
            return found
        for prefix, mode in self.prefixes:
            if asset_id.startswith(prefix):
                return mode
        return self.default


@dataclass(frozen=True, slots=True)
class IssuerPolicy:
    """What tokens of one issuer must be, and whom they speak for.

    Attributes:
        issuer: ``iss``, exactly.
        audiences: names this gate answers to.
        algorithms: what the issuer may sign with.
        assets: the asset ids it speaks for.
        id_form: how it writes asset ids.
        leeway: seconds by which its clock and ours may differ.
        max_age: seconds after which a token is too old whatever its ``exp``; None for no limit.
        did_as_client_id: whether a device id may stand as MQTT client id.
        names: its claims for asset and device.
        types: header ``typ`` of its asset tokens.
        foreign: claims that its asset tokens never have.
        required: claims that its asset tokens have.
        attributes: claims that topic templates name.
        possession: which of its assets must prove possession; None when none has to, nor is a
            client's certificate compared.
        require_provisioned: whether an asset must be in the list of those that exist.
        usual: whether the claims of a usual token are all that is asked of one, and none of them
            is foreign; see `authplugin.jose.usual`.
    """

    issuer: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    assets: AssetScope
    id_form: IdForm
    leeway: float = LEEWAY_SECONDS
    max_age: float | None = None
    did_as_client_id: bool = False
    names: ClaimNames = ASSET_TOKEN
    types: frozenset[str] = DEFAULT_TYPES
    foreign: frozenset[str] = FOREIGN
    required: tuple[RequiredClaim, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    possession: PossessionPolicy | None = None
    require_provisioned: bool = False
    usual: bool = field(init=False)

    def __post_init__(self) -> None:
        """Say once what need not be asked of every token."""
        usual = self.names == ASSET_TOKEN and USUAL.isdisjoint(self.foreign)
        object.__setattr__(self, "usual", usual and not self.required and not self.attributes)

    def names_asset(self, text: str, asset_id: str) -> bool:
        """Whether a client's own words mean ``asset_id``: the id itself, or its 15-character form."""
        return text == asset_id or (
            self.id_form is IdForm.SALESFORCE and len(text) == 15 and text == asset_id[:15]  # noqa: PLR2004
        )

    def could_name(self, text: str) -> bool:
        """Whether ``text`` could be an asset id this issuer speaks for, in either form."""
        try:
            return self.assets.holds(canonical_asset_id(text, self.id_form))
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A program that logs in by the broker's password file, never by token.

    Attributes:
        name: its MQTT user name; never an asset id.
        publish: topic filters it may publish to.
        subscribe: topic filters it may subscribe within and receive from.
        networks: where it may log in from, none for anywhere.
    """

    name: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    def may_come_from(self, address: str) -> bool:
        """Whether it may log in from an address; what is none, such as a socket file, is nowhere."""
        if not self.networks:
            return True
        try:
            place = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = place.ipv4_mapped if isinstance(place, ipaddress.IPv6Address) else None
        found = place if mapped is None else mapped  # as a dual-stack socket shows it
        return any(found in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything a decision needs to know beyond the request and the keys.

    Attributes:
        issuers: by ``iss``.
        topics: compiled topic templates.
        service_accounts: by user name.
        algorithms: all that any issuer may sign with.
        types: every header ``typ`` that any issuer may use.
        most_per_asset: live sessions with which an asset gets no other, but by its bare id.
    """

    issuers: Mapping[str, IssuerPolicy]
    topics: Templates
    service_accounts: Mapping[str, ServiceAccount]
    algorithms: frozenset[str]
    types: frozenset[str] = DEFAULT_TYPES
    most_per_asset: int = MOST_PER_ASSET

    def is_program(self, name: str) -> bool:
        """Whether a program is called so: a service account, or a client of this product's own."""
        return name in self.service_accounts or name.startswith(PROGRAMS)

    def could_be_asset(self, text: str) -> bool:
        """Whether any issuer could mean an asset by ``text``."""
        return any(issuer.could_name(text) for issuer in self.issuers.values())
