"""Where a program may log in from."""

import json
from pathlib import Path

import pytest

from authplugin.policy import ServiceAccount
from authplugin.settings import parse

ISSUER = '[[issuers]]\nissuer = "https://acme.my.site.com"\naudiences = ["https://ingest.example.com"]\n'


@pytest.mark.parametrize(
    ("address", "held"),
    [
        *(("10.1.2.3", True), ("10.2.0.0", False), ("::ffff:10.1.2.3", True), ("::ffff:10.2.0.0", False)),
        *(("::1", True), ("fe80::1%eth0", True), ("fe80::2", False), ("", False), ("/run/socket", False)),
    ],
)
def test_a_service_account_comes_from_its_networks_and_from_anywhere_without_any(
    address: str, *, held: bool
) -> None:
    networks = ["10.1.0.0/16", "::1", "fe80::1"]
    table = f'[[service_accounts]]\nname = "b"\naddresses = {json.dumps(networks)}\n'
    loaded = parse(ISSUER + table, name="gate.toml", environ={}, base=Path())
    account = loaded.policy.service_accounts["b"]
    assert account.may_come_from(address) is held
    assert ServiceAccount("b").may_come_from(address)
