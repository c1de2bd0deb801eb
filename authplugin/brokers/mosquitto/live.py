"""The configuration in force, and how a new one takes its place while the broker runs.

The broker reads its own files and asks about every client again at SIGHUP, so a change is adopted
there and nowhere else: one road, whether a person sends the signal or the watch of the files has the
plugin send it. What cannot stand is refused whole, and the old configuration goes on.
"""

import logging
from collections import deque
from pathlib import Path

import msgspec

from authplugin.brokers.assembly import Assembly
from authplugin.brokers.mosquitto.answers import ALLOW, DENY, LOG_ERROR, LOG_NOTICE, Effect, Reload, Tables
from authplugin.brokers.mosquitto.lines import line
from authplugin.brokers.mosquitto.preflight import check_broker
from authplugin.brokers.mosquitto.tables import make_tables
from authplugin.clock import Clock
from authplugin.errors import AuthpluginError, ConfigurationError
from authplugin.settings import Loaded, load
from authplugin.settings.file import MAX_BYTES, read_bytes
from authplugin.watch import Watch, WatchedFile

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 5.0
"""Between looks at what was refused: a file that it names may have come, or a right been given."""
_REMEMBERED = 16
_UNCHECKED = "the broker's configuration could not be checked"


class Ready(msgspec.Struct, frozen=True):
    """A configuration that may be adopted, with what the shim keeps of it."""

    loaded: Loaded
    tables: Tables


def read(path: Path) -> Ready:
    """Read the gate's configuration and check the broker's against it.

    Raises:
        AuthpluginError: what is wrong.
        OSError: a file cannot be read.
    """
    loaded = load(path)
    check_broker(loaded)
    read_bytes(Path(loaded.settings.mosquitto.acl_file), "mosquitto.acl_file")
    return Ready(loaded, make_tables(loaded.policy))


def set_log_level(loaded: Loaded) -> None:
    """Say no more than the configuration wants to hear."""
    logging.getLogger("authplugin").setLevel(_LEVELS[loaded.settings.mosquitto.log_level])


class LiveConfiguration:
    """What is in force, for the broker's thread; a thread of its own watches the files.

    Args:
        path: the gate's configuration.
        assembly: what stands by it.
        clock: for the watch.

    Attributes:
        wrong: what is wrong with the broker's own configuration since its reload, None when nothing
            is; nobody comes in while it is set.
    """

    def __init__(self, path: Path, assembly: Assembly, *, clock: Clock) -> None:
        self.wrong: str | None = None
        mosquitto = assembly.loaded.settings.mosquitto
        files = [
            WatchedFile(
                file,
                key,
                parse=self._examine,
                adopt=self._offer,
                count=lambda ready: len(ready.loaded.settings.issuers),
                limit=MAX_BYTES,
                quiet=True,
                retry_s=_RETRY_SECONDS,
                tell=self._hear,
            )
            for file, key in ((path, "config_file"), (Path(mosquitto.acl_file), "acl_file"))
        ]
        self._file = files[0]
        self._watch = Watch(files if mosquitto.watch_s else [], clock=clock, interval=mosquitto.watch_s)
        self._path = path
        self._assembly = assembly
        self._changed = False
        self._refused = False
        # What was wrong since all was right: what is found again, or at the other file as well, is no news.
        self._found: deque[str] = deque(maxlen=_REMEMBERED)
        # What was wrong when the broker last read them.
        self._stayed = ""

    def reload(self) -> Reload:
        """Adopt the files as they are now, if they can stand; the broker has just read its own."""
        # Shut until the check has passed: a failure of the check itself leaves it like that.
        self.wrong = _UNCHECKED
        self._changed = False
        assembly = self._assembly
        try:
            ready = read(self._path)
            effects: tuple[Effect, ...] = ()
            if ready.loaded.settings != assembly.loaded.settings:
                assembly.adopt(ready.loaded)
                set_log_level(ready.loaded)
                effects = (line(LOG_NOTICE, f"{self._path} is in force as it is now"),)
        except (AuthpluginError, OSError) as error:
            return self._stay(error)
        self.wrong = None
        self._refused = False
        self._stayed = ""
        self._found.clear()
        assembly.metrics.reloaded(good=True)
        return Reload(ALLOW, ready.tables, effects)

    def start(self) -> None:
        """Watch the files from now on.

        Raises:
            ConfigurationError: one of them cannot be watched.
        """
        self._watch.load()
        self._watch.start()

    def stop(self, timeout: float) -> None:
        """End the thread, within ``timeout`` seconds."""
        self._watch.stop(timeout)

    def _examine(self, _text: bytes, _name: str) -> Ready:
        """A file is another one: see, in the watch's thread, whether all of them can stand.

        Raises:
            ConfigurationError: they cannot.
        """
        try:
            ready = read(self._path)
            self._assembly.rehearse(ready.loaded)
        except (AuthpluginError, OSError) as error:
            raise self._mistake(error) from None
        self._found.clear()
        return ready

    def _hear(self, wrong: str) -> None:
        """A watched file was refused, whether it could be read or not: that counts, each mistake once."""
        if not self._refused or wrong not in self._found:
            self._refused = True
            self._found.append(wrong)
            self._assembly.metrics.reloaded(good=False)

    def _mistake(self, error: Exception) -> ConfigurationError:
        if isinstance(error, ConfigurationError):
            return error
        return ConfigurationError(
            file=str(self._path), line=None, key="config_file", found=str(error), expected="no such mistake"
        )

    def _offer(self, ready: Ready) -> None:
        """Have it adopted, unless it is in force and the broker has no other ``acl_file`` in its memory."""
        if ready.loaded.settings != self._assembly.loaded.settings or self.wrong is not None:
            self._changed = True
        elif self._refused:
            self._refused = False
            self._assembly.metrics.reloaded(good=True)

    def take_change(self) -> bool:
        """Whether there is a new configuration that can stand; once for each."""
        changed, self._changed = self._changed, False
        return changed

    def _stay(self, error: Exception) -> Reload:
        """Refuse the new configuration; the old one stays if the broker's own files still fit it."""
        wrong = str(self._mistake(error))
        self._refused = True
        self._found.append(wrong)
        self._assembly.metrics.reloaded(good=False)
        if wrong != self._stayed:
            # The watch may have found nothing wrong and not look again. Once for each mistake: were it one
            # that the watch cannot see, the broker would be told to reload for ever.
            self._file.refused = self._stayed = wrong
        text = f"the configuration in force stays until this is right: {error}"
        try:
            check_broker(self._assembly.loaded)
            self.wrong = None
        except (AuthpluginError, OSError) as broken:
            self.wrong = str(broken)
            text = f"nobody comes in until this is right: {broken}"
        return Reload(DENY, None, (line(LOG_ERROR, text),))
