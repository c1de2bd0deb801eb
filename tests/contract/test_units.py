"""The units for systemd say only what the programs understand."""

import re
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.stanza import MAX_CONNECTIONS
from processor.settings import load

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))


def test_each_long_running_program_has_its_unit() -> None:
    commands = {
        re.search(r"^ExecStart=\S+/processor (\w+) --config \S+$", unit.read_text(), re.MULTILINE)
        for unit in UNITS
    }
    assert {found and found[1] for found in commands} == {"bridge", "worker"}


def test_the_brokers_unit_lets_as_many_connect_as_its_listener() -> None:
    addition = (UNITS[0].parent / "mosquitto.service.d" / "assetgate.conf").read_text()
    (descriptors,) = re.findall(r"^LimitNOFILE=(\d+)$", addition, re.MULTILINE)
    assert int(descriptors) > MAX_CONNECTIONS


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_every_variable_of_a_unit_is_a_setting(unit: Path) -> None:
    lines = re.findall(r"^Environment=(\w+)=(\S+)$", unit.read_text(), re.MULTILINE)
    assert lines, "a unit without a setting of its own"
    load(None, {name: value.replace("%i", "9612").replace("%H", "host") for name, value in lines})
