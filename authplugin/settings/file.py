"""A TOML file and the environment, read into a frozen model; every mistake is found, with its line.

The model says all there is to know: its fields' types, bounds, descriptions and units. A key the
model does not know is a mistake too, answered with the nearest one it does.
"""

import difflib
import itertools
import re
import stat
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from authplugin.errors import ConfigurationError, ConfigurationErrors, KeySetError
from authplugin.keys.source import read_regular

M = TypeVar("M", bound=msgspec.Struct)
KeyPath = tuple[str | int, ...]

_MAX_SHOWN = 80
MAX_BYTES = 4 << 20
"""Most that is read of a configuration: room for a hundred thousand asset ids, none for what never ends."""
_UNIONS = (typing.Union, types.UnionType)
_NOTHING = object()
_STATEMENT = re.compile(r"\s*($|#|\[|[\w\"'.\- ]+=)")


class ConfigFile:
    """One configuration file with what the environment adds, and where each key stands.

    Args:
        name: the file's name, as mistakes shall show it.
        text: its TOML text.
        environ: variables; those named ``<prefix>_<TABLE>__<KEY>`` override the file's keys, a
            number names an entry of an array of tables. Their values are TOML values, or bare text
            where the key is text.
        prefix: in capitals.
        base: directory that relative paths start from.

    Raises:
        ConfigurationErrors: the text is not TOML.
    """

    def __init__(
        self, name: str, text: str, *, environ: Mapping[str, str], prefix: str, base: Path = Path()
    ) -> None:
        self.name = name
        self.errors: list[ConfigurationError] = []
        self._lines = text.splitlines(keepends=True)
        self._base = base
        self._prefix = prefix
        self._variables: dict[KeyPath, str] = {}
        try:
            self._document: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationErrors([self._syntax_error(error)]) from None
        except RecursionError:
            raise ConfigurationErrors(
                [
                    ConfigurationError(
                        file=name, line=None, key="the file", found="endless nesting", expected="TOML 1.0"
                    )
                ]
            ) from None
        for variable in sorted(environ):
            if variable.startswith(prefix + "_"):
                self._override(variable, variable[len(prefix) + 1 :], environ[variable])

    def read(self, model: type[M]) -> M:
        """Fill the model.

        Raises:
            ConfigurationErrors: every mistake of form.
        """
        value = self._fill(model, self._document, ())
        self.raise_errors()
        return typing.cast("M", value)

    def raise_errors(self) -> None:
        """Raise what `refuse` has collected, if anything.

        Raises:
            ConfigurationErrors: in the order of the file.
        """
        if self.errors:
            raise ConfigurationErrors(sorted(self.errors, key=lambda error: error.line or 0))

    def refuse(self, path: KeyPath, found: str, expected: str) -> None:
        """Collect one mistake at a key."""
        line = self._line(path)
        variable = self._variables.get(path)
        if line is None and variable is None:  # a table that only variables speak of
            variable = next((name for key, name in self._variables.items() if key[: len(path)] == path), None)
        if variable is None:
            mistake = ConfigurationError(
                file=self.name, line=line, key=dotted(path), found=found, expected=expected
            )
        else:
            mistake = ConfigurationError(
                file="environment", line=None, key=variable, found=found, expected=expected
            )
        self.errors.append(mistake)

    def _fill(self, model: type[msgspec.Struct], table: object, path: KeyPath) -> object:
        """One table; fields that are wrong are collected, and nothing is made of the table then."""
        if not isinstance(table, dict):
            self.refuse(path, shown(table), "a table")
            return _NOTHING
        hints = typing.get_type_hints(model, include_extras=True)
        for key in table:
            if key not in hints:
                near = difflib.get_close_matches(key, hints, n=1, cutoff=0.5)
                known = (
                    f"{near[0]}, the nearest name known here"
                    if near
                    else "one of " + ", ".join(sorted(hints))
                )
                self.refuse((*path, key), "an unknown name", known)
        values = {}
        for field in msgspec.structs.fields(model):
            if field.name in table:
                values[field.name] = self._value(hints[field.name], table[field.name], (*path, field.name))
            elif field.required:
                self.refuse((*path, field.name), "nothing", described(hints[field.name]))
                values[field.name] = _NOTHING
            else:
                values[field.name] = self._default(hints[field.name], field, (*path, field.name))
        if any(value is _NOTHING for value in values.values()):
            return _NOTHING
        return model(**values)

    def _default(self, hint: Any, field: msgspec.structs.FieldInfo, path: KeyPath) -> object:  # noqa: ANN401 - any annotation
        """What stands for a field that is not in the file."""
        default: object = field.default
        if isinstance(default, msgspec.Struct):
            return self._fill(type(default), {}, path)
        return self._placed(hint, default)

    def _placed(self, hint: Any, value: object) -> object:  # noqa: ANN401 - any annotation
        """The value; a path starts at the file's directory."""
        _, meta = unwrapped(hint)
        if isinstance(value, str) and (meta.extra or {}).get("path"):
            return str(self._base / value)
        return value

    def _value(self, hint: Any, value: object, path: KeyPath) -> object:  # noqa: ANN401 - any annotation
        """One value of any type a model may have."""
        bare, _ = unwrapped(hint)
        struct = struct_in(bare)
        if struct is not None and (isinstance(value, dict) or bare is struct):
            return self._fill(struct, value, path)
        item = struct_in(typing.get_args(bare)[0]) if typing.get_origin(bare) is tuple else None
        if item is not None and isinstance(value, list):
            items = [self._fill(item, entry, (*path, position)) for position, entry in enumerate(value)]
            return _NOTHING if any(entry is _NOTHING for entry in items) else tuple(items)
        try:
            converted: object = msgspec.convert(value, hint)
        except msgspec.ValidationError:
            self.refuse(path, shown(value), described(hint))
            return _NOTHING
        return self._placed(hint, converted)

    def _override(self, variable: str, name: str, text: str) -> None:
        """Put one variable's value where its name says."""
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            self.errors.append(
                ConfigurationError(
                    file="environment",
                    line=None,
                    key=variable,
                    found="bytes that are no UTF-8",
                    expected="text",
                )
            )
            return
        path: KeyPath = tuple(
            int(part) if part.isascii() and part.isdigit() else part.lower() for part in name.split("__")
        )
        place: Any = self._document
        for here, following in itertools.pairwise(path):
            if isinstance(place, dict) and isinstance(here, str):
                place = place.setdefault(here, [] if isinstance(following, int) else {})
            elif isinstance(place, list) and isinstance(here, int) and here <= len(place):
                if here == len(place):
                    place.append({})
                place = place[here]
            else:
                place = None
        if not isinstance(place, dict) or len(path) == 1 or not isinstance(path[-1], str):
            self.errors.append(
                ConfigurationError(
                    file="environment",
                    line=None,
                    key=variable,
                    found="a variable that names no key",
                    expected=f"a name like {self._prefix}_<TABLE>__<KEY>",
                )
            )
            return
        self._variables[path] = variable
        try:
            place[path[-1]] = tomllib.loads(f"value = {text}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            place[path[-1]] = text

    def _line(self, path: KeyPath) -> int | None:
        """The line of a key: the last of the shortest run of lines that parses and has the key.

        A key that is not there is looked for where its table is.
        """
        for depth in range(len(path), 0, -1):
            for count in self._statements():
                try:
                    document = tomllib.loads("".join(self._lines[:count]))
                except tomllib.TOMLDecodeError:
                    continue
                if _has(document, path[:depth]):
                    return count
        return None

    def _statements(self) -> Iterator[int]:
        """Numbers of lines after which a statement may be complete: long lists are not tried line by line."""
        for count, following in enumerate(self._lines[1:], start=1):
            if _STATEMENT.match(following):
                yield count
        yield len(self._lines)

    def _syntax_error(self, error: tomllib.TOMLDecodeError) -> ConfigurationError:
        text = str(error)
        place = re.search(r"line (\d+)", text)
        line = int(place.group(1)) if place else len(self._lines)
        what = text.split(" (at ", 1)[0]
        return ConfigurationError(
            file=self.name, line=line, key="the file", found=f"no TOML: {what}", expected="TOML 1.0"
        )


def read_text(path: Path) -> str:
    """A configuration file's text.

    Raises:
        ConfigurationErrors: see `read_bytes`; or it is no UTF-8.
    """
    octets = read_bytes(path)
    try:
        return octets.decode("utf-8-sig")  # some editors begin with a mark that TOML does not know
    except UnicodeDecodeError:
        raise _refusal(path, "the file", "no UTF-8", "a readable TOML file") from None


def read_bytes(path: Path, key: str = "the file") -> bytes:
    """What is in a file that decides who comes in.

    Args:
        path: the file.
        key: what names it, for mistakes.

    Raises:
        ConfigurationErrors: it cannot be read, is no regular file or too long, or anyone may write it.
    """
    try:
        octets, status = read_regular(path, limit=MAX_BYTES)
    except OSError as error:
        raise _refusal(path, key, error.strerror or "what cannot be read", "a readable file") from None
    except KeySetError as error:
        found = f"what {str(error).removeprefix(f'{path}: ')}"
        raise _refusal(path, key, found, f"a file of at most {MAX_BYTES} bytes") from None
    if status.st_mode & stat.S_IWOTH:
        raise _refusal(path, key, "a file that anyone may write", "mode 0644 or stricter")
    return octets


def _refusal(path: Path, key: str, found: str, expected: str) -> ConfigurationErrors:
    mistake = ConfigurationError(file=str(path), line=None, key=key, found=found, expected=expected)
    return ConfigurationErrors([mistake])


def dotted(path: KeyPath) -> str:
    """A key's path as people write it: ``issuers[0].audiences``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def shown(value: object) -> str:
    """A value as a mistake shows it: as TOML would have it, and never long."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = msgspec.json.encode(value).decode()
    elif isinstance(value, dict):
        text = "a table"
    else:
        text = str(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def described(hint: Any) -> str:  # noqa: ANN401 - any annotation
    """What a field takes, in words: type, bounds, unit."""
    bare, meta = unwrapped(hint)
    origin = typing.get_origin(bare)
    if origin in _UNIONS:
        return " or ".join(described(part) for part in typing.get_args(bare) if part is not type(None))
    if origin is typing.Literal:
        choices = [shown(choice) for choice in typing.get_args(bare)]
        return choices[0] if len(choices) == 1 else "one of " + ", ".join(choices)
    if origin is tuple:
        least = "at least one" if meta.min_length else "any number"
        return f"a list of {described(typing.get_args(bare)[0])}, {least}"
    text = _KINDS.get(bare) or (
        "one of " + ", ".join(shown(str(member.value)) for member in bare)
        if hasattr(bare, "__members__")
        else "a table"
    )
    return text + _bounds(meta)


_KINDS: Mapping[Any, str] = {bool: "true or false", int: "an integer", float: "a number", str: "text"}


def _bounds(meta: msgspec.Meta) -> str:
    unit = (meta.extra or {}).get("unit")
    least = meta.ge if meta.ge is not None else meta.gt
    most = meta.le if meta.le is not None else meta.lt
    text = ""
    if least is not None:
        text += f" of {least} to {most}" if most is not None else f" of at least {least}"
    if unit:
        text += f" in {unit}"
    if meta.min_length or meta.max_length:
        text += f" of {meta.min_length or 0} to {meta.max_length} characters"
    return text


def unwrapped(hint: Any) -> tuple[Any, msgspec.Meta]:  # noqa: ANN401 - any annotation
    """A hint without its annotation and without None, and the annotation's `msgspec.Meta`."""
    meta = msgspec.Meta()
    while True:
        choices = [choice for choice in typing.get_args(hint) if choice is not type(None)]
        if typing.get_origin(hint) is Annotated:
            meta = next((extra for extra in choices[1:] if isinstance(extra, msgspec.Meta)), meta)
        elif typing.get_origin(hint) not in _UNIONS or len(choices) != 1:
            return hint, meta
        hint = choices[0]


def struct_in(hint: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401 - any annotation
    """The model that a hint is, or has among its choices."""
    bare, _ = unwrapped(hint)
    choices: Sequence[Any] = typing.get_args(bare) if typing.get_origin(bare) in _UNIONS else (bare,)
    return next(
        (part for part in choices if isinstance(part, type) and issubclass(part, msgspec.Struct)), None
    )


def _has(document: Any, path: KeyPath) -> bool:  # noqa: ANN401 - whatever TOML holds
    for part in path:
        inside = part in document if isinstance(document, dict) else False
        if isinstance(document, list) and isinstance(part, int):
            inside = part < len(document)
        if not inside:
            return False
        document = document[part]
    return True
