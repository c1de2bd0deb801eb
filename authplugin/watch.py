"""Watches files that change what is let in, and reads them off the path of requests.

A thread looks at each file's stat ten times a second and reads it when that changed. What a file
says is compiled here and handed over whole. A file that is wrong is refused whole: what was in force
stays, the log says which line, a metric says so until it is right. A file that vanishes takes nothing
back. Write a new file beside the old one and rename it: then nobody ever reads half of it.
"""

import functools
import logging
import os
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from authplugin.clock import Clock
from authplugin.errors import ConfigurationError, ConfigurationErrors, KeySetError
from authplugin.keys.source import read_regular

INTERVAL_SECONDS = 0.1
"""Between looks; with a door that asks four times a second what is due, a session is gone well within one."""

_IDLE = 20.0
"""A refused file is left alone for this many times as long as reading it took, if that is longer."""

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


class WatchState(msgspec.Struct, frozen=True):
    """What is known of a watched file.

    Attributes:
        name: what it is.
        good: whether what is in force is what the file says now.
        age: seconds since what is in force was read.
        entries: how much that is.
    """

    name: str
    good: bool
    age: float
    entries: int


class WatchedFile(Generic[T]):
    """One file, what to make of it, and whom to give it.

    Args:
        path: the file.
        key: the setting that names it, for mistakes.
        name: what it is, for metrics.
        parse: compiles its bytes; raises `ConfigurationError` for a file that is wrong.
        adopt: puts the result in force, on the door's thread.
        count: how many entries a result has.
        limit: most bytes that are read.
        quiet: whether its owner says what was read.
        retry_s: seconds after which a file that was refused is read again though it is the same: what it
            names may have come since. None for never.
        tell: hears what is wrong with it when that is news; it is called by the watching thread.

    Attributes:
        refused: what is wrong with it, "" when nothing is known; its owner may set it, to have it read again.
    """

    def __init__(  # noqa: PLR0913 - all there is to say of a file, by name
        self,
        path: Path,
        key: str,
        *,
        name: str = "",
        parse: Callable[[bytes, str], T],
        adopt: Callable[[T], object],
        count: Callable[[T], int],
        limit: int,
        quiet: bool = False,
        retry_s: float | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.quiet = quiet
        self.refused = ""
        self.path = path
        self.good = False
        self.read_at = 0.0
        self.entries = 0
        self._key = key
        self._parse = parse
        self._adopt = adopt
        self._count = count
        self._limit = limit
        self._retry_s = retry_s
        self._tell = tell
        self._tried = 0.0
        self._took = 0.0
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """Whether the file is another one than when it was last looked at."""
        return self._look() != self._seen

    def worth_a_try(self, now: float) -> bool:
        """Whether it was refused long enough ago, in monotonic seconds, to be read again as it is."""
        if not self.refused or self._retry_s is None:
            return False
        return now - self._tried >= max(self._retry_s, _IDLE * self._took)

    def refuse(self, wrong: str, said: str) -> bool:
        """Note what is wrong with it; whether that is news beside what was ``said`` of it."""
        self.refused = wrong
        if wrong == said:
            return False
        if self._tell is not None:
            self._tell(wrong)
        return True

    def note_time(self, seconds: float) -> None:
        """Note what the last read took: what fails after a million lines is not read all day long."""
        self._took = seconds

    def load(self, now: float) -> Callable[[], None]:
        """Read the file; what is returned puts it in force.

        Args:
            now: monotonic seconds.

        Raises:
            ConfigurationError: it cannot be read, anyone may write it, or what it says is wrong;
                what was in force before still is.
        """
        self._seen = self._look()
        self._tried = now
        self.good = False
        try:
            text, status = read_regular(self.path, limit=self._limit)
        except OSError as error:
            raise self._refusal(error.strerror or "what cannot be read", "a readable file") from None
        except KeySetError as error:
            raise self._refusal(str(error), f"a file of at most {self._limit} bytes") from None
        if status.st_mode & stat.S_IWOTH:
            raise self._refusal("a file that anyone may write", "mode 0644 or stricter")
        result = self._parse(text, str(self.path))
        return functools.partial(self._put_in_force, result, now)

    def _put_in_force(self, result: T, now: float) -> None:
        self._adopt(result)
        self.good, self.read_at, self.entries = True, now, self._count(result)

    def _look(self) -> tuple[int, ...] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode

    def _refusal(self, found: str, expected: str) -> ConfigurationError:
        return ConfigurationError(
            file=str(self.path), line=None, key=self._key, found=found, expected=expected
        )


class Watch:
    """The thread that watches.

    Args:
        files: what to watch.
        clock: for the age of what is in force.
        post: has work done on the door's thread; None when the watching thread may do it.
        interval: seconds between looks.
    """

    def __init__(
        self,
        files: Sequence[WatchedFile[Any]],
        *,
        clock: Clock,
        post: Callable[[Callable[[], None]], None] | None = None,
        interval: float = INTERVAL_SECONDS,
    ) -> None:
        self._files = tuple(files)
        self._post = _do if post is None else post
        self._clock = clock
        self._interval = interval
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        """Read every file for the first time, and put all in force; on the door's thread.

        Raises:
            ConfigurationError: one is missing or wrong; none is in force then.
        """
        for put_in_force in self.read():
            put_in_force()

    def read(self) -> list[Callable[[], None]]:
        """Read every file; what is returned puts them in force, on the door's thread.

        Raises:
            ConfigurationError: as `load`.
        """
        with self._lock:
            return [file.load(self._clock.monotonic()) for file in self._files]

    def step(self) -> None:
        """Look once, and read what changed; for any thread."""
        with self._lock:
            for file in self._files:
                now = self._clock.monotonic()
                changed = file.changed()
                if changed or file.worth_a_try(now):
                    self._reload(file, now, changed=changed)
                    file.note_time(self._clock.monotonic() - now)

    def states(self) -> list[WatchState]:
        """What is known of each file."""
        now = self._clock.monotonic()
        return [WatchState(file.name, file.good, now - file.read_at, file.entries) for file in self._files]

    def start(self) -> None:
        """Start the thread."""
        if self._files:
            self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
            self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread, within ``timeout`` seconds."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _reload(self, file: WatchedFile[Any], now: float, *, changed: bool) -> None:
        # What was said of a file is not said again at every further try.
        said, file.refused = "" if changed else file.refused, ""
        try:
            self._post(functools.partial(self._put_in_force, file.load(now)))
        except ConfigurationError as error:
            if file.refuse(str(error), said):
                for one in error.errors if isinstance(error, ConfigurationErrors) else (error,):
                    _LOG.error("%s; the one before stays in force", one)
        except Exception as error:  # noqa: BLE001 - a thread that dies would let revocations go unread
            if file.refuse(type(error).__name__, said):
                _LOG.error("%s was not read: %s", file.path, file.refused)
        else:
            if file.quiet:
                return
            _LOG.info("read %s", file.path)

    def _put_in_force(self, work: Callable[[], None]) -> None:
        """Do it, unless another watch has taken over meanwhile."""
        if not self._stopping.is_set():
            work()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self.step()


def _do(work: Callable[[], None]) -> None:
    """Do it here and now."""
    work()


def replace_file(path: Path, text: bytes) -> None:
    """Replace a file's content: whoever reads it sees the old or the new, also after a crash.

    Its owner and mode stay; where the path is a symbolic link, so does that, and its target is
    replaced. Needs the right to write the file's directory.

    Raises:
        OSError: that right is missing, or the disk is full; the file is as it was.
    """
    status = path.stat()
    path = path.resolve()
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
            file.write(text)
            file.flush()
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
