"""A YAML document read against strict structs: every error at once, each with its line and a suggestion."""

import difflib
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_origin

import msgspec
import yaml

from processor.detect.duration import EXPECTED, Duration
from processor.errors import ConfigurationError

#: Longest value that an error shows whole.
_SHOWN = 60
_EXPECTED = re.compile(r"Expected (.*?)(?:, got .*)?(?: - at .*)?", re.DOTALL)
_ENUM = re.compile(r"Invalid enum value .*")
_PATTERN = re.compile(r"Expected `str` matching regex .*")

#: Numbers that YAML 1.1 reads otherwise than they look, or than YAML 1.2 does: 010 is 8, 1:30 is 90.
_ODD = re.compile(r"[-+]?0[0-9b][0-9_]*|.*[_:].*", re.DOTALL)
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


class Document:
    """One file while it is read; `errors` grows, reading goes on."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.errors: list[ConfigurationError] = []
        self._loader = yaml.SafeLoader(text)

    def root(self) -> yaml.Node | None:
        """The document's first node; None (and an error) when it is not one YAML document."""
        try:
            node: yaml.Node | None = self._loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            self.refuse(line, "(document)", str(error.problem), "a YAML document")
            return None
        except (yaml.YAMLError, RecursionError) as error:
            self.refuse(1, "(document)", type(error).__name__, "a YAML document")
            return None
        if node is None:
            self.refuse(1, "(document)", "nothing", "a mapping with the key rules")
        return node

    def refuse(self, line: int, key: str, found: str, expected: str) -> None:
        """Note one error."""
        self.errors.append(
            ConfigurationError(file=self.file, line=line, key=key, found=found, expected=expected)
        )

    def members(self, node: yaml.Node, key: str, names: Sequence[str]) -> dict[str, yaml.Node]:
        """A mapping's members by name; unknown and repeated ones are errors, with the likely word."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(line_of(node), key or "(document)", describe(self.value(node)), "a mapping")
            return {}
        found: dict[str, yaml.Node] = {}
        for name_node, value in node.value:
            name = name_node.value if isinstance(name_node, yaml.ScalarNode) else "(not a word)"
            path = f"{key}.{name}" if key else name
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                expected = f"{close[0]!r}" if close else f"one of {', '.join(sorted(names))}"
                self.refuse(line_of(name_node), path, f"unknown key {name!r}", expected)
            elif name in found:
                self.refuse(line_of(name_node), path, "the key a second time", "each key once")
            else:
                found[name] = value
        return found

    def struct(self, node: yaml.Node, key: str, form: type[msgspec.Struct]) -> Any:  # noqa: ANN401 - an instance of form, or None
        """An instance of `form`; None when anything in it was wrong."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(form)}
        before = len(self.errors)
        members = self.members(node, key, list(fields))
        values: dict[str, Any] = {}
        for name, field in fields.items():
            path = f"{key}.{name}" if key else name
            if name not in members:
                if field.required and isinstance(node, yaml.MappingNode):
                    self.refuse(line_of(node), path, "nothing", "a value: this key is required")
            else:
                values[field.name] = self.convert(members[name], path, field.type)
        if len(self.errors) > before:
            return None
        return form(**values)

    def convert(self, node: yaml.Node, key: str, form: Any) -> Any:  # noqa: ANN401 - any type a struct's field may have
        """One value of any form; None when it was wrong."""
        bare = _bare(form)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self.struct(node, key, bare)
        value = self.value(node)
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(line_of(node), key, describe(value), "a finite number")
            return None
        odd = isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and _ODD.fullmatch(node.value)
        found = node.value if odd else describe(value)
        try:
            converted = msgspec.convert(value, form, dec_hook=_decode)
        except msgspec.ValidationError as error:
            self.refuse(line_of(node), key, found, _expected(str(error), form))
            return None
        if odd:
            self.refuse(line_of(node), key, found, "a decimal number, such as 8 or 90.5")
            return None
        return converted

    def value(self, node: yaml.Node) -> Any:  # noqa: ANN401 - whatever YAML can say
        """The plain value of a node; None when it cannot be built."""
        try:
            return self._loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, RecursionError, TypeError):
            return None


def line_of(node: yaml.Node) -> int:
    """Line of a node, from 1."""
    return int(node.start_mark.line) + 1


def describe(value: object) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _bare(form: Any) -> Any:  # noqa: ANN401 - any type a struct's field may have
    """The type inside ``Annotated``."""
    return get_args(form)[0] if get_origin(form) is Annotated else form


def _decode(kind: type, value: object) -> object:
    if kind is Duration:
        return Duration.parse(value)
    raise NotImplementedError(kind)


def _expected(message: str, form: Any) -> str:  # noqa: ANN401 - any type a struct's field may have
    if _PATTERN.fullmatch(message):
        return "1 to 64 of the characters A-Z a-z 0-9 . _ -"
    if _ENUM.fullmatch(message):
        return "one of " + ", ".join(_bare(form))
    if EXPECTED in message:
        return EXPECTED
    match = _EXPECTED.fullmatch(message)
    return match[1].replace("`", "") if match else message
