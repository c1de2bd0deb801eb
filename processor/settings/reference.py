"""The settings as a page for people: ``docs/reference/processor-settings.md``."""

from typing import Any

import msgspec
import msgspec.inspect

from processor.settings.model import ProcessorSettings, Secret

_HEAD = """# Settings of the watch

`processor … --config FILE` reads a TOML file. Every setting can be given as an environment variable as well,
`PROCESSOR_<TABLE>__<KEY>` (`PROCESSOR_KAFKA__BOOTSTRAP=…`), which then counts. Paths stand on the file's
directory. Unknown keys are errors.
"""


_NAMES: dict[object, str] = {
    msgspec.inspect.StrType: "text",
    msgspec.inspect.IntType: "integer",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.BoolType: "boolean",
}


def render() -> str:
    """The page, made of the model."""
    parts = [_HEAD]
    for table in msgspec.structs.fields(ProcessorSettings):
        summary = (table.type.__doc__ or "").partition("\n")[0].rpartition("``: ")[2]
        parts.append(
            f"\n## `[{table.name}]`\n\n{summary}\n\n"
            "| key | type | default | what |\n| --- | --- | --- | --- |\n"
        )
        parts += [_row(field) for field in msgspec.structs.fields(table.type)]
    return "".join(parts)


def _row(field: Any) -> str:  # noqa: ANN401 - msgspec's FieldInfo of any struct
    info = msgspec.inspect.type_info(field.type)
    text, unit = "", ""
    while isinstance(info, msgspec.inspect.Metadata):
        text = text or str((info.extra_json_schema or {}).get("description", ""))
        unit = unit or str((info.extra or {}).get("unit", ""))
        info = info.type
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    default = "none" if value is None else msgspec.json.encode(value).decode()
    bounds = _bounds(info)
    what = text.rstrip(".") + (f", in {unit}" if unit else "") + "."
    what = what[0].upper() + what[1:]
    return f"| `{field.encode_name}` | {_name(info)}{bounds} | `{default}` | {what} |\n"


def _bounds(info: Any) -> str:  # noqa: ANN401 - one of msgspec's type descriptions
    low, over, high = (getattr(info, name, None) for name in ("ge", "gt", "le"))
    words = (
        [f"≥ {low}"] * (low is not None)
        + [f"> {over}"] * (over is not None)
        + [f"≤ {high}"] * (high is not None)
    )
    return f", {', '.join(words)}" if words else ""


def _name(info: Any) -> str:  # noqa: ANN401 - as above
    kinds = msgspec.inspect
    if isinstance(info, kinds.UnionType):
        return next(_name(kind) for kind in info.types if not isinstance(kind, kinds.NoneType))
    if isinstance(info, kinds.LiteralType):
        return " or ".join(f"`{value}`" for value in info.values)
    if isinstance(info, kinds.VarTupleType | kinds.DictType):
        one = ("list", info.item_type) if isinstance(info, kinds.VarTupleType) else ("table", info.value_type)
        return f"{one[0]} of {_name(one[1])}"
    if isinstance(info, kinds.CustomType) and info.cls is Secret:
        return "secret text"
    if isinstance(info, kinds.Metadata):
        return _name(info.type)
    return _NAMES[type(info)]
