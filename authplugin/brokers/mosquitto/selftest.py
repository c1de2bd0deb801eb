"""Tries the installation before it counts: this very Mosquitto, this plugin, a throw-away issuer.

The broker is started as it will be later, so as root it becomes its own user before it loads the
plugin; it listens on a port of 127.0.0.1 for a few seconds, and is ended by its process id.
"""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from authplugin.brokers.mosquitto.build import Interpreter
from authplugin.brokers.mosquitto.plan import Plan, owner_of
from authplugin.brokers.mosquitto.stanza import write_stanza
from authplugin.client.packets import (
    CONNACK,
    NOT_AUTHORIZED,
    PUBACK,
    SUCCESS,
    Packet,
    split_packet,
    write_connect,
    write_publish,
)
from authplugin.errors import InstallError

SECONDS = 30.0
"""Longest time until the broker answers, and until it accepts the first good token."""

_PAUSE_SECONDS = 0.05
_LAST_LINES = 8
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the self-test tries, made for it alone.

    Attributes:
        issuer: ``iss``.
        audience: in ``aud``.
        jwks: the key set that verifies ``good``, an ES256 key.
        asset_id: of both, the form of 18 characters.
        good: a token that must open the door.
        bad: one that must not: the same, signed by a stranger.
    """

    issuer: str
    audience: str
    jwks: bytes
    asset_id: str
    good: bytes = field(repr=False)
    bad: bytes = field(repr=False)


def run_selftest(
    mosquitto: Path, plan: Plan, interpreter: Interpreter, build: Callable[[Path], object], tokens: Tokens
) -> tuple[bytes, tuple[str, ...]]:
    """Build the plugin, start a broker with it, and see that it refuses and accepts as it must.

    Args:
        mosquitto: the broker's program.
        plan: what is to be installed.
        interpreter: the Python that the broker runs.
        build: compiles the plugin to a path.
        tokens: of an issuer that nobody else knows.

    Returns:
        The plugin that was tried, and what was seen, a line each.

    Raises:
        InstallError: something came out otherwise, with the last lines of the broker's log.
        BuildError: the plugin cannot be compiled.
    """
    with tempfile.TemporaryDirectory(prefix="assetgate-selftest-") as name:
        folder = Path(name)
        plugin = folder / "authplugin.so"
        build(plugin)
        _write_files(folder, plan, interpreter, plugin, tokens)
        for attempt in itertools.count(1):
            try:
                with _broker(mosquitto, folder, plan.user) as (port, alive):
                    seen = tuple(_try_all(port, alive, plan, tokens))
                return plugin.read_bytes(), seen
            except _PortTakenError:
                if attempt == _TRIES:
                    raise InstallError("the self-test found no free port of 127.0.0.1") from None
    raise AssertionError  # pragma: no cover - the loop returns or raises


class _PortTakenError(Exception):
    """Somebody took the port between its choice and its use."""


def _write_files(folder: Path, plan: Plan, interpreter: Interpreter, plugin: Path, tokens: Tokens) -> None:
    settings = plan.loaded.settings
    acl, config, keys = folder / "acl", folder / "gate.toml", folder / "keys.json"
    passwords = settings.mosquitto.password_file
    acl.write_text(plan.acl, encoding="utf-8")
    acl.chmod(0o600)
    keys.write_bytes(tokens.jwks)
    issuer = {"issuer": tokens.issuer, "audiences": [tokens.audience]}
    broker: dict[str, object] = {"acl_file": str(acl)}
    if passwords is not None:
        broker["password_file"] = passwords
    lines = ["[[issuers]]", *_toml(issuer), *_toml({"algorithms": ["ES256"], "jwks_file": str(keys)})]
    for account in settings.service_accounts:
        lines += ["[[service_accounts]]", *_toml(msgspec.to_builtins(account))]
    lines += ["[topics]", *_toml(msgspec.to_builtins(settings.topics)), "[mosquitto]", *_toml(broker)]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    stanza = write_stanza(plugin, interpreter, config, acl, None if passwords is None else Path(passwords))
    (folder / "stanza").write_text(stanza, encoding="utf-8")


def _toml(table: Mapping[str, object]) -> list[str]:
    """Strings, numbers, booleans and lists of them: JSON writes them as TOML does."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]


def _give(folder: Path, user: str | None) -> None:
    """Let the broker's user in."""
    owner = owner_of(user)
    if owner is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, *owner)


@contextlib.contextmanager
def _broker(mosquitto: Path, folder: Path, user: str | None) -> Iterator[tuple[int, Callable[[], None]]]:
    """The broker, running; gives its port, and what raises once it has ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    head = "" if user is None else f"user {user}\n"
    (folder / "mosquitto.conf").write_text(
        f"{head}log_dest stderr\npersistence_location {folder}/\n"
        f"{(folder / 'stanza').read_text(encoding='utf-8')}\nlistener {port} 127.0.0.1\n",
        encoding="utf-8",
    )
    _give(folder, user)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AUTHPLUGIN_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the broker found by the caller
            [str(mosquitto), "-c", str(folder / "mosquitto.conf")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
        )

    def alive() -> None:
        if process.poll() is None:
            return
        text = (folder / "log").read_text(encoding="utf-8", errors="replace")
        if "Address already in use" in text:
            raise _PortTakenError
        raise InstallError(f"the self-test's broker ended. Its last lines:\n{_last(text)}{_hint(text)}")

    try:
        yield port, alive
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _try_all(port: int, alive: Callable[[], None], plan: Plan, tokens: Tokens) -> Iterator[str]:
    """Each step with what was seen.

    Raises:
        InstallError: one came out otherwise.
    """
    end = time.monotonic() + SECONDS
    while True:
        alive()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        _pause(end, "the self-test's broker does not listen")
    yield "the plugin loads"
    yield _refused(port, tokens.asset_id, "no token", None)
    own, other = (_topic(plan, asset_id) for asset_id in (tokens.asset_id, f"{tokens.asset_id[:-3]}AAA"))
    while True:  # the key set is read beside the broker's own start
        alive()
        with _connection(port) as line:
            answer = _connect(line, tokens.asset_id, tokens.good)
            if answer.reason == SUCCESS:
                yield "it accepts a token that holds"
                yield from _try_topics(line, own, other)
                break
        _pause(end, f"the self-test's broker answered a good token with {answer.reason:#04x}")
    # Only now: without its keys it would refuse every token.
    yield _refused(port, tokens.asset_id, "a token signed by a stranger", tokens.bad)


def _refused(port: int, client_id: str, what: str, token: bytes | None) -> str:
    """See that a CONNECT is refused.

    Raises:
        InstallError: it is not.
    """
    with _connection(port) as line:
        answer = _connect(line, client_id, token)
    if answer.reason != NOT_AUTHORIZED:
        raise InstallError(f"the self-test's broker answered {what} with {answer.reason:#04x}, not 0x87")
    return f"it refuses {what}"


def _try_topics(line: socket.socket, own: str, other: str) -> Iterator[str]:
    for packet_id, topic, refused in ((1, own, False), (2, other, True)):
        line.sendall(write_publish(topic, b"{}", packet_id))
        answer = _receive(line, PUBACK)
        if (answer.reason == NOT_AUTHORIZED) is not refused:
            raise InstallError(
                f"the self-test's broker answered a publish on {topic} with {answer.reason:#04x}"
            )
        yield f"it {'refuses' if refused else 'accepts'} a publish on {topic}"


def _topic(plan: Plan, asset_id: str) -> str:
    """A topic that the asset may publish to."""
    (first, *_) = plan.loaded.policy.topics.publish_filters(asset_id)
    return first.replace("#", "selftest").replace("+", "selftest")


@contextlib.contextmanager
def _connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as line:
        yield line


def _connect(line: socket.socket, client_id: str, token: bytes | None) -> Packet:
    line.sendall(write_connect(client_id, username="", password=token))
    return _receive(line, CONNACK)


def _receive(line: socket.socket, kind: int) -> Packet:
    buffer = b""
    try:
        while (found := split_packet(buffer)) is None:
            data = line.recv(4096)
            if not data:
                raise InstallError("the self-test's broker closed the connection without an answer")
            buffer += data
    except TimeoutError:
        raise InstallError("the self-test's broker gave no answer") from None
    packet, _ = found
    if packet.kind != kind:
        raise InstallError(f"the self-test's broker answered with a packet of type {packet.kind}")
    return packet


def _pause(end: float, what: str) -> None:
    if time.monotonic() > end:
        raise InstallError(f"{what}, after {SECONDS:.0f} s")
    time.sleep(_PAUSE_SECONDS)


def _last(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-_LAST_LINES:])


def _hint(text: str) -> str:
    if "failed to map segment" in text:
        return f"\n{tempfile.gettempdir()} lets nothing be loaded (noexec): set TMPDIR to a place that does"
    return ""


def find_mosquitto() -> Path | None:
    """The broker's program; Debian keeps it outside an ordinary user's PATH."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/local/sbin"))
    found = shutil.which("mosquitto", path=path)
    return None if found is None else Path(found)
