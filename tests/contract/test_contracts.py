"""The contracts themselves: valid, complete, and in agreement with each other."""

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.contracts import CONTRACTS, SCHEMAS, TOPICS, holds

ASYNCAPI: dict[str, Any] = yaml.safe_load((CONTRACTS / "asyncapi.yaml").read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_a_valid_schema_of_its_draft(name: str) -> None:
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_the_readme_names_every_contract() -> None:
    readme = (CONTRACTS / "README.md").read_text("utf-8")
    for path in CONTRACTS.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in readme, path.name


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
        target: Any = json.loads((CONTRACTS / file).read_text("utf-8")) if file else ASYNCAPI
        for part in filter(None, pointer.split("/")):
            assert part in target, reference
            target = target[part]


def test_every_payload_that_the_grammar_names_is_a_schema() -> None:
    for entry in TOPICS["mqtt"]:
        file, _, pointer = entry.get("payload", "").partition("#")
        if file:
            target: Any = SCHEMAS[file.removesuffix(".schema.json")]
            for part in filter(None, pointer.split("/")):
                target = target[part]


def test_every_template_of_the_grammar_is_made_of_identifiers_and_words() -> None:
    names = set(TOPICS["identifiers"]) | {"aid"}
    for entry in TOPICS["mqtt"]:
        for level in entry["template"].split("/"):
            assert level in {"#", "-"} or level.strip("{}") in names or level.isalpha(), entry["template"]


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
    assert holds("telemetry", message)


@pytest.mark.parametrize("message", BAD_TELEMETRY, ids=lambda message: str(message)[:40])
def test_telemetry_outside_the_protocol_is_not(message: object) -> None:
    assert not holds("telemetry", message)


@pytest.mark.parametrize(
    "payload", [71.5, 0, True, {"v": 12, "u": "%"}, GOOD_TELEMETRY[0], GOOD_TELEMETRY[4]], ids=str
)
def test_a_metrics_own_topic_carries_a_value_or_messages(payload: object) -> None:
    assert holds("telemetry", payload, "/$defs/metricMessage")


@pytest.mark.parametrize("payload", ["71", None, [], [1], {"u": "%"}, {"v": 1, "unit": "%"}], ids=str)
def test_a_metrics_own_topic_carries_nothing_else(payload: object) -> None:
    assert not holds("telemetry", payload, "/$defs/metricMessage")


@pytest.mark.parametrize(
    "event", [{}, {"ts": 1700000000123, "data": {"supply": "toner"}}, {"seq": 7}], ids=str
)
def test_a_device_event_of_the_protocol_is_valid(event: object) -> None:
    assert holds("device-event", event)


@pytest.mark.parametrize("event", [[], {"ts": "noon"}, {"data": []}, {"seq": -1}, {"asset": 7}], ids=str)
def test_a_device_event_outside_the_protocol_is_not(event: object) -> None:
    assert not holds("device-event", event)


CASE_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "5f0b3c1e-2a6b-5a52-9c0a-0f4d6e1b2c3d",
    "source": "/assetgate/processor",
    "type": "assetgate.case.opened.v1",
    "subject": "02iAB00000CdEfGYAV",
    "time": "2026-03-01T10:00:05.250Z",
    "datacontenttype": "application/json",
    "data": {
        "caseId": "0d1f4a52-7a5e-5d0e-8f2b-6c7d8e9f0a1b",
        "assetId": "02iAB00000CdEfGYAV",
        "rule": {"id": "overheating", "version": 3, "hash": "0123456789abcdef"},
        "severity": "high",
        "seen": 93.5,
        "expected": 85.0,
        "margin": 8.5,
        "unit": "°C",
        "window": {"from": "2026-03-01T10:00:00.250Z", "to": "2026-03-01T10:00:05.250Z"},
        "evidence": [{"metric": "temperature", "ts": 1772359205250, "v": 93.5}],
        "sessions": [],
        "owner": {"accountId": "001AB00000000001", "contactId": None},
    },
}


def test_a_case_event_of_the_protocol_is_valid() -> None:
    assert holds("case-event", CASE_EVENT)
    assert holds("case-event", CASE_EVENT | {"kafkaoffset": 17, "kafkapartition": 2})


@pytest.mark.parametrize("member", sorted(CASE_EVENT))
def test_a_case_event_has_every_attribute(member: str) -> None:
    assert not holds("case-event", {name: value for name, value in CASE_EVENT.items() if name != member})


@pytest.mark.parametrize("member", sorted(CASE_EVENT["data"]))
def test_a_case_events_data_has_every_fact_of_the_protocol(member: str) -> None:
    data = {name: value for name, value in CASE_EVENT["data"].items() if name != member}
    assert not holds("case-event", CASE_EVENT | {"data": data})


@pytest.mark.parametrize(
    "change",
    [
        {"type": "assetgate.case.reopened.v1"},
        {"type": "assetgate.case.opened.v2"},
        {"source": "/elsewhere"},
        {"time": "2026-03-01T10:00:05.250"},
        {"subject": "a/b"},
        {"id": "7"},
        {"offset": {"partition": 1}},
    ],
    ids=str,
)
def test_a_case_event_outside_the_protocol_is_not_valid(change: dict[str, object]) -> None:
    assert not holds("case-event", CASE_EVENT | change)


AUTH_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "9c0f6c0e-6f8c-4a8e-9b58-8d3f0a3c2b1a",
    "source": "/assetgate/gate",
    "type": "assetgate.auth.denied.v1",
    "time": "2026-03-01T10:00:05.250Z",
    "data": {"assetId": None, "tokenDigest": "0123456789abcdef", "reason": "expired", "claimed_aid": "x"},
}


def test_an_auth_event_of_the_protocol_is_valid() -> None:
    assert holds("auth-event", AUTH_EVENT)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "assetgate.auth.allowed.v1"},
        {"data": {"reason": "because"}},
        {"data": {"tokenDigest": "eyJhbGciOiJSUzI1NiJ9"}},
        {"data": {"token": "x"}},
    ],
    ids=str,
)
def test_an_auth_event_outside_the_protocol_is_not(change: dict[str, object]) -> None:
    assert not holds("auth-event", AUTH_EVENT | change)


def test_an_asset_token_event_may_leave_anything_out_and_date_itself_either_way() -> None:
    assert holds("asset-token-event", {})
    assert holds("asset-token-event", dict.fromkeys(SCHEMAS["asset-token-event"]["properties"]))
    assert holds("asset-token-event", {"Expiration": "2026-03-01T10:00:00Z"})
    assert holds("asset-token-event", {"Expiration": 1700518400})
    assert not holds("asset-token-event", {"Expiration": "tomorrow"})
    assert not holds("asset-token-event", {"AssetId": 7})
