"""Mosquitto's own configuration, read letter by letter as the broker reads it.

Whoever takes a line otherwise than the broker has checked another configuration. So nothing is
forgiven here that the broker does not forgive, and each line knows its file, because the broker
forgets at the end of a file which listener the next setting belongs to.
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from authplugin.errors import ConfigurationError

INCLUDE = "include_dir"
_BLANKS = " \t\n\v\f\r"
"""What the broker takes off both ends of a value (``isspace`` in C)."""
_SUFFIX = ".conf"


class Line(msgspec.Struct, frozen=True):
    """One setting.

    Attributes:
        file: where it stands.
        number: of the line in it, from 1.
        key: its first word.
        value: the rest; without blanks around it, unless it is that of ``include_dir``.
        written: the whole line as it stands there.
        reading: which file of those that the broker reads, one after the other: 0 is the one it is
            started with. A folder that is included twice is read twice.
    """

    file: Path
    number: int
    key: str
    value: str
    written: str
    reading: int

    @property
    def words(self) -> list[str]:
        """The value's words, as far as the broker looks: what follows a number or a truth is nobody's."""
        return [word for word in self.value.split(" ") if word]

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
    return BrokerConfiguration(file, tuple(_Reader(texts).read(file)), frozenset(texts))


class _Reader:
    """Reads one file and what it includes, counting the files."""

    def __init__(self, planned: Mapping[Path, str]) -> None:
        self._planned = planned
        self._readings = itertools.count()

    def read(self, file: Path, *, included: bool = False) -> Iterator[Line]:
        """Every setting of a file, in the order in which the broker reads them.

        Raises:
            ConfigurationError: as `read_configuration`.
        """
        reading = next(self._readings)
        # Only a newline ends a line for the broker; Python knows ten other characters that do.
        for number, line in enumerate(self._text(file).split("\n"), start=1):
            # It passes over a line by its first letter alone; of a blank it makes a key's beginning.
            written = line.rstrip("\r")
            if not written.strip(" ") or line[0] in "#\r":
                continue
            key, _, rest = written.lstrip(" ").partition(" ")
            value = rest if key == INCLUDE else rest.strip(_BLANKS)
            setting = Line(file, number, key, value, written, reading)
            if "\0" in written:
                raise setting.wrong("no NUL: the broker reads a line up to the first")
            if included and key == INCLUDE:
                raise setting.wrong("no such line in an included file: the broker passes over it")
            yield setting
            if key == INCLUDE:
                for each in self._folder(setting):
                    yield from self.read(each, included=True)

    def _text(self, file: Path) -> str:
        try:
            planned = self._planned.get(file)
            return file.read_bytes().decode(errors="replace") if planned is None else planned
        except OSError as error:
            raise ConfigurationError(
                file=str(file),
                line=None,
                key="the broker's configuration",
                found=error.strerror or "an error",
                expected="a file that the broker's user may read",
            ) from None

    def _folder(self, line: Line) -> list[Path]:
        """The files of a folder, by name: upper and lower case alike, as the broker reads them."""
        if not line.value:
            raise line.wrong("a folder")
        folder = Path(line.value)
        found = {path for path in self._planned if path.parent == folder}
        try:
            found |= set(folder.iterdir())
        except OSError as error:
            if not (found and isinstance(error, FileNotFoundError)):
                why = error.strerror or "an error"
                raise line.wrong(f"a folder that is there, with no blank around it ({why})") from None
        files = [path for path in found if path.name.endswith(_SUFFIX) and path.name != _SUFFIX]
        return sorted(files, key=lambda path: (path.name.lower(), path.name))
