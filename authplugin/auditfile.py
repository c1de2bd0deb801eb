"""The file under the audit: whole lines or none, and never more of them than was asked for.

Opened anew for each append, so that a file that logrotate moved away is let go of without a signal.
"""

import os
import stat
from pathlib import Path

from authplugin.errors import ConfigurationError

MODE = 0o600
# A pipe that took the file's place meanwhile is not waited for.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def check_place(path: Path) -> None:
    """Check that lines can be appended to a file there, as far as its kind tells; nothing is opened.

    Raises:
        ConfigurationError: it is no regular file (a pipe waits for its reader), or has no folder.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if path.parent.is_dir():
            return
        found = "no such folder"
    except OSError as error:
        found = error.strerror or type(error).__name__
    else:
        if stat.S_ISREG(mode):
            return
        found = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
    raise ConfigurationError(
        file=str(path),
        line=None,
        key="audit.file",
        found=found,
        expected="a regular file, or a name for one in a folder that is there",
    )


class AuditFile:
    """A file that lines are appended to, with the ones before it kept as ``<path>.1`` and so on.

    For one thread at a time.

    Attributes:
        path: the file in use; made with mode 0600, never through a symbolic link.
        error: what went wrong at the last append, "" when nothing did.

    Args:
        path: the file in use.
        rotate_bytes: size from which it is moved to ``<path>.1``; 0 to leave that to others.
        keep: files kept besides the one in use, at least one.
    """

    def __init__(self, path: Path, *, rotate_bytes: int = 0, keep: int = 1) -> None:
        self.path = path
        self.error = ""
        self._rotate_bytes = rotate_bytes
        self._keep = keep

    def append(self, text: bytes) -> int:
        """Append lines.

        Returns:
            The bytes that are in the file now, up to the end of a line: fewer than given when the
            disk is full or the file cannot be opened; `error` says why.
        """
        self.error = ""
        try:
            descriptor = os.open(self.path, _FLAGS, MODE)
        except OSError as error:
            self.error = error.strerror or type(error).__name__
            return 0
        with os.fdopen(descriptor, "wb", buffering=0):
            size = os.fstat(descriptor).st_size
            written = self._write(descriptor, text)
            if written < len(text):
                return self._cut(descriptor, size, text, written)
        if self._rotate_bytes and size + written >= self._rotate_bytes:
            self._rotate()
        return written

    def _write(self, descriptor: int, text: bytes) -> int:
        rest = memoryview(text)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError as error:
            self.error = error.strerror or type(error).__name__
        return len(text) - len(rest)

    def _cut(self, descriptor: int, size: int, text: bytes, written: int) -> int:
        """Take back half a line, so that the next one begins at its own beginning."""
        whole = text.rfind(b"\n", 0, written) + 1
        # Where somebody else appends as well, theirs stays.
        if written > whole and os.fstat(descriptor).st_size == size + written:
            os.ftruncate(descriptor, size + whole)
        return whole

    def _rotate(self) -> None:
        """Move each file one place on; what stood in the last place is gone."""
        names = [self.path.name, *(f"{self.path.name}.{place}" for place in range(1, self._keep + 1))]
        paths = [self.path.with_name(name) for name in names]
        try:
            for newer, older in zip(reversed(paths[:-1]), reversed(paths[1:]), strict=True):
                if newer.is_file():
                    newer.replace(older)
        except OSError as error:
            self.error = f"cannot be moved on ({error.strerror or type(error).__name__})"
