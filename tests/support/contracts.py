"""The contracts of ``deploy/contracts``: schemas that resolve each other, and the topic grammar."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource

CONTRACTS = Path(__file__).parents[2] / "deploy" / "contracts"
SCHEMAS: dict[str, dict[str, Any]] = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text("utf-8"))
    for path in sorted(CONTRACTS.glob("*.schema.json"))
}
TOPICS: dict[str, Any] = json.loads((CONTRACTS / "topics.json").read_text("utf-8"))
_REGISTRY: Registry[Any] = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()
)
_FORMATS = jsonschema.FormatChecker(("uuid",))


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    """RFC 3339 §5.6; without a package of its own jsonschema lets any text pass."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def validator(name: str, pointer: str = "") -> jsonschema.Draft202012Validator:
    """Judges instances by the schema of that name, or by the part of it that ``pointer`` names."""
    return jsonschema.Draft202012Validator(
        {"$ref": f"{SCHEMAS[name]['$id']}#{pointer}"}, registry=_REGISTRY, format_checker=_FORMATS
    )


def holds(name: str, instance: object, pointer: str = "") -> bool:
    """Whether an instance is as its schema says."""
    return bool(validator(name, pointer).is_valid(instance))
