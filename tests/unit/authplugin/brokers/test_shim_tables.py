"""What the shim is told of the policy: names, and the topics it compares without asking Python."""

from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.answers import Road
from authplugin.brokers.mosquitto.tables import MAX_ROADS, MAX_SERVICES, make_tables
from authplugin.errors import ConfigurationError
from authplugin.policy import Policy
from authplugin.settings import parse

ISSUER = '[[issuers]]\nissuer = "https://acme.my.site.com"\naudiences = ["a"]\n'


def policy(text: str = "") -> Policy:
    return parse(ISSUER + text, name="gate.toml", environ={}, base=Path()).policy


def test_a_template_with_everything_below_may_not_be_retained_on_a_single_topic_may() -> None:
    tables = make_tables(policy())
    assert tables.publish == (
        Road(b"assets/", b"/telemetry", 1, 0),
        Road(b"assets/", b"/events", 1, 0),
        Road(b"assets/", b"/status", 0, 1),
    )
    assert tables.receive == (Road(b"assets/", b"/commands", 1, 0),)


def test_what_the_shim_cannot_compare_is_left_to_python() -> None:
    topics = '[topics]\npublish = ["a/{aid}/+/x", "a/{aid}/y", "' + "b" * 130 + '/{aid}"]\nsubscribe = []\n'
    tables = make_tables(policy(topics))
    assert tables.publish == (Road(b"a/", b"/y", 0, 1),)
    assert tables.receive == ()


def test_no_more_than_the_shim_has_room_for() -> None:
    many = ", ".join(f'"a/{{aid}}/x{n}"' for n in range(MAX_ROADS + 4))
    assert len(make_tables(policy(f"[topics]\npublish = [{many}]\n")).publish) == MAX_ROADS
    accounts = "".join(f'[[service_accounts]]\nname = "s{n}"\n' for n in range(MAX_SERVICES))
    assert len(make_tables(policy(accounts)).services) == MAX_SERVICES
    with pytest.raises(ConfigurationError, match="found 65 accounts, expected at most 64"):
        make_tables(policy(accounts + '[[service_accounts]]\nname = "one-more"\n'))
