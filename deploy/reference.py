"""Writes docs/reference/ from the code: every setting with its meaning, every reason with its remedy.

``python -m deploy.reference`` writes the pages; with ``--check`` it writes nothing and exits 1 when
one of them is not what the code says.
"""

import sys
import typing
from pathlib import Path

import msgspec

import processor.advice
import processor.rules.reference
import processor.settings.reference
from authplugin.advice import ADVICE
from authplugin.errors import Reason
from authplugin.settings.file import described, struct_in, unwrapped
from authplugin.settings.tables import GateSettings
from processor.errors import DeadReason

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
_NOTE = "<!-- Written by `make reference` from the code; change the code. -->\n\n"
_SETTINGS = """\
# Settings of the gate

A TOML file, given by `--config` or `plugin_opt_config_file`. A variable `AUTHPLUGIN_<TABLE>__<KEY>` overrides a key,
for instance `AUTHPLUGIN_METRICS__PORT=9610` or `AUTHPLUGIN_ISSUERS__0__LEEWAY_S=10`. Unknown names are mistakes.
Relative paths start at the file's directory. `authplugin check-config FILE` names every mistake with its line.
"""  # noqa: E501 - lines of the page, not of the code
_REASONS = """\
# Reasons to refuse

One word each: it is the log's field, the metric's label and the event's reason. `authplugin explain` shows which
check of a token refuses, why, and what to do.

| reason | means | what to do |
| --- | --- | --- |
"""  # noqa: E501 - as above
_DEAD_LETTERS = """\
# Reasons of dead letters

One word each: it is the header `reason` of the record on `asset.telemetry.dead.v1` and the label of
`processor_worker_dead_letters_total` and `processor_bridge_dead_letters_total`. The headers `detail` and `origin` say
more; key and value are as they came.

| reason | means | what to do |
| --- | --- | --- |
"""  # noqa: E501 - as above


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {
        "dead-letters.md": _dead_letters(),
        "gate-settings.md": _settings(),
        "processor-settings.md": processor.settings.reference.render(),
        "reasons.md": _reasons(),
        "rules.md": processor.rules.reference.write_reference(),
    }


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` compare them."""
    stale = []
    for name, text in pages().items():
        path = REFERENCE / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    if stale and "--check" in arguments:
        print(f"not what the code says: {', '.join(path.name for path in stale)}; run: make reference")
        return 1
    return 0


def _settings() -> str:
    text = _NOTE + _SETTINGS
    for title, table in _tables(GateSettings, ""):
        text += f"\n## {title}\n\n{(table.__doc__ or '').strip()}\n\n"
        text += "| key | takes | default | meaning |\n| --- | --- | --- | --- |\n"
        hints = typing.get_type_hints(table, include_extras=True)
        for field in msgspec.structs.fields(table):
            _, meta = unwrapped(hints[field.name])
            cells = (
                f"`{field.name}`",
                described(hints[field.name]),
                _default(field),
                meta.description or "",
            )
            text += f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
    return text


def _tables(model: type[msgspec.Struct], prefix: str) -> list[tuple[str, type[msgspec.Struct]]]:
    """The tables inside a model, each with the title that TOML gives it."""
    found = []
    hints = typing.get_type_hints(model, include_extras=True)
    for field in msgspec.structs.fields(model):
        bare, _ = unwrapped(hints[field.name])
        repeated = typing.get_origin(bare) is tuple
        inner = struct_in(typing.get_args(bare)[0]) if repeated else struct_in(bare)
        if inner is not None:
            name = f"{prefix}{field.name}"
            found.append((f"`[[{name}]]`" if repeated else f"`[{name}]`", inner))
            found += _tables(inner, f"{name}.")
    return found


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, msgspec.Struct):
        return "as below"
    if isinstance(value, tuple):
        return "`[]`" if not value else "<br>".join(f"`{entry}`" for entry in value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _reasons() -> str:
    text = _NOTE + _REASONS
    for reason in Reason:
        advice = ADVICE[reason]
        text += f"| `{reason}` | {advice.meaning} | {advice.remedy} |\n"
    return text


def _dead_letters() -> str:
    text = _NOTE + _DEAD_LETTERS
    for reason in DeadReason:
        advice = processor.advice.ADVICE[reason]
        text += f"| `{reason}` | {advice.meaning} | {advice.remedy} |\n"
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
