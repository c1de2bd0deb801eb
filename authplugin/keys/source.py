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
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeySetError(f"{self._path}: is not a regular file")
            if status.st_mode & stat.S_IWOTH:
                raise KeySetError(f"{self._path}: anyone may write it; expected mode 0644 or stricter")
            body = file.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise KeySetError(f"{self._path}: has more than {MAX_BYTES} bytes")
        return body
