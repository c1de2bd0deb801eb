"""What the shim keeps of the policy: names and topics that it compares itself, without asking Python."""

from collections.abc import Iterable

from authplugin.brokers.mosquitto.answers import Road, Tables
from authplugin.errors import ConfigurationError
from authplugin.policy import Policy
from authplugin.topics.template import Template

MAX_SERVICES = 64
MAX_ROADS = 16
_MAX_TEXT = 127


def make_tables(policy: Policy) -> Tables:
    """The tables for a policy.

    Retained messages are for topics that a template names one by one, such as a device's status: a
    wildcard would let a device leave any number of them behind.

    Raises:
        ConfigurationError: more service accounts than the shim has room for.
    """
    if len(policy.service_accounts) > MAX_SERVICES:
        raise ConfigurationError(
            file="the gate's configuration",
            line=None,
            key="service_accounts",
            found=f"{len(policy.service_accounts)} accounts",
            expected=f"at most {MAX_SERVICES}",
        )
    services = tuple(name.encode() for name in policy.service_accounts)
    return Tables(services, _roads(policy.topics.publish), _roads(policy.topics.subscribe))


def _roads(templates: Iterable[Template]) -> tuple[Road, ...]:
    """Templates as the shim compares them; what it cannot compare it asks about."""
    known = []
    for template in templates:
        below = template.tail.endswith("/#")
        after = template.tail[:-2] if below else template.tail
        fits = len(template.head.encode()) <= _MAX_TEXT and len(after.encode()) <= _MAX_TEXT
        if "+" not in after and "#" not in after and fits:
            known.append(Road(template.head.encode(), after.encode(), int(below), int(not below)))
    return tuple(known[:MAX_ROADS])
