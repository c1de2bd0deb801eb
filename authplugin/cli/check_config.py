"""``authplugin check-config``: reads a configuration as the gate would, and says what it understood.

With the broker's own configuration it checks that as well, just as the gate does when it starts.
"""

import argparse
import errno
import json
import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from authplugin.errors import ConfigurationError
    from authplugin.jose.profile import RequiredClaim
    from authplugin.policy import AssetScope, IssuerPolicy
    from authplugin.settings import GateSettings, IssuerTable, Loaded


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "check-config",
        help="check a configuration without starting anything",
        description="Reads the configuration and AUTHPLUGIN_ variables as the gate would, and prints what "
        "it understood. Reads the files that it names and a gate must read to start, too, and checks the "
        "broker's own configuration as the gate does when it starts. Exits 1 with one line for every "
        "mistake: file:line: key: found …, expected ….",
    )
    parser.add_argument("config", type=Path, metavar="FILE", help="the gate's configuration (TOML)")
    parser.add_argument(
        "--broker-config",
        type=Path,
        metavar="FILE",
        help="of Mosquitto, e.g. /etc/mosquitto/mosquitto.conf (default: config_file in [mosquitto], if any)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Print what was understood; 1 and every mistake when something is wrong."""
    from authplugin.errors import ConfigurationErrors  # noqa: PLC0415 - --help need not load the settings
    from authplugin.settings import load  # noqa: PLC0415 - as above

    try:
        loaded = load(args.config)
    except ConfigurationErrors as errors:
        for error in errors.errors:
            print(error, file=sys.stderr)
        return 1
    for line in _summary(loaded):
        print(line)
    named = loaded.settings.mosquitto.config_file
    broker = args.broker_config or (Path(named) if named is not None else None)
    mistakes = _say(
        [
            *_find_mistakes(args.config, loaded),
            *(_find_in_broker(broker, args.config, loaded) if broker else ()),
        ]
    )
    for note in _find_useless_keys(loaded.settings.issuers):
        print(f"note: {note}", file=sys.stderr)
    if broker is None:
        _note_rights(loaded)
    return 1 if mistakes else 0


def _say(mistakes: "Iterable[ConfigurationError]") -> int:
    """Say what is wrong; how much that is.

    A file that only its owner may read is no mistake when somebody else asks.
    """
    closed = os.strerror(errno.EACCES)
    count = 0
    for mistake in mistakes:
        if mistake.found == closed or mistake.expected.endswith(f"({closed})"):
            file = mistake.file if mistake.found == closed else mistake.found
            print(f"note: {file}: not looked into ({closed}): run this as the broker's user", file=sys.stderr)
        else:
            print(mistake, file=sys.stderr)
            count += 1
    return count


def _find_mistakes(config: Path, loaded: "Loaded") -> "Iterable[ConfigurationError]":
    """What is wrong with it as a file, and with those beside it that a gate must read to start."""
    from authplugin.brokers.guards import find_mistakes  # noqa: PLC0415 - as above
    from authplugin.brokers.mosquitto.rights import find_open_files  # noqa: PLC0415 - as above

    acl_file = Path(loaded.settings.mosquitto.acl_file)
    return [*find_open_files(config, acl_file), *find_mistakes(loaded.settings)]


def _find_in_broker(file: Path, config: Path, loaded: "Loaded") -> "Iterator[ConfigurationError]":
    """What is wrong with the broker's configuration: the gate would not start with it."""
    from authplugin.brokers.mosquitto.configuration import read_configuration  # noqa: PLC0415 - as above
    from authplugin.brokers.mosquitto.plan import find_user  # noqa: PLC0415 - as above
    from authplugin.brokers.mosquitto.preflight import find_mistakes  # noqa: PLC0415 - as above
    from authplugin.brokers.mosquitto.rights import find_forbidden  # noqa: PLC0415 - as above
    from authplugin.errors import ConfigurationError  # noqa: PLC0415 - as above

    try:
        broker = read_configuration(file)
    except ConfigurationError as error:
        yield error
        return
    print(f"broker   {file}")
    line = broker.last("plugin_opt_config_file")
    if line is None or Path(line.value).resolve() != config.resolve():
        print(
            f"note: {file}: no plugin_opt_config_file {config.resolve()}: this gate is not in it",
            file=sys.stderr,
        )
    yield from find_mistakes(broker, loaded)
    # Who is neither root nor the broker's user cannot know whether the broker is started as root.
    user = find_user(broker)
    if os.geteuid() in {0, _uid(user)}:
        yield from find_forbidden(loaded.settings, user)


def _note_rights(loaded: "Loaded") -> None:
    """Say what the usual user of a broker may not do: only its configuration says who it is."""
    from authplugin.brokers.mosquitto.build import BROKER_USER  # noqa: PLC0415 - as above
    from authplugin.brokers.mosquitto.rights import find_forbidden  # noqa: PLC0415 - as above

    if os.geteuid() in {0, _uid(BROKER_USER)}:
        for mistake in find_forbidden(loaded.settings, BROKER_USER):
            print(f"note: {mistake}; --broker-config says whom it is about", file=sys.stderr)


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _find_useless_keys(issuers: "Iterable[IssuerTable]") -> "Iterator[str]":
    """What is wrong with key sets in files: a gate starts without them, and refuses that issuer's tokens."""
    from authplugin.errors import KeySetError  # noqa: PLC0415 - as above
    from authplugin.keys.snapshot import take_snapshot  # noqa: PLC0415 - as above
    from authplugin.keys.source import FileSource  # noqa: PLC0415 - as above

    for position, issuer in enumerate(issuers):
        if issuer.jwks_file is None:
            continue
        try:
            body = FileSource(Path(issuer.jwks_file)).fetch(None).body
            take_snapshot(body or b"", issuer.algorithms, fetched=0.0)
        except KeySetError as error:
            yield f"issuers[{position}].jwks_file: {issuer.jwks_file}: {error}: all its tokens are refused"


def _summary(loaded: "Loaded") -> list[str]:
    """What the configuration means, a line a fact."""
    settings, policy = loaded.settings, loaded.policy
    lines = []
    for table in settings.issuers:
        issuer = policy.issuers[table.issuer]
        lines += [
            f"issuer {table.issuer}",
            f"  keys       {_key_source(table)}",
            f"  signs with {', '.join(table.algorithms)}",
            f"  audiences  {', '.join(table.audiences)}",
            f"  assets     {_scope(issuer.assets)} ({table.id_form} ids)"
            + (f", those in {table.provisioned_file} only" if table.require_provisioned else ""),
            *_profile(issuer),
        ]
    lines += [f"assets publish    {template}" for template in policy.topics.publish]
    lines += [f"assets subscribe  {template}" for template in policy.topics.subscribe]
    for account in policy.service_accounts.values():
        lines.append(f"service account {account.name}")
        lines += [f"  publish    {topic_filter}" for topic_filter in account.publish]
        lines += [f"  subscribe  {topic_filter}" for topic_filter in account.subscribe]
    metrics = settings.metrics
    lines.append(f"metrics  {'off' if metrics.port is None else f'{metrics.address} port {metrics.port}'}")
    lines.append(f"audit    {settings.audit.file or 'off'}")
    lines.append(f"revocations  {settings.revocation.file or 'none'}")
    lines.append(f"admin    {_road(settings)}")
    return lines


def _key_source(table: "IssuerTable") -> str:
    from authplugin.settings import key_url  # noqa: PLC0415 - as above

    if table.openid_configuration is not None:
        return f"{table.openid_configuration} (discovery)"
    return table.jwks_file or key_url(table)


def _profile(issuer: "IssuerPolicy") -> list[str]:
    """What differs from an issuer of asset tokens without further demands."""
    lines = []
    if (issuer.names.asset, issuer.names.device) != ("aid", "did"):
        lines.append(f"  asset in   {issuer.names.asset}, device in {issuer.names.device}")
    lines += [f"  requires   {_demand(demand)}" for demand in issuer.required]
    lines += [f"  attribute  {attribute.name} in {attribute.claim}" for attribute in issuer.attributes]
    if issuer.possession is not None:
        lines.append(f"  possession {issuer.possession.default}")
        named = [*sorted(issuer.possession.exact.items())]
        named += [(f"{prefix}…", mode) for prefix, mode in issuer.possession.prefixes]
        lines += [f"             {mode} of {name}" for name, mode in named]
    return lines


def _demand(demand: "RequiredClaim") -> str:
    values = " or ".join(json.dumps(value) for value in demand.values)
    return f"{demand.claim} = {values}" if values else demand.claim


def _road(settings: "GateSettings") -> str:
    admin = settings.admin
    if admin.port is not None:
        return f"127.0.0.1 port {admin.port}"
    return admin.socket or "off"


def _scope(scope: "AssetScope") -> str:
    if scope.every:
        return "any"
    return ", ".join([*sorted(scope.exact), *(f"{prefix}…" for prefix in scope.prefixes)])
