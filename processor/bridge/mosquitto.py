"""What in a Mosquitto's configuration would lose messages (mosquitto.conf(5)); all of it was measured.

Left as it is, Mosquitto drops in silence: beyond 1,000 queued messages, QoS 0 while the bridge is away, and
at a kill everything since the last save, half an hour ago.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from processor.errors import ConfigurationError
from processor.finding import Finding
from processor.settings import MqttSettings

_DEFAULT = Path("/etc/mosquitto/mosquitto.conf")
#: Fewer queued messages than this are an outage of minutes only.
_QUEUED = 100_000
#: Memory of a queued message: 448 bytes were measured.
_MESSAGE = 448
#: The largest payload that a dead letter holds, with room for its headers in Kafka's 16 MiB.
_WHOLE = 16_000_000
_DEEPEST = 5
_PERIOD = re.compile(r"(\d+)([hdwmy])")
_SECONDS = {"h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}


class Line(NamedTuple):
    """Where a key was set, and to what."""

    file: str
    number: int | None
    value: str


Configuration = Mapping[str, Line]


def find_file() -> Path | None:
    """The configuration of the broker that runs on this host, else Debian's, else None."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if Path(words[0].decode()).name == "mosquitto" and b"-c" in words[:-1]:
                named = Path(words[words.index(b"-c") + 1].decode())
                return named if named.is_absolute() else (process / "cwd").readlink() / named
        except (OSError, UnicodeDecodeError):
            continue  # it has ended, or is somebody else's
    return _DEFAULT if _DEFAULT.exists() else None


def read_configuration(file: Path) -> dict[str, Line]:
    """Every key's last line, ``include_dir`` followed.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    found: dict[str, Line] = {}
    for line, key, value in _lines(file, 0):
        found[key] = Line(line[0], line[1], value)
    return found


def _lines(file: Path, depth: int) -> Iterator[tuple[tuple[str, int], str, str]]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ConfigurationError(
            file=str(file),
            line=None,
            key="--broker-config",
            found=error.strerror or "an error",
            expected="the broker's mosquitto.conf, readable",
        ) from None
    for number, line in enumerate(lines, 1):
        # Leading blanks make no key to Mosquitto, and neither do comments.
        key, _, value = line.partition(" ")
        if not key or key.startswith("#"):
            continue
        yield (str(file), number), key, value.strip()
        if key == "include_dir" and depth < _DEEPEST:
            for each in sorted(Path(value.strip()).glob("*.conf")):
                yield from _lines(each, depth + 1)


class _Rule(NamedTuple):
    """When a key is wrong; `default` is what counts when it is not set."""

    key: str
    default: str
    wrong: Callable[[str, MqttSettings, Configuration], bool]
    expected: str
    why: str


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1


def _is_true(text: str) -> bool:
    return text.lower() in {"true", "1"}


def _value(found: Configuration, key: str, default: str) -> str:
    return found[key].value if key in found else default


def _seconds(period: str) -> int:
    match = _PERIOD.fullmatch(period)
    return int(match[1]) * _SECONDS[match[2]] if match else 0


def _memory(text: str, _mqtt: MqttSettings, found: Configuration) -> bool:
    queued = max(_number(_value(found, "max_queued_messages", "1000")), _QUEUED)
    return 0 < _number(text) < queued * _MESSAGE


def _unbounded(text: str, _mqtt: MqttSettings, found: Configuration) -> bool:
    packet = _number(_value(found, "max_packet_size", "0"))
    return not (0 < _number(text) <= _WHOLE or 0 < packet <= _WHOLE)


_RULES = (
    _Rule(
        "max_queued_messages", "1000", lambda text, _mqtt, _found: _number(text) < _QUEUED,
        "1000000 (not 0: with it 2.0.11 ends a client's connection after its first refused publish)",
        "what comes while the bridge is away is dropped beyond it, and the device is told that it arrived",
    ),
    _Rule(
        "max_queued_bytes", "0", lambda text, _mqtt, _found: 0 < _number(text) < _QUEUED * _MESSAGE,
        "at least 44800000 (0 is no bound: large messages fill the memory)",
        "what comes while the bridge is away is dropped beyond it, and the device is told that it arrived",
    ),
    _Rule(
        "memory_limit", "0", _memory, "0, or 448 bytes for each of max_queued_messages",
        "at the limit the broker takes no more messages",
    ),
    _Rule(
        "max_inflight_messages", "20",
        lambda text, mqtt, _found: _number(text) < min(mqtt.receive_maximum, 2000),
        "2000 (not 0, which is no bound)",
        "it is the whole window of a bridge on MQTT 3.1.1, and with 0 nothing holds a backlog back",
    ),
    _Rule(
        "persistence", "false", lambda text, _mqtt, _found: not _is_true(text), "true",
        "a restart of the broker forgets sessions, and all that waits in them",
    ),
    _Rule(
        "autosave_interval", "1800", lambda text, _mqtt, _found: not 1 <= _number(text) <= 5,  # noqa: PLR2004 - seconds that may be lost
        "1",
        "a kill or a power cut loses what came since the last save, in seconds",
    ),
    _Rule(
        "autosave_on_changes", "false", lambda text, _mqtt, _found: _is_true(text), "false",
        "autosave_interval then counts changes: each message costs a save of the whole database",
    ),
    _Rule(
        "upgrade_outgoing_qos", "false",
        lambda text, _mqtt, found: not _is_true(text)
        and not _is_true(_value(found, "queue_qos0_messages", "false")),
        "true",
        "what devices publish at QoS 0 is dropped while the bridge is away",
    ),
    _Rule(
        "persistent_client_expiration", "", lambda text, mqtt, _found: _seconds(text) < mqtt.session_expiry,
        "14d, or what is longer than mqtt.session_expiry",
        "without it queues that nobody drains grow for ever; too short, it ends the bridge's own session",
    ),
    _Rule(
        "retain_available", "true", lambda text, _mqtt, _found: not _is_true(text), "true",
        "the bridge's heartbeat is retained: without it the broker ends the bridge's connection",
    ),
    _Rule(
        "message_size_limit", "0", _unbounded, "262144, at most 16000000; or max_packet_size as low",
        "Kafka takes no larger message, not even as a dead letter: only its beginning is kept",
    ),
    _Rule(
        "max_qos", "2", lambda text, _mqtt, _found: _number(text) < 1, "1 or 2",
        "at QoS 0 nobody learns that a message was lost",
    ),
)  # fmt: skip


def check_configuration(file: Path, mqtt: MqttSettings) -> list[Finding]:
    """What in the broker's file would lose messages of this bridge.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    found = read_configuration(file)
    findings = []
    for rule in _RULES:
        line = found.get(rule.key, Line(str(file), None, rule.default))
        if rule.wrong(line.value, mqtt, found):
            shown = line.value if rule.key in found else f"nothing, which is {line.value or 'never'}"
            findings.append(Finding(line.file, line.number, rule.key, shown, rule.expected, rule.why))
    if "acl_file" in found:
        findings += _check_acl(found["acl_file"], mqtt)
    return findings


def _check_acl(line: Line, mqtt: MqttSettings) -> list[Finding]:
    """Whether the ``acl_file`` lets the bridge's account read its filters and beat (mosquitto.conf(5))."""
    try:
        text = Path(line.value).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return [
            Finding(
                line.file, line.number, "acl_file", error.strerror or "an error", "a readable file",
                "what the bridge may read cannot be checked",
            )
        ]  # fmt: skip
    granted: dict[str, set[str]] = {"read": set(), "write": set()}
    user, at = None, None
    for number, row in enumerate(text.splitlines(), 1):
        words = row.split(maxsplit=2)
        if words[:1] == ["user"] and len(words) > 1:
            user = row.split(maxsplit=1)[1].strip()
            at = number if user == mqtt.username else at
        elif len(words) > 1 and (words[0] == "pattern" or (words[0] == "topic" and user == mqtt.username)):
            access, topic = (words[1], words[2]) if len(words) == 3 else ("readwrite", words[1])  # noqa: PLR2004 - topic, access, name
            if words[0] == "pattern":  # it is for every user, wherever it stands
                topic = topic.replace("%c", mqtt.client_id).replace("%u", mqtt.username or "%u")
            for kind in ("read", "write"):
                if kind in access:
                    granted[kind].add(topic.strip())
    wanted = [("read", name) for name in (*mqtt.filters, mqtt.heartbeat_topic)]
    return [
        Finding(
            line.value, at, f"user {mqtt.username}", f"no `topic {kind} {name}`", "that line",
            "an ACL drops in silence: the broker grants the subscription and delivers nothing"
            if kind == "read"
            else "the bridge cannot prove that the road is open, and the worker's clock stands",
        )
        for kind, name in [*wanted, ("write", mqtt.heartbeat_topic)]
        if not any(_covers(one, name) for one in granted[kind])
    ]  # fmt: skip


def _covers(outer: str, inner: str) -> bool:
    """Whether every topic that the inner filter matches, the outer one does (MQTT 5, 4.7.1)."""
    left, right = outer.split("/"), inner.split("/")
    for place, level in enumerate(left):
        if level == "#":
            return True
        if place >= len(right) or right[place] == "#" or level not in {"+", right[place]}:
            return False
    return len(left) == len(right)
