"""The gate keeps to the contracts it shares with devices, the watch and consumers."""

import pytest

from authplugin.errors import Reason
from authplugin.jose.identity import is_asset_id
from authplugin.topics.template import PUBLISH, SUBSCRIBE, compile_template
from tests.support.contracts import SCHEMAS, TOPICS

ASSET_ID = TOPICS["identifiers"]["assetId"]


@pytest.mark.parametrize("value", ASSET_ID["good"])
def test_a_good_asset_id_is_let_in(value: str) -> None:
    assert is_asset_id(value)


@pytest.mark.parametrize("value", [*ASSET_ID["bad"], "a" * 65])
def test_a_bad_asset_id_is_not(value: str) -> None:
    assert not is_asset_id(value)


def test_the_default_templates_are_the_device_topics_of_the_grammar() -> None:
    prefixes = {
        (entry["does"], entry["template"].split("/")[2])
        for entry in TOPICS["mqtt"]
        if entry["by"] == "device"
    }
    assert {("publish", text.split("/")[2]) for text in PUBLISH} | {
        ("subscribe", text.split("/")[2]) for text in SUBSCRIBE
    } == prefixes
    for text in (*PUBLISH, *SUBSCRIBE):
        assert compile_template(text).head == "assets/"


def test_every_reason_of_the_gate_is_a_reason_of_auth_events() -> None:
    reasons = SCHEMAS["auth-event"]["properties"]["data"]["properties"]["reason"]["enum"]
    assert {None, *map(str, Reason)} == set(reasons)
