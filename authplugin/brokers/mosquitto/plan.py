"""What an installation would put into a broker, and what in the broker's configuration stands against it.

Everything is judged here, on the configuration as it will be, before a single file is written.
"""

import json
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from authplugin.brokers.mosquitto.acl import write_acl
from authplugin.brokers.mosquitto.build import BROKER_USER, Interpreter
from authplugin.brokers.mosquitto.configuration import (
    BrokerConfiguration,
    Line,
    read_configuration,
)
from authplugin.brokers.mosquitto.listeners import NAMING, find_listeners
from authplugin.brokers.mosquitto.preflight import check_configuration
from authplugin.brokers.mosquitto.stanza import (
    DURABILITY,
    LIMITS,
    MAX_CONNECTIONS,
    Listener,
    write_listener,
    write_stanza,
)
from authplugin.errors import ConfigurationError, InstallError
from authplugin.settings import Loaded, load, parse

PLUGIN_NAME, RECORD_NAME = "authplugin.so", "installed.json"
_PLUGINS = ("plugin", "auth_plugin", "global_plugin", "plugin_load")


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are, as absolute paths.

    Attributes:
        broker: the broker's own configuration.
        stanza: the file of ours that it includes.
        config: the gate's configuration.
        library: the folder of the plugin and of the record.
    """

    broker: Path
    stanza: Path
    config: Path
    library: Path

    @property
    def plugin(self) -> Path:
        """The compiled shim."""
        return self.library / PLUGIN_NAME

    @property
    def record(self) -> Path:
        """What was installed."""
        return self.library / RECORD_NAME


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be installed.

    Attributes:
        config: text of the gate's configuration when there is none yet.
        loaded: what it says.
        acl_file: where the ``acl_file`` goes.
        acl: its text.
        stanza: the whole text of our file.
        listener: the one in it, None when the broker has its own.
        broker: the broker's configuration as it will be.
        user: whom the broker will run as; None for whoever starts it.
        notes: what a person should know.
    """

    config: str | None
    loaded: Loaded
    acl_file: Path
    acl: str
    stanza: str
    listener: Listener | None
    broker: BrokerConfiguration
    user: str | None
    notes: tuple[str, ...]


def make_plan(
    places: Places,
    interpreter: Interpreter,
    *,
    issuer: str | None,
    audience: str | None,
    listener: Listener | None,
) -> Plan:
    """Plan an installation.

    Args:
        places: where things are.
        interpreter: the Python that the broker will run.
        issuer: for a first configuration of the gate.
        audience: the same.
        listener: the one to open; None opens one on loopback, unless the broker has one of its own.

    Raises:
        ConfigurationError: something in a configuration stands against it.
        InstallError: the gate's configuration is missing and cannot be written.
    """
    config, loaded = _gate(places, issuer, audience)
    acl_file = Path(loaded.settings.mosquitto.acl_file)
    if acl_file.is_symlink():
        acl_file = acl_file.resolve()  # 2.1 follows no link there
    try:
        acl = write_acl(loaded.policy.topics, loaded.policy.service_accounts)
    except ValueError as error:
        raise ConfigurationError(
            file=str(places.config),
            line=None,
            key="topics",
            found=str(error),
            expected="topics that Mosquitto's acl_file can say",
        ) from None
    others = read_configuration(places.broker, {places.stanza: ""})
    _check_others(others, places)
    if listener is None and not any(line.key in NAMING for line in others.lines):
        listener = Listener(1883, "127.0.0.1")
    password_file = loaded.settings.mosquitto.password_file
    accounts = loaded.settings.service_accounts
    if accounts and password_file is None:
        raise ConfigurationError(
            file=str(places.config),
            line=None,
            key="mosquitto.password_file",
            found="nothing beside [[service_accounts]]",
            expected="the file with their passwords: "
            f"mosquitto_passwd -c {places.config.parent / 'passwords'} {accounts[0].name}",
        )
    passwords = Path(password_file) if password_file is not None else None
    stanza = write_stanza(places.plugin, interpreter, places.config, acl_file, passwords)
    if listener is not None:
        stanza += "\n" + write_listener(listener)
    broker = read_configuration(places.broker, {places.stanza: stanza, acl_file: acl})
    if not any(line.file == places.stanza for line in broker.lines):
        raise ConfigurationError(
            file=str(places.broker),
            line=None,
            key="include_dir",
            found=f"no line that reads {places.stanza}",
            expected=f"include_dir {places.stanza.parent}",
        )
    check_configuration(
        broker,
        service_accounts=loaded.policy.service_accounts,
        allow_plaintext=loaded.settings.mosquitto.allow_plaintext,
    )
    return Plan(
        config=config,
        loaded=loaded,
        acl_file=acl_file,
        acl=acl,
        stanza=stanza,
        listener=listener,
        broker=broker,
        user=find_user(broker) if os.geteuid() == 0 else None,
        notes=(*_unused(places, loaded, issuer, audience), *_notes(broker, others, places, listener)),
    )


def find_user(broker: BrokerConfiguration) -> str:
    """Whom a broker becomes when root starts it."""
    line = broker.last("user")
    return line.value if line is not None else BROKER_USER


def owner_of(user: str | None) -> tuple[int, int] | None:
    """User and group id of the broker's user; None for whoever installs.

    Raises:
        InstallError: there is no such user.
    """
    if user is None:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise InstallError(f"there is no user {user}, whom the broker is to run as") from None
    return entry.pw_uid, entry.pw_gid


def write_gate(issuer: str, audience: str, passwords: Path) -> str:
    """A first configuration of the gate: one issuer, everything else as it comes, the rest as comments."""
    return f"""\
# Whose tokens open the broker's door, and what else may pass. After a change of [topics] or
# [[service_accounts]] run `authplugin mosquitto install` again. Every key: docs/reference/gate-settings.md
[[issuers]]
issuer = {json.dumps(issuer, ensure_ascii=False)}      # the tokens' iss, exactly
audiences = [{json.dumps(audience, ensure_ascii=False)}]   # one of these is in the tokens' aud
# keys come from the issuer's address + /id/keys; jwks_uri or jwks_file say otherwise

# Programs such as the bridge log in by password; devices never do. First:
#     mosquitto_passwd -c {passwords} bridge
# [[service_accounts]]
# name = "bridge"
# publish = ["assetgate/heartbeat"]
# subscribe = ["assets/+/telemetry/#", "assets/+/events/#", "assets/+/status", "assetgate/heartbeat"]

[mosquitto]
acl_file = "acl"
# password_file = "passwords"

[metrics]
port = 9610     # http://127.0.0.1:9610/metrics
"""


def _gate(places: Places, issuer: str | None, audience: str | None) -> tuple[str | None, Loaded]:
    if places.config.exists():
        return None, load(places.config)
    if issuer is None or audience is None:
        raise InstallError(
            f"there is no {places.config} yet: --issuer and --audience say whose tokens are accepted, "
            "for example --issuer https://acme.my.site.com --audience https://ingest.example.com"
        )
    text = write_gate(issuer, audience, places.config.parent / "passwords")
    return text, parse(text, name=str(places.config), environ=os.environ, base=places.config.parent)


def _check_others(others: BrokerConfiguration, places: Places) -> None:
    """Check the broker's own lines: those that ours would meet twice, and those that would bypass the gate.

    Raises:
        ConfigurationError: the first such line.
    """
    for line in others.lines:
        if line.key in _PLUGINS:
            raise line.wrong("no other plugin: it could let in whom the gate refuses")
        if line.key in {"acl_file", "password_file"}:
            raise line.wrong(
                f"no such line: {places.stanza} has it, and the broker takes it once; "
                f"mosquitto.{line.key} in {places.config} names its file"
            )
    if others.last("persistence_location") is None:
        raise ConfigurationError(
            file=str(others.file),
            line=None,
            key="persistence_location",
            found="no such line",
            expected="persistence_location /var/lib/mosquitto/: queues and sessions are kept there",
        )


def _unused(places: Places, loaded: Loaded, issuer: str | None, audience: str | None) -> Iterator[str]:
    """What was asked for a first configuration, where there is one already that says something else."""
    known = loaded.settings.issuers
    if issuer is not None and issuer not in {table.issuer for table in known}:
        yield f"{places.config} is there already, so --issuer {issuer} changes nothing: write it there"
    if audience is not None and not any(audience in table.audiences for table in known):
        yield f"{places.config} is there already, so --audience {audience} changes nothing: write it there"


def _notes(
    broker: BrokerConfiguration, others: BrokerConfiguration, places: Places, listener: Listener | None
) -> Iterator[str]:
    for key, value, _ in (*DURABILITY, *LIMITS):
        last = broker.last(key)
        if last is not None and last.file != places.stanza and last.value != value:
            yield f"{_at(last)}: {key} {last.value} counts, not the {value} of {places.stanza.name}"
    if listener is None:
        opens = next(line for line in others.lines if line.key in NAMING)
        yield f"{_at(opens)}: the broker has a listener of its own, so none is written; --port adds one"
        for own in find_listeners(broker.lines):
            if not own.bounded:
                yield (
                    f"{_at(own.opening)}: nothing bounds this listener's clients, and a line of ours cannot: "
                    f"max_connections {MAX_CONNECTIONS} below it, in the same file, would"
                )
    elif listener.certificate is None:
        yield (
            f"the listener at {listener.address or 'any address'} port {listener.port} is without TLS: "
            "--certfile and --keyfile open one for devices"
        )


def _at(line: Line) -> str:
    return f"{line.file}:{line.number}"
