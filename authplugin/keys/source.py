"""Where key sets come from: one question, three answers (a set, the same as before, a `KeySetError`)."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Protocol

import msgspec

from authplugin.errors import KeySetError

MAX_BYTES = 65536
"""Largest key set that is read."""


class Answer(msgspec.Struct, frozen=True):
    """What a source said.

    Attributes:
        body: the key set's text; None when it is the one named by the ``etag`` asked with.
        etag: names this text, None when the source has no names for texts.
        max_age: seconds for which the source says the answer holds, None when it does not say.
    """

    body: bytes | None
    etag: str | None = None
    max_age: float | None = None


class KeySource(Protocol):
    """Something that can be asked for an issuer's key set."""

    def fetch(self, etag: str | None) -> Answer:
        """Ask for the set; ``etag`` names the one already held.

        Raises:
            KeySetError: no answer, or one that may not be used; the text says why.
        """


class FileSource:
    """A key set in a file, for issuers whose keys are uploaded rather than fetched."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fetch(self, etag: str | None) -> Answer:
        """Read the file; see `KeySource.fetch`. Its digest is its name.

        Raises:
            KeySetError: missing, unreadable, over 64 kB, not a regular file, or writable by anyone.
        """
        try:
            body = self._read()
        except OSError as error:
            raise KeySetError(f"{self._path}: {error.strerror or 'cannot be read'}") from None
        name = hashlib.sha256(body).hexdigest()
        return Answer(None if name == etag else body, name)

    def _read(self) -> bytes:
        body, status = read_regular(self._path, limit=MAX_BYTES)
        if status.st_mode & stat.S_IWOTH:
            raise KeySetError(f"{self._path}: anyone may write it; expected mode 0644 or stricter")
        return body


def read_regular(path: Path, *, limit: int, flags: int = 0) -> tuple[bytes, os.stat_result]:
    """Read a regular file of at most ``limit`` bytes, and what it was when it was opened.

    Raises:
        OSError: it is missing or may not be read.
        KeySetError: it is no regular file (a pipe would be waited for), or longer.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeySetError(f"{path}: is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            body = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(body) > limit:
        raise KeySetError(f"{path}: has more than {limit} bytes")
    return body, status
