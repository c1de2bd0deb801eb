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
    """

    file: Path
    lines: tuple[Line, ...]

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
                expected=f"{key} FILE, as `authplugin mosquitto build` prints it",
            )
        path = Path(line.value)
        try:
            path.open("rb").close()
        except OSError as error:
            raise line.wrong(f"a file that the broker's user may read ({error.strerror})") from None
        return path


def find_configuration(command_line: bytes) -> Path:
    """The configuration file in a broker's command line (``/proc/self/cmdline``: NUL after each word).

    Raises:
        ConfigurationError: it names none.
    """
    words = command_line.split(b"\0")
    for word, following in itertools.pairwise(words):
        if word in {b"-c", b"--config-file"}:
            return Path(following.decode(errors="surrogateescape"))
    raise ConfigurationError(
        file="the broker's command line",
        line=None,
        key="-c",
        found="no configuration file",
        expected="mosquitto -c FILE",
    )


def read_configuration(file: Path) -> BrokerConfiguration:
    """Read a configuration as the broker does, following ``include_dir``.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    return BrokerConfiguration(file, tuple(_lines(file)))


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
            raise line.wrong(f"a line for service account {missing[0]} (mosquitto_passwd FILE {missing[0]})")
    if not allow_plaintext:
        for listener, encrypted in _listeners(broker):
            if not encrypted and not _is_local(listener):
                raise listener.wrong(
                    "TLS (certfile, keyfile) or a loopback address: tokens are bearer passwords "
                    "(allow_plaintext = true in the gate's configuration lifts this)"
                )


_REFUSED: Mapping[str, str] = {
    "per_listener_settings": "false: with true Mosquitto 2.0 never ticks, so expired sessions would stay",
    "allow_anonymous": "false: the gate refuses clients without a token, so this says what is not so",
    "use_identity_as_username": "no such line: with it the broker throws the token away unseen",
    "use_subject_as_username": "no such line: with it the broker throws the token away unseen",
}

_TLS = frozenset({"certfile", "keyfile", "psk_hint"})


def _listeners(broker: BrokerConfiguration) -> Iterator[tuple[Line, bool]]:
    """Each listener's line, and whether it speaks TLS."""
    current: Line | None = None
    encrypted = False
    for line in broker.lines:
        if line.key in {"listener", "port"}:
            if current is not None:
                yield current, encrypted
            current, encrypted = line, False
        elif line.key in _TLS:
            encrypted = True
    if current is not None:
        yield current, encrypted


def _is_local(line: Line) -> bool:
    """Whether a ``listener PORT [ADDRESS]`` line is reachable from this machine alone."""
    _, _, address = line.value.partition(" ")
    address = address.strip()
    if address == "localhost" or address.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _names(password_file: Path) -> set[str]:
    """User names in a password file: the text before the first colon of each line."""
    lines = password_file.read_text(encoding="utf-8", errors="replace").splitlines()
    return {line.partition(":")[0] for line in lines if ":" in line and not line.startswith("#")}


def _lines(file: Path) -> Iterator[Line]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(
            file=str(file),
            line=None,
            key="the broker's configuration",
            found=error.strerror or "an error",
            expected="a file that the broker's user may read",
        ) from None
    for number, written in enumerate(text.splitlines(), start=1):
        stripped = written.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, _, value = stripped.partition(" ")
        line = Line(file, number, key, value.strip())
        if key == "include_dir":
            # The broker reads the files of a folder by name, upper and lower case alike.
            for included in sorted(
                Path(line.value).glob("*.conf"), key=lambda path: (path.name.lower(), path.name)
            ):
                yield from _lines(included)
        else:
            yield line
