"""The contracts themselves: valid, complete, and in agreement with each other."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

CONTRACTS = Path(__file__).parents[2] / "deploy" / "contracts"
SCHEMAS = sorted(CONTRACTS.glob("*.schema.json"))
TOPICS: dict[str, Any] = json.loads((CONTRACTS / "topics.json").read_text("utf-8"))
ASYNCAPI: dict[str, Any] = yaml.safe_load((CONTRACTS / "asyncapi.yaml").read_text("utf-8"))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_a_schema_is_a_valid_schema_of_its_draft(path: Path) -> None:
    schema = json.loads(path.read_text("utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", sorted(TOPICS["identifiers"]))
def test_an_identifier_takes_its_good_examples_and_refuses_its_bad_ones(name: str) -> None:
    identifier = TOPICS["identifiers"][name]
    for good in identifier["good"]:
        assert re.fullmatch(identifier["pattern"], good), good
    for bad in identifier["bad"]:
        assert not re.fullmatch(identifier["pattern"], bad), bad


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        here = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return here + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    for reference in references(ASYNCAPI):
        file, _, pointer = reference.partition("#")
        if file:
            assert (CONTRACTS / file).is_file(), reference
            continue
        target: Any = ASYNCAPI
        for part in pointer.strip("/").split("/"):
            target = target[part]


def test_the_asyncapi_document_has_every_topic_of_the_grammar_that_carries_a_message() -> None:
    addresses = {channel["address"] for channel in ASYNCAPI["channels"].values()}
    addresses = {re.sub(r"\{assetId\}", "{aid}", address) for address in addresses}
    inner = {
        "asset.state.v1",
        "asset.rules.v1",
        "asset.assets.v1",
    }  # the watch's own memory: nobody else reads them
    wanted = {topic["topic"] for topic in TOPICS["kafka"]} - inner
    wanted |= {topic["template"].replace("#", "{command}") for topic in TOPICS["mqtt"]}
    assert addresses == wanted


GOOD_TELEMETRY = [
    {"ts": 1700000000123, "seq": 7, "metrics": {"temperature": 71.5, "toner": {"v": 12, "u": "%"}}},
    {"ts": "2026-03-01T10:00:00Z", "metrics": {"door": True}},
    {"ts": "2026-03-01T10:00:00.250+01:00", "metrics": {"t": 1}},
    {"metrics": {"t": 1}},
    [{"metrics": {"t": 1}}, {"metrics": {"t": 2}}],
]
BAD_TELEMETRY = [
    {},
    [],
    {"metrics": {}},
    {"metrics": {"t": "71"}},
    {"metrics": {"t": None}},
    {"metrics": {"a/b": 1}},
    {"metrics": {"t": {"u": "%"}}},
    {"ts": -1, "metrics": {"t": 1}},
    {"ts": "2026-03-01T10:00:00", "metrics": {"t": 1}},
    {"ts": 1.5, "metrics": {"t": 1}},
    {"seq": "7", "metrics": {"t": 1}},
    {"metrics": {"x" * 65: 1}},
]


@pytest.mark.parametrize("message", GOOD_TELEMETRY, ids=str)
def test_telemetry_of_the_protocol_is_valid(message: object) -> None:
    jsonschema.validate(message, json.loads((CONTRACTS / "telemetry.schema.json").read_text("utf-8")))


@pytest.mark.parametrize("message", BAD_TELEMETRY, ids=lambda message: str(message)[:40])
def test_telemetry_outside_the_protocol_is_not(message: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(message, json.loads((CONTRACTS / "telemetry.schema.json").read_text("utf-8")))
