"""From settings to the compiled policy: what must hold between settings, every breach collected."""

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from authplugin.jose.claims import FOREIGN, ClaimNames
from authplugin.jose.compact import DEFAULT_TYPE
from authplugin.jose.identity import IdForm, canonical_asset_id, is_asset_id
from authplugin.jose.profile import Attribute, RequiredClaim, check_name
from authplugin.policy import (
    AssetScope,
    IssuerPolicy,
    Network,
    Policy,
    PossessionMode,
    PossessionPolicy,
    ServiceAccount,
)
from authplugin.settings.file import shown
from authplugin.settings.issuers import AssetsTable, IssuerTable
from authplugin.settings.tables import GateSettings, ServiceAccountTable
from authplugin.topics.containment import overlaps
from authplugin.topics.grammar import SINGLE, check_filter
from authplugin.topics.template import PLACEHOLDER, Template, Templates, check_apart, compile_template

EVENT_TOPICS = "assetgate/auth/#"
"""Where the gate itself publishes."""

KeyPath = tuple[str | int, ...]
Refuse = Callable[[KeyPath, str, str], None]
"""Takes one mistake: the key's path, what was found, what was expected."""


def compile_policy(settings: GateSettings, refuse: Refuse) -> Policy:
    """Compile the policy; a policy with mistakes must not be used.

    Args:
        settings: of the right form.
        refuse: told every mistake.
    """
    issuers: dict[str, IssuerPolicy] = {}
    for position, table in enumerate(settings.issuers):
        path: KeyPath = ("issuers", position)
        if table.issuer in issuers:
            refuse((*path, "issuer"), table.issuer, "an issuer that is listed once")
        _check_keys(table, path, refuse)
        if table.require_provisioned and table.provisioned_file is None:
            refuse((*path, "require_provisioned"), "true without provisioned_file", "a file with the ids")
        issuer = _compile_issuer(table, path, refuse)
        for other in issuers.values():
            shared = issuer.assets.overlap(other.assets) or _shared_name(issuer, other)
            if shared is not None:
                refuse((*path, "assets"), shared, f"asset ids that {other.issuer} does not speak for as well")
            if issuer.did_as_client_id and other.did_as_client_id:
                refuse(
                    (*path, "did_as_client_id"),
                    f"true, as for {other.issuer}",
                    "one such issuer: a device of either could call itself like a device of the other",
                )
        issuers[table.issuer] = issuer
    topics = _compile_topics(settings, refuse)
    policy = Policy(
        issuers=issuers,
        topics=topics,
        service_accounts={
            table.name: ServiceAccount(
                table.name,
                table.publish,
                table.subscribe,
                _compile_networks(table.addresses, ("service_accounts", position, "addresses"), refuse),
            )
            for position, table in enumerate(settings.service_accounts)
        },
        algorithms=frozenset(name for issuer in issuers.values() for name in issuer.algorithms),
        types=frozenset(name for issuer in issuers.values() for name in issuer.types),
        most_per_asset=settings.sessions.most_per_asset,
    )
    _check_event_topics(policy, refuse)
    seen: set[str] = set()
    for position, account in enumerate(settings.service_accounts):
        _check_account(account, ("service_accounts", position), policy, seen, refuse)
    _check_address(settings, refuse)
    _check_admin(settings, refuse)
    _check_sessions(settings, refuse)
    return policy


def key_url(table: IssuerTable) -> str:
    """Where an issuer's key set is: its setting, else ``iss`` less a trailing slash, + ``/id/keys``."""
    return table.jwks_uri or table.issuer.removesuffix("/") + "/id/keys"


def _compile_issuer(table: IssuerTable, path: KeyPath, refuse: Refuse) -> IssuerPolicy:
    issuer = IssuerPolicy(
        issuer=table.issuer,
        audiences=frozenset(table.audiences),
        algorithms=frozenset(table.algorithms),
        assets=_compile_scope(table, (*path, "assets"), refuse),
        id_form=table.id_form,
        leeway=table.leeway_s,
        max_age=table.max_token_age_s,
        did_as_client_id=table.did_as_client_id,
        names=ClaimNames(table.asset_claim, table.device_claim),
        types=frozenset(table.token_types),
        foreign=FOREIGN.difference(table.allowed_claims, (table.asset_claim, table.device_claim)),
        required=tuple(RequiredClaim(claim.claim, claim.values) for claim in table.required_claims),
        attributes=tuple(Attribute(attribute.name, attribute.claim) for attribute in table.attributes),
        possession=_compile_possession(table, (*path, "possession"), refuse),
        require_provisioned=table.require_provisioned,
    )
    _check_profile(issuer, table, path, refuse)
    for key, text in (("issuer", table.issuer), *(("audiences", audience) for audience in table.audiences)):
        if text != text.strip():
            refuse((*path, key), shown(text), "the token's own text, without white space around it")
    if issuer.did_as_client_id and issuer.id_form is IdForm.OPAQUE and issuer.assets.every:
        refuse(
            (*path, "did_as_client_id"),
            "true",
            "false, or assets other than any: a device id could be another asset's id",
        )
    return issuer


def _check_profile(issuer: IssuerPolicy, table: IssuerTable, path: KeyPath, refuse: Refuse) -> None:
    """What a mapped issuer calls its claims, and that its asset tokens can be told from its others."""
    claims: list[tuple[KeyPath, str]] = [
        (("asset_claim",), table.asset_claim),
        (("device_claim",), table.device_claim),
    ]
    claims += [(("required_claims", n, "claim"), demand.claim) for n, demand in enumerate(issuer.required)]
    claims += [(("attributes", n, "claim"), one.claim) for n, one in enumerate(issuer.attributes)]
    for key, name in claims:
        try:
            check_name(name)
        except ValueError as error:
            refuse((*path, *key), f"{name}, which {error}", "a claim's name or a JSON Pointer")
    names = [attribute.name for attribute in issuer.attributes]
    for position, name in enumerate(names):
        if name == "aid" or name in names[:position]:
            refuse((*path, "attributes", position, "name"), name, "a name of its own")
    told_apart = issuer.required or DEFAULT_TYPE not in issuer.types
    if issuer.foreign != FOREIGN and not told_apart:
        shared = ", ".join(sorted(FOREIGN - issuer.foreign))
        refuse(
            path,
            f"{shared} in asset tokens, which ID or access tokens have as well",
            "token_types without JWT, or required_claims, that tell asset tokens from them",
        )


def _shared_name(one: IssuerPolicy, other: IssuerPolicy) -> str | None:
    """An id of one issuer that is another form of an id of the other's; both would be the same client id."""
    for names, means in ((one, other), (other, one)):
        for asset_id in sorted(names.assets.exact):
            if means.could_name(asset_id):
                return asset_id
    return None


def _compile_scope(table: IssuerTable, path: KeyPath, refuse: Refuse) -> AssetScope:
    if not isinstance(table.assets, AssetsTable):
        return AssetScope(every=True)
    if not table.assets.exact and not table.assets.prefixes:
        refuse(path, "no asset id", '"any", exact ids or prefixes')
    return AssetScope(
        frozenset(_compile_ids(table.assets.exact, table.id_form, (*path, "exact"), refuse)),
        _compile_prefixes(table.assets.prefixes, (*path, "prefixes"), refuse),
    )


def _compile_ids(texts: tuple[str, ...], form: IdForm, path: KeyPath, refuse: Refuse) -> tuple[str, ...]:
    ids = []
    for position, asset_id in enumerate(texts):
        try:
            ids.append(canonical_asset_id(asset_id, form))
        except ValueError as error:
            refuse((*path, position), f"{asset_id}, which {error}", f"an asset id of form {form}")
    return tuple(ids)


def _compile_networks(texts: tuple[str, ...], path: KeyPath, refuse: Refuse) -> tuple[Network, ...]:
    networks: list[Network] = []
    for position, text in enumerate(texts):
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError:
            refuse((*path, position), text, "an IP address, or a network such as 10.1.0.0/16")
    return tuple(networks)


def _compile_prefixes(texts: tuple[str, ...], path: KeyPath, refuse: Refuse) -> tuple[str, ...]:
    for position, prefix in enumerate(texts):
        if not is_asset_id(prefix):
            refuse((*path, position), prefix or "nothing", "1 to 64 letters, digits, - and _")
    return texts


def _compile_possession(table: IssuerTable, path: KeyPath, refuse: Refuse) -> PossessionPolicy | None:
    """The modes by asset; None when all are off, so that a decision need not look."""
    exact: dict[str, PossessionMode] = {}
    prefixes: dict[str, PossessionMode] = {}
    for position, assets in enumerate(table.possession.assets):
        place: KeyPath = (*path, "assets", position)
        if not assets.exact and not assets.prefixes:
            refuse(place, "no asset id", "exact ids or prefixes")
        for modes, key, names in (
            (exact, "exact", _compile_ids(assets.exact, table.id_form, (*place, "exact"), refuse)),
            (prefixes, "prefixes", _compile_prefixes(assets.prefixes, (*place, "prefixes"), refuse)),
        ):
            for name in names:
                if modes.setdefault(name, assets.mode) is not assets.mode:
                    refuse((*place, key), f"{name} as {assets.mode}", f"one mode; above it is {modes[name]}")
    default = table.possession.mode
    if {default, *exact.values(), *prefixes.values()} == {PossessionMode.OFF}:
        return None
    longest_first = sorted(prefixes.items(), key=lambda entry: -len(entry[0]))
    return PossessionPolicy(default, exact, tuple(longest_first))


def _check_keys(table: IssuerTable, path: KeyPath, refuse: Refuse) -> None:
    """The address of the key set: https, or this machine."""
    sources = {
        "jwks_uri": table.jwks_uri,
        "openid_configuration": table.openid_configuration,
        "jwks_file": table.jwks_file,
    }
    given = [key for key, value in sources.items() if value is not None]
    for key in given[1:]:
        refuse((*path, key), f"{given[0]} as well", "one of the two")
    if table.jwks_hosts and table.openid_configuration is None:
        refuse((*path, "jwks_hosts"), "no openid_configuration", "jwks_hosts only beside it")
    if table.jwks_file is not None:
        return
    key = given[0] if given else "issuer"
    value = sources.get(key)
    if value is None:
        value = table.issuer
    expected = "an https URL (http to loopback only) without user, password or fragment"
    if not given:
        expected += ", or jwks_uri, openid_configuration or jwks_file beside it"
    try:
        parts = urlsplit(value)
        host = parts.hostname
        plain = bool(parts.username or parts.password or parts.fragment) or (
            key == "issuer" and bool(parts.query)
        )
        right = (
            not plain
            and host is not None
            and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)))
        )
    except ValueError:
        right = False
    if not right:
        refuse((*path, key), "another kind of address" if "@" in value else value, expected)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _compile_topics(settings: GateSettings, refuse: Refuse) -> Templates:
    lists = [{attribute.name for attribute in issuer.attributes} for issuer in settings.issuers]
    attributes = set.intersection(*lists)

    def compiled(key: str, texts: tuple[str, ...]) -> tuple[Template, ...]:
        templates = []
        for position, text in enumerate(texts):
            try:
                templates.append(compile_template(text, attributes))
            except ValueError as error:
                refuse(
                    ("topics", key, position),
                    f"{text}, which {error}",
                    "a topic filter like assets/{aid}/events/#",
                )
        return tuple(templates)

    templates = Templates(
        compiled("publish", settings.topics.publish), compiled("subscribe", settings.topics.subscribe)
    )
    for position, issuer in enumerate(settings.issuers):
        for place, attribute in enumerate(issuer.attributes):
            if attribute.name not in templates.attributes:
                path = ("issuers", position, "attributes", place, "name")
                refuse(path, attribute.name, "a name that a template in [topics] has")
    try:
        check_apart(templates)
    except ValueError as error:
        refuse(("topics",), str(error), "the asset id in the same level of templates that meet")
    return templates


def _check_event_topics(policy: Policy, refuse: Refuse) -> None:
    """No asset may speak or listen where the gate speaks, whatever id an issuer could give it."""
    # The ids that matter are those that a level of these topics could be; any other stands for the rest.
    ids = [PLACEHOLDER, *(level for level in EVENT_TOPICS.split("/") if policy.could_be_asset(level))]
    for key, templates in (("publish", policy.topics.publish), ("subscribe", policy.topics.subscribe)):
        for template in templates:
            wide = template.replace(tuple((name, SINGLE) for name in template.attributes))
            if any(overlaps(wide.fill(asset_id), EVENT_TOPICS) for asset_id in ids):
                expected = f"topics apart from {EVENT_TOPICS}: the gate's events are no device's affair"
                refuse(("topics", key), str(template), expected)


def _check_account(
    account: ServiceAccountTable, path: KeyPath, policy: Policy, seen: set[str], refuse: Refuse
) -> None:
    if account.name in seen:
        refuse((*path, "name"), account.name, "a name that is listed once")
    seen.add(account.name)
    # An issuer of opaque ids for any asset could name anything; the gate refuses such an asset then.
    limited = (i for i in policy.issuers.values() if not (i.assets.every and i.id_form is IdForm.OPAQUE))
    if any(issuer.could_name(account.name) for issuer in limited):
        refuse((*path, "name"), account.name, "a name that cannot be an asset id of an issuer")
    for key, filters in (("publish", account.publish), ("subscribe", account.subscribe)):
        for position, topic_filter in enumerate(filters):
            try:
                check_filter(topic_filter)
            except ValueError as error:
                refuse((*path, key, position), f"{topic_filter}, which {error}", "a topic filter")
    for position, topic_filter in enumerate(account.publish):
        if overlaps(topic_filter, EVENT_TOPICS):
            expected = f"topics apart from {EVENT_TOPICS}: what the gate saw, only the gate may say"
            refuse((*path, "publish", position), topic_filter, expected)
        for template in policy.topics.publish:
            if overlaps(topic_filter, template.widest):
                refuse(
                    (*path, "publish", position),
                    topic_filter,
                    f"topics apart from {template}: what an asset says, only its own token may say",
                )
                break


def _check_admin(settings: GateSettings, refuse: Refuse) -> None:
    admin = settings.admin
    if admin.socket is not None and admin.port is not None:
        refuse(("admin", "port"), "socket as well", "one of the two")
    if admin.port is not None and admin.secret_file is None:
        expected = "a file with the secret: anyone on this machine reaches the port"
        refuse(("admin", "secret_file"), "nothing", expected)


def _check_sessions(settings: GateSettings, refuse: Refuse) -> None:
    most, expected = settings.sessions.most_per_asset, settings.clones.clients_per_asset
    if most < expected:
        refuse(("sessions", "most_per_asset"), shown(most), f"at least clones.clients_per_asset, {expected}")


def _check_address(settings: GateSettings, refuse: Refuse) -> None:
    try:
        ipaddress.ip_address(settings.metrics.address)
    except ValueError:
        refuse(("metrics", "address"), settings.metrics.address, "an IP address, such as 127.0.0.1 or ::1")
