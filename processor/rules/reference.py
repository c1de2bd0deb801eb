"""The reference of the rule language, from the structs that read it and the detectors that run it."""

from typing import Annotated, Any, get_args, get_origin

import msgspec

from processor.detect.catalog import DETECTORS
from processor.detect.detector import Target
from processor.detect.duration import Duration, write
from processor.rules.schema import RuleForm, Select, SetForm

_INTRODUCTION = """\
# Reference of the rule language

How rules work is in [Rules](../rules.md). Durations are written as `250ms`, `10s`, `5m`, `1.5h`, `7d`;
numbers are in the unit of the metric. Unknown words are mistakes: `processor rules check FILE` names
every one with its line. Written by `processor rules reference` from the code.
"""
_TARGETS = {Target.METRIC: "a metric", Target.EVENT: "an event", Target.ASSET: "any sample of the asset"}


def write_reference() -> str:
    """The page, in Markdown."""
    text = _INTRODUCTION
    text += f"\n## The file\n\n{_table(SetForm)}"
    text += f"\n## A rule\n\n{_table(RuleForm)}"
    text += f"\n## `select`\n\n{_table(Select)}"
    for detector in DETECTORS.values():
        looks = " or ".join(_TARGETS[target] for target in detector.targets)
        text += (
            f"\n## `{detector.name}`\n\n{detector.summary} Looks at {looks}.\n\n{_table(detector.options)}"
        )
    return text


def _table(form: type[msgspec.Struct]) -> str:
    rows = ["| key | takes | default | meaning |", "| --- | --- | --- | --- |"]
    for field in msgspec.structs.fields(form):
        kind, meta, meaning = _unwrap(field.type)
        cells = (f"`{field.encode_name}`", _takes(kind, meta), _default(field), meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _unwrap(form: Any) -> tuple[Any, msgspec.Meta, str]:  # noqa: ANN401 - any type a field may have
    """The bare type, what is allowed (the innermost says it), and what it means (the outermost does)."""
    if get_origin(form) is not Annotated:
        return form, msgspec.Meta(), ""
    kind, *metas = get_args(form)
    return kind, metas[0], next((meta.description for meta in reversed(metas) if meta.description), "")


def _takes(kind: Any, meta: msgspec.Meta) -> str:  # noqa: ANN401 - any type a field may have
    options = (
        [each for each in get_args(kind) if each is not type(None)] if type(None) in get_args(kind) else []
    )
    if options:
        inner, own, _ = _unwrap(options[0])
        return _takes(inner, own)
    if hasattr(kind, "__members__"):
        return ", ".join(f"`{word}`" for word in kind)
    if get_origin(kind) is list:
        return "a list"
    if get_origin(kind) is dict or kind is Select:
        return "a mapping"
    words = {Duration: "a duration", float: "a number", int: "a whole number", str: "text"}
    return words[kind] + _bounds(meta)


def _bounds(meta: msgspec.Meta) -> str:
    bounds = [
        f"{word} {bound}"
        for word, bound in (("above", meta.gt), ("at least", meta.ge), ("at most", meta.le))
        if bound is not None
    ]
    if meta.pattern is not None:
        bounds.append("1 to 64 of A-Z a-z 0-9 . _ -")
    if meta.max_length is not None:
        bounds.append(f"at most {meta.max_length} characters")
    return ", " + ", ".join(bounds) if bounds else ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is None:
        return "none"
    if isinstance(field.default, Duration):
        return f"`{write(field.default)}`"
    if field.default is msgspec.NODEFAULT:
        return "`['*']`"
    return "everything" if isinstance(field.default, Select) else f"`{field.default:g}`"
