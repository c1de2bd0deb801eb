"""Mosquitto's own configuration: what must hold in it, or the gate would stand beside an open door.

The plugin reads the very file the broker was started with (its command line says which), so there is
no second setting that could disagree. Each rule refuses what was seen to open a hole or to switch a
check off silently.
"""

import ipaddress
import itertools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from authplugin.errors import ConfigurationError

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Line(msgspec.Struct, frozen=True):
    """One setting as written: its file, line number (from 1), key and value."""

    file: Path
    number: int
    key: str
    value: str

    def wrong(self, expected: str) -> ConfigurationError:
        """The error that names this line."""
        found = self.value or "nothing"
        return ConfigurationError(
            file=str(self.file), line=self.number, key=self.key, found=found, expected=expected
        )


class BrokerConfiguration(msgspec.Struct, frozen=True):
    """A broker's configuration file, with what it includes.

    Attributes:
        file: the file the broker was started with.
        lines: every setting in the order the broker reads them.
        planned: files that are yet to be written.
    """

    file: Path
    lines: tuple[Line, ...]
    planned: frozenset[Path] = frozenset()

    def last(self, key: str) -> Line | None:
        """The line that decides ``key``: the last one."""
        found = [line for line in self.lines if line.key == key]
        return found[-1] if found else None

    def path(self, key: str) -> Path:
        """The file that ``key`` names.

        Raises:
            ConfigurationError: there is no such line, or no such file that we may read.
        """
        line = self.last(key)
        if line is None:
            raise ConfigurationError(
                file=str(self.file),
                line=None,
                key=key,
                found="no such line",
                expected=f"{key} FILE, as `authplugin mosquitto install` writes it",
            )
        path = Path(line.value)
        if path in self.planned:
            return path
        try:
            path.open("rb").close()
        except OSError as error:
            raise line.wrong(f"a file that the broker's user may read ({error.strerror})") from None
        return path


def find_configuration(command_line: bytes) -> Path:
    """The configuration file in a broker's command line (``/proc/self/cmdline``: NUL after each word).

    Raises:
        ConfigurationError: it names none, or more than one.
    """
    words = command_line.split(b"\0")
    named = [value for word, value in itertools.pairwise(words) if word in {b"-c", b"--config-file"}]
    if len(named) != 1:
        raise ConfigurationError(
            file="the broker's command line",
            line=None,
            key="-c",
            found=f"{len(named)} configuration files" if named else "no configuration file",
            expected="mosquitto with one -c FILE: it reads each, and all must be checked",
        )
    return Path(named[0].decode(errors="surrogateescape"))


def read_configuration(file: Path, planned: Mapping[Path, str] | None = None) -> BrokerConfiguration:
    """Read a configuration as the broker does, following ``include_dir``.

    Args:
        file: the file the broker is started with.
        planned: absolute path → text, of files that are yet to be written, or to be written anew.

    Raises:
        ConfigurationError: a file cannot be read, or has what the broker would read otherwise.
    """
    texts = {} if planned is None else planned
    return BrokerConfiguration(file, tuple(_lines(file, texts, included=False)), frozenset(texts))


def check_configuration(
    broker: BrokerConfiguration, *, service_accounts: Collection[str], allow_plaintext: bool
) -> None:
    """Check what must hold; `acl.check_acl` does the rest.

    Args:
        broker: what the broker runs with.
        service_accounts: user names that the password file is to know.
        allow_plaintext: whether a listener off loopback may do without TLS.

    Raises:
        ConfigurationError: the first line that is wrong.
    """
    for key, expected in _REFUSED.items():
        for setting in broker.lines:
            if setting.key == key and _BOOLEANS.get(setting.value.lower(), True):
                raise setting.wrong(expected)
    broker.path("acl_file")
    if service_accounts:
        passwords = broker.path("password_file")
        missing = sorted(set(service_accounts) - _names(passwords))
        line = broker.last("password_file")
        if missing and line is not None:
            raise line.wrong(
                f"a line for service account {missing[0]}, hashed (mosquitto_passwd FILE {missing[0]})"
            )
    if not allow_plaintext:
        for opening, address, encrypted in _listeners(broker):
            if not encrypted and not _is_local(address):
                raise opening.wrong(
                    "TLS (certfile, keyfile) or a loopback address: tokens are bearer passwords "
                    "(allow_plaintext = true in the gate's configuration lifts this)"
                    if opening.key in _NAMED
                    else "a `listener PORT 127.0.0.1` line before it: here it opens port 1883 to everybody"
                )


_REFUSED: Mapping[str, str] = {
    "per_listener_settings": "false: with true Mosquitto 2.0 never ticks, so expired sessions would stay",
    "allow_anonymous": "false: the gate refuses clients without a token, so this says what is not so",
    "use_identity_as_username": "no such line: with it the broker throws the token away unseen",
    "use_subject_as_username": "no such line: with it the broker throws the token away unseen",
}

_NAMED = ("listener", "bind_address", "port")
# Before the first `listener` these speak of the default listener, and it is opened for that alone.
_OPENING = frozenset(
    {
        *("bind_interface", "max_connections", "max_qos", "mount_point", "protocol", "socket_domain"),
        *("use_username_as_clientid", "cafile", "capath", "certfile", "ciphers", "ciphers_tls1.3", "crlfile"),
        *("dhparamfile", "keyfile", "psk_hint", "require_certificate", "tls_engine", "tls_keyform"),
    }
)


def _listeners(broker: BrokerConfiguration) -> Iterator[tuple[Line, str, bool]]:
    """Each listener: the line that opens it, its address ("" for any), and whether it speaks TLS.

    ``port`` and ``bind_address`` mean the default listener wherever they stand, all else the one before.
    """
    default = "", dict[str, Line]()
    listeners = [default]
    for line in broker.lines:
        if line.key == "listener":
            _, _, address = line.value.partition(" ")
            listeners.append((address.strip(), {"listener": line}))
        elif line.key in {"port", "bind_address"}:
            default[1][line.key] = line
        elif line.key in _OPENING:
            listeners[-1][1].setdefault(line.key, line)
    for address, lines in listeners:
        if lines:
            opening = next((lines[key] for key in _NAMED if key in lines), next(iter(lines.values())))
            bound = lines["bind_address"].value if "bind_address" in lines else address
            # With one of the two files alone the broker speaks plain MQTT, and says nothing.
            yield opening, bound, {"certfile", "keyfile"} <= lines.keys() or "psk_hint" in lines


def _is_local(address: str) -> bool:
    """Whether a listener's address is reachable from this machine alone."""
    if address == "localhost" or address.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _names(password_file: Path) -> set[str]:
    """User names in a password file: the text before the first colon of each line.

    A password that is no hash (``$7$…``) is one that the broker passes over.
    """
    lines = password_file.read_text(encoding="utf-8", errors="replace").splitlines()
    return {line.partition(":")[0] for line in lines if ":$" in line and not line.startswith("#")}


def _lines(file: Path, planned: Mapping[Path, str], *, included: bool) -> Iterator[Line]:
    try:
        # Only a newline ends a line for the broker; Python knows ten other characters that do.
        text = planned[file] if file in planned else file.read_bytes().decode(errors="replace")
    except OSError as error:
        raise ConfigurationError(
            file=str(file),
            line=None,
            key="the broker's configuration",
            found=error.strerror or "an error",
            expected="a file that the broker's user may read",
        ) from None
    for number, written in enumerate(text.split("\n"), start=1):
        stripped = written.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, _, value = stripped.partition(" ")
        line = Line(file, number, key, value.strip())
        if "\0" in stripped:
            raise line.wrong("no NUL: the broker reads a line up to the first")
        if key != "include_dir":
            yield line
        elif included:
            raise line.wrong("no such line in an included file: the broker passes over it")
        else:
            folder = Path(line.value)
            found = {*folder.glob("*.conf"), *(path for path in planned if _is_in(path, folder))}
            # The broker reads the files of a folder by name, upper and lower case alike.
            for each in sorted(found, key=lambda path: (path.name.lower(), path.name)):
                yield from _lines(each, planned, included=True)


def _is_in(path: Path, folder: Path) -> bool:
    return path.parent == folder and path.suffix == ".conf"
