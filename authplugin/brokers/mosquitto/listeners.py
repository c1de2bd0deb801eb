"""The listeners that a broker's configuration opens, and which of them speaks in the clear.

A setting of a listener belongs to the one before it in the same file. Where there is none before it,
it belongs to the default listener, which is open to everybody on port 1883 as soon as one setting
speaks of it. Seen on Mosquitto 2.0.11 and 2.1.2, as is each rule here.
"""

import ipaddress
from collections.abc import Iterable, Iterator

import msgspec

from authplugin.brokers.mosquitto.configuration import Line
from authplugin.errors import ConfigurationError

NAMING = ("listener", "bind_address", "port")
"""What says that there is a listener."""
_DEFAULT = frozenset({"bind_address", "port"})
# Where no listener is before them these speak of the default listener, and it is opened for that alone.
_OPENING = frozenset(
    {
        *("bind_interface", "max_connections", "max_qos", "mount_point", "protocol", "socket_domain"),
        *("use_identity_as_username", "use_subject_as_username", "use_username_as_clientid"),
        *("cafile", "capath", "certfile", "ciphers", "ciphers_tls1.3", "crlfile", "dhparamfile", "keyfile"),
        *("psk_hint", "require_certificate", "tls_engine", "tls_engine_kpass_sha1", "tls_keyform"),
    }
)
# And these are a listener's as well, but open none.
_OTHERS = frozenset(
    {
        *("accept_protocol_versions", "disable_client_cert_date_checks", "enable_proxy_protocol", "http_dir"),
        *("listener_allow_anonymous", "listener_auto_id_prefix", "max_topic_alias", "max_topic_alias_broker"),
        *("proxy_protocol_v2_require_tls", "tls_version", "websockets_origin"),
    }
)


class OpenListener(msgspec.Struct, frozen=True):
    """A listener that a configuration opens.

    Attributes:
        opening: the line that opens it.
        address: what it is bound to, "" for every address.
        encrypted: whether it speaks TLS.
        bounded: whether a line bounds its clients.
    """

    opening: Line
    address: str
    encrypted: bool
    bounded: bool

    @property
    def local(self) -> bool:
        """Whether it is reachable from this machine alone."""
        if self.address == "localhost" or self.address.startswith("/"):
            return True
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False


class _Draft:
    """A listener while its settings are read: those that open or encrypt one, by key."""

    def __init__(self, address: str = "") -> None:
        self.address = address
        self.lines: dict[str, Line] = {}
        self.by_websocket = False

    def add(self, line: Line) -> None:
        """One more setting of it: the first of each key says where it was opened."""
        self.lines.setdefault(line.key, line)
        if line.key == "protocol" and line.words[:1] == ["websockets"]:
            self.by_websocket = True

    def finish(self) -> OpenListener:
        """The listener that they make."""
        lines = self.lines
        opening = next((lines[key] for key in NAMING if key in lines), next(iter(lines.values())))
        address = lines["bind_address"].value if "bind_address" in lines else self.address
        # With one of the two files alone the broker speaks plain MQTT, and 2.0 says nothing.
        # And by WebSocket, 2.0 knows nothing of pre-shared keys.
        encrypted = {"certfile", "keyfile"} <= lines.keys() or ("psk_hint" in lines and not self.by_websocket)
        return OpenListener(opening, address, encrypted, "max_connections" in lines)


def find_listeners(lines: Iterable[Line], *, turning: bool = False) -> list[OpenListener]:
    """The listeners that a broker with these lines has.

    Args:
        lines: in the order in which it reads them.
        turning: whether ``port`` and ``bind_address``, which always mean the default listener, turn what
            follows to it, too: in 2.1 they do, in 2.0 what follows belongs to the listener before them.
    """
    default = _Draft()
    drafts = [default]
    current: dict[int, _Draft] = {}
    for line in lines:
        if line.key == "listener":
            # A word that begins with # is no address, and nothing behind it is.
            address = line.words[1] if len(line.words) > 1 else ""
            drafts.append(_Draft("" if address.startswith("#") else address))
            current[line.reading] = drafts[-1]
            drafts[-1].lines[line.key] = line
        elif line.key in _DEFAULT:
            default.lines[line.key] = line
            if turning:
                current[line.reading] = default
        elif line.key in _OPENING:
            current.get(line.reading, default).add(line)
    return [draft.finish() for draft in drafts if draft.lines]


def find_lost(lines: Iterable[Line]) -> Iterator[Line]:
    """Settings of a listener that reach none.

    When an included file opens a listener, the broker moves its list of them, and goes on in the file
    that includes with where its own listener was: what comes for that is written into freed memory, and
    a listener whose certificate stands there speaks in the clear.
    """
    has_one = moved = False
    for line in lines:
        opens = line.key in NAMING or line.key in _OPENING
        if line.reading:
            moved = moved or (has_one and opens)
        elif line.key in NAMING:
            has_one, moved = True, moved and line.key != "listener"
        elif opens or line.key in _OTHERS:
            if moved:
                yield line
            has_one = has_one or opens


def find_plaintext(lines: Iterable[Line]) -> Iterator[ConfigurationError]:
    """What is wrong with each listener off loopback that is without TLS in some Mosquitto."""
    lines = list(lines)
    found: dict[tuple[int, int], Line] = {}
    for turning in (False, True):
        for listener in find_listeners(lines, turning=turning):
            if not listener.encrypted and not listener.local:
                found.setdefault((listener.opening.reading, listener.opening.number), listener.opening)
    for _, line in sorted(found.items()):
        yield line.wrong(
            "TLS (certfile and keyfile after it, in the same file, before any other listener, port or "
            "bind_address) or a loopback address: tokens are bearer passwords "
            "(allow_plaintext = true in the gate's configuration lifts this)"
            if line.key in NAMING
            else "a `listener PORT 127.0.0.1` line before it in the same file: here it opens port 1883 to "
            "everybody"
        )
