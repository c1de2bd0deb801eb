"""The last good key set on disk: lets a gate that restarts during an issuer's outage know its keys.

Public keys only, but whoever can write the file can forge tokens: mode 0600, written beside and
renamed, digest checked, and no older than the hard TTL allows.
"""

import contextlib
import hashlib
import os
import stat
from pathlib import Path

import msgspec

from authplugin.errors import KeySetError
from authplugin.keys.snapshot import KeySnapshot
from authplugin.keys.source import MAX_BYTES, read_regular

_MAX_FILE_BYTES = 2 * MAX_BYTES  # base64 and a few names around the largest set


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file's content: a set, whose it is, and when its issuer last vouched for it."""

    issuer: str
    fetched: float
    digest: str
    body: bytes


class LastGoodFile:
    """One issuer's file in a directory that only the gate's user may write."""

    def __init__(self, directory: Path, issuer: str) -> None:
        """The file's name is a digest: an issuer is a URL, and never a path."""
        self._issuer = issuer
        self.path = directory / f"{hashlib.sha256(issuer.encode()).hexdigest()[:32]}.jwks.json"

    def save(self, snapshot: KeySnapshot) -> None:
        """Replace the file; a crash leaves the old one or the new one.

        Raises:
            OSError: the directory is missing, full or not writable.
        """
        record = Record(
            self._issuer,
            snapshot.fetched,
            hashlib.sha256(snapshot.body).hexdigest(),
            snapshot.body,
        )
        beside = self.path.with_suffix(f".{os.getpid()}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(beside, flags, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)
                file.write(msgspec.json.encode(record))
                file.flush()
                os.fsync(descriptor)
            beside.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise

    def load(self, *, now: float, hard: float) -> Record | None:
        """The set to start with, None when there is no file.

        Args:
            now: seconds since the epoch.
            hard: seconds for which a set is trusted after its issuer vouched for it.

        Raises:
            KeySetError: the file may not be used; the text says why.
        """
        try:
            raw = self._read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeySetError(f"{self.path}: {error.strerror or 'cannot be read'}") from None
        try:
            record = msgspec.json.decode(raw, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise KeySetError(f"{self.path}: is not a saved key set") from None
        if record.issuer != self._issuer or record.digest != hashlib.sha256(record.body).hexdigest():
            raise KeySetError(f"{self.path}: was changed since it was saved")
        if not 0 <= now - record.fetched < hard:
            raise KeySetError(
                f"{self.path}: is {now - record.fetched:.0f} s old, at most {hard:.0f} s are trusted"
            )
        return record

    def _read(self) -> bytes:
        raw, status = read_regular(self.path, limit=_MAX_FILE_BYTES, flags=os.O_NOFOLLOW)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KeySetError(f"{self.path}: others may write it; expected mode 0600 and our own user")
        return raw
