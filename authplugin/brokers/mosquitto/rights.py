"""What a gate does that the broker's user may not: make a socket, write a file, take a low port.

Mosquitto started as root becomes that user before it loads plugins, so whoever checks as root is told
nothing by trying. Looked at are the rights of owner, groups and others, not access control lists.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from authplugin.brokers.mosquitto.build import unreadable
from authplugin.errors import ConfigurationError
from authplugin.settings import GateSettings

_FIRST_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def find_forbidden(settings: GateSettings, user: str) -> Iterator[ConfigurationError]:
    """What the settings ask for that a broker's user may not do.

    Args:
        settings: of the gate.
        user: whom the broker runs as; for root, and where there is no such user, nothing is found.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return
    if entry.pw_uid == 0:
        return
    yield from _find_low_ports(settings, user)
    for key, path in _written(settings):
        if not path.exists():
            # A service's folder below /run is made when it starts.
            if path.is_relative_to("/run"):
                continue
            found = "no such folder"
        elif unreadable([path], user) or not _may_write(path, entry):
            found = f"no right of user {user} to write there"
        else:
            continue
        yield ConfigurationError(
            file=str(path),
            line=None,
            key=key,
            found=found,
            expected=f"what the broker's user may write (sudo install -d -o {user} FOLDER makes a folder)",
        )


def find_open_files(*files: Path) -> Iterator[ConfigurationError]:
    """Configuration that anybody may write: a gate that watches it does not start with it.

    Args:
        files: those that are there are looked at.
    """
    for path in files:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
            yield ConfigurationError(
                file=str(path),
                line=None,
                key="the file",
                found="a file that anyone may write",
                expected="mode 0644 or stricter",
            )


def _find_low_ports(settings: GateSettings, user: str) -> Iterator[ConfigurationError]:
    try:
        first = int(_FIRST_PORT.read_text(encoding="ascii"))
    except (OSError, ValueError):
        first = 1024
    for key, port in (("metrics.port", settings.metrics.port), ("admin.port", settings.admin.port)):
        if port is not None and 0 < port < first:
            yield ConfigurationError(
                file="the gate's configuration",
                line=None,
                key=key,
                found=str(port),
                expected=f"a port from {first} on: the broker's user, {user}, may take no lower one",
            )


def _written(settings: GateSettings) -> Iterator[tuple[str, Path]]:
    """Files that are there and are written to, and folders in which files are made."""
    if settings.admin.socket is not None:
        yield "admin.socket", Path(settings.admin.socket).parent
    if settings.audit.file is not None:
        file = Path(settings.audit.file)
        if file.exists():
            yield "audit.file", file
        if not file.exists() or settings.audit.rotate_bytes:
            yield "audit.file", file.parent
    if settings.keys.last_good_dir is not None:
        yield "keys.last_good_dir", Path(settings.keys.last_good_dir)


def _may_write(path: Path, entry: pwd.struct_passwd) -> bool:
    status = path.stat()
    needed = stat.S_IWOTH
    if status.st_uid == entry.pw_uid:
        needed = stat.S_IWUSR
    elif status.st_gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        needed = stat.S_IWGRP
    return bool(status.st_mode & needed)
