"""Read settings: a TOML file, then the environment over it; every error says where and what to change."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect

from processor.errors import ConfigurationError, Refused
from processor.settings.model import MqttSettings, ProcessorSettings, Secret, TopicSettings

_PREFIX = "PROCESSOR_"
_PATH = re.compile(r"(?s)^(.*?)(?: - at (?:`key` in )?`\$\.?(.*)`)?$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_EXPECTED = re.compile(r"(?s)^Expected (.*?)(?:, got (.*))?$")
_LONGEST_FILTER = 65_535
_FILTER = "a topic filter: + as a whole level, # as the last one, no $share, which keeps no order"
_INDEX = re.compile(r"\[.*?\]$")
#: Of a table with names of its own, such as `engine.formats`: one of its entries, or the name of one.
_ENTRY = re.compile(r"(?s) - at (?:`key` in `.*`|`.*\[\.\.\.\]`)$")

#: Settings that name a file: relative to the settings file.
_FILES = {
    "mqtt": ("ca_file", "cert_file", "key_file", "password_file"),
    "kafka": ("ca_file", "cert_file", "key_file"),
    "worker": ("rules",),
}


class SettingsRefused(Refused):
    """Raised when settings are wrong, in the file or in the environment."""


def load(file: Path | None, environment: Mapping[str, str] | None = None) -> ProcessorSettings:
    """Settings of a TOML file (none: all defaults) with ``PROCESSOR_<TABLE>__<KEY>`` over it.

    Raises:
        SettingsRefused: with file, line, key, found and expected of everything that is wrong.
    """
    text = _read(file) if file is not None else ""
    name = str(file) if file is not None else "defaults"
    tree = _parse(text, name)
    from_environment, errors = _overlay(tree, os.environ if environment is None else environment)
    explain = partial(_explain, text=text, name=name, from_environment=from_environment)
    # Each setting alone first: judged as a whole, a file shows no more than its first mistake.
    for piece in (*_pieces(tree), tree):
        try:
            settings = msgspec.convert(piece, ProcessorSettings, dec_hook=_decode)
        except msgspec.ValidationError as error:
            found = explain(str(error), piece)
            if (piece is not tree or not errors) and str(found) not in map(str, errors):
                errors.append(found)
    if not errors and settings.mqtt.version == "3.1.1" and settings.mqtt.source != "aiomqtt":
        variable = from_environment.get("mqtt.version")
        errors.append(
            ConfigurationError(
                file=variable or name,
                line=None if variable else _line(text, "mqtt.version"),
                key="mqtt.version",
                found="3.1.1 with the source mqtt5",
                expected='mqtt.source = "aiomqtt" beside it',
            )
        )
    if not errors:
        errors += _find_bad_topics(settings.mqtt, text, name, from_environment)
    if not errors:
        errors += _find_shared_topics(settings.topics, text, name, from_environment)
    if errors:
        raise SettingsRefused(errors)
    return _resolve(settings, file.parent if file is not None else Path())


def _find_bad_topics(
    mqtt: MqttSettings, text: str, name: str, from_environment: Mapping[str, str]
) -> Iterator[ConfigurationError]:
    """Filters and the heartbeat's topic as MQTT has them (5, 4.7): a broker answers others with its end."""
    wrong = [("filters", one, _FILTER) for one in mqtt.filters if not _is_filter(one)]
    if set("+#\0") & set(mqtt.heartbeat_topic) or mqtt.heartbeat_topic.startswith("$"):
        wrong.append(("heartbeat_topic", mqtt.heartbeat_topic, "a topic without + and #, not below $"))
    for key, found, expected in wrong:
        variable = from_environment.get(f"mqtt.{key}")
        yield ConfigurationError(
            file=variable or name,
            line=None if variable else _line(text, f"mqtt.{key}"),
            key=f"mqtt.{key}",
            found=repr(found),
            expected=expected,
        )


def _is_filter(one: str) -> bool:
    levels = one.split("/")
    return (
        0 < len(one.encode("utf-8", "replace")) <= _LONGEST_FILTER
        and "\0" not in one
        and levels[0] != "$share"
        and all(level == "+" or "+" not in level for level in levels)
        and all("#" not in level for level in levels[:-1])
        and (levels[-1] == "#" or "#" not in levels[-1])
    )


def _find_shared_topics(
    topics: TopicSettings, text: str, name: str, from_environment: Mapping[str, str]
) -> Iterator[ConfigurationError]:
    """Names that two topics have: what is written to one would be read as the other."""
    first: dict[str, str] = {}
    stated = {key: value for key, value in msgspec.structs.asdict(topics).items() if isinstance(value, str)}
    defaults = msgspec.structs.asdict(TopicSettings())
    # Those that were set last: they are what is to be changed.
    for key, value in sorted(stated.items(), key=lambda each: each[1] != defaults[each[0]]):
        other = first.setdefault(value, key)
        if other != key:
            variable = from_environment.get(f"topics.{key}")
            yield ConfigurationError(
                file=variable or name,
                line=None if variable else _line(text, f"topics.{key}"),
                key=f"topics.{key}",
                found=f"{value!r}, which topics.{other} is too",
                expected="a name of its own",
            )


def _pieces(tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The settings one by one, each a tree of its own; every other one has its default."""
    for table, section in tree.items():
        if not isinstance(section, dict):
            yield {table: section}
            continue
        for key, value in section.items():
            if isinstance(value, dict):
                yield from ({table: {key: {name: inner}}} for name, inner in value.items())
            else:
                yield {table: {key: value}}


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")  # some editors begin with a mark that TOML does not know
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        refused = ConfigurationError(
            file=str(file), line=None, key="--config", found=str(found), expected="a readable TOML file"
        )
        raise SettingsRefused([refused]) from None


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        refused = ConfigurationError(
            file=name,
            line=int(line[1]) if line else len(text.splitlines()) or 1,
            key="(syntax)",
            found=str(error),
            expected="TOML 1.0",
        )
        raise SettingsRefused([refused]) from None


def _overlay(
    tree: dict[str, Any], environment: Mapping[str, str]
) -> tuple[dict[str, str], list[ConfigurationError]]:
    """Lay variables over the file's tree; returns dotted key → variable name, and what is wrong in names."""
    origin: dict[str, str] = {}
    errors: list[ConfigurationError] = []
    for variable, raw in sorted(environment.items()):
        table, separator, key = variable.removeprefix(_PREFIX).lower().partition("__")
        if not variable.startswith(_PREFIX):
            continue
        if not separator:
            errors += _find_near(variable, table)
            continue
        if table not in tree:
            origin[table] = variable
        section = tree.setdefault(table, {})
        if isinstance(section, dict):
            section[key] = _value(table, key, raw)
            origin[f"{table}.{key}"] = variable
    return origin, errors


def _find_near(variable: str, name: str) -> Iterator[ConfigurationError]:
    """A setting's name written with one underscore: ignored, it would look as if it counted."""
    for field in msgspec.structs.fields(ProcessorSettings):
        for inner in msgspec.structs.fields(field.type):
            if name == f"{field.name}_{inner.name}":
                yield ConfigurationError(
                    file=variable,
                    line=None,
                    key=f"{field.name}.{inner.name}",
                    found="one underscore",
                    expected=f"two: {_PREFIX}{field.name.upper()}__{inner.name.upper()}",
                )


def _value(table: str, key: str, raw: str) -> object:
    """A variable's text as its setting's type: text stays text, the rest is read as a TOML value."""
    if _is_text(table, key):
        return raw
    try:
        return tomllib.loads(f"v = {raw}")["v"]
    except tomllib.TOMLDecodeError:
        return raw


def _is_text(table: str, key: str) -> bool:
    for field in msgspec.structs.fields(ProcessorSettings):
        if field.name == table:
            for inner in msgspec.structs.fields(field.type):
                if inner.name == key:
                    return isinstance(inner.default, str) or inner.default is None
    return True


def _decode(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    # A TypeError is what msgspec turns into a validation error that knows its path.
    raise TypeError(f"Expected `str`, got `{type(value).__name__}`")


def _explain(
    message: str, tree: dict[str, Any], text: str, name: str, from_environment: Mapping[str, str]
) -> ConfigurationError:
    match = _PATH.match(message)
    said, path = (match[1], match[2] or "") if match else (message, "")
    unknown, expected = _UNKNOWN.match(said), _EXPECTED.match(said)
    entry: str | None = None
    if unknown:
        key = f"{path}.{unknown[1]}".lstrip(".")
        found, wanted = "an unknown key", _known(path)
    else:
        key = _INDEX.sub("", path)
        found = _shown(tree, key)
        table = _look_up(tree, key.split("."))
        if _ENTRY.search(message) and isinstance(table, dict) and len(table) == 1:
            (entry,) = table
        wanted = expected[1].replace("`", "") if expected else _choices(key, said)
    variable = from_environment.get(key)
    return ConfigurationError(
        file=variable or name,
        line=None if variable else _line(text, key, entry),
        key=key,
        found=found,
        expected=wanted,
    )


def _known(path: str) -> str:
    struct: Any = ProcessorSettings
    for field in msgspec.structs.fields(ProcessorSettings):
        if field.name == path:
            struct = field.type
    return "one of " + ", ".join(field.name for field in msgspec.structs.fields(struct))


def _choices(key: str, said: str) -> str:
    """The words that a setting may have, where it has a fixed few; else what the check said."""
    table, _, name = key.partition(".")
    for field in msgspec.structs.fields(ProcessorSettings):
        for inner in msgspec.structs.fields(field.type) if field.name == table else ():
            kind = msgspec.inspect.type_info(inner.type)
            kind = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
            kind = kind.value_type if isinstance(kind, msgspec.inspect.DictType) else kind
            if inner.name == name and isinstance(kind, msgspec.inspect.LiteralType):
                return "one of " + ", ".join(str(value) for value in kind.values)
    return said


def _look_up(tree: Mapping[str, Any], path: Sequence[str]) -> object:
    here: Any = tree
    for part in path:
        if not isinstance(here, Mapping) or part not in here:
            return None
        here = here[part]
    return here


def _shown(tree: Mapping[str, Any], key: str) -> str:
    """What was found, unless it is a secret."""
    return "***" if key.endswith("password") else repr(_look_up(tree, key.split(".")))


def _line(text: str, key: str, entry: str | None = None) -> int | None:
    """The line of a key, or of an entry of it: the end of the shortest prefix of lines that has it."""
    lines = text.splitlines(keepends=True)
    path = key.split(".") if entry is None else [*key.split("."), entry]
    for count in range(1, len(lines) + 1):
        try:
            tree = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        if _look_up(tree, path) is not None:
            return count
    return None


def _resolve(settings: ProcessorSettings, base: Path) -> ProcessorSettings:
    """Make the paths of the file stand on the file's own directory."""
    tables: dict[str, Any] = {}
    for table, keys in _FILES.items():
        section = getattr(settings, table)
        paths = {key: str(base / path) for key in keys if (path := getattr(section, key)) is not None}
        tables[table] = msgspec.structs.replace(section, **paths)
    return msgspec.structs.replace(settings, **tables)
