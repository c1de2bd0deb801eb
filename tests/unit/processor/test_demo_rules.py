"""The demo's rules on the demo's machines: each faulty one is found once and soon, a healthy one never."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from deploy.demo.machine import Fault, Machine
from processor.engine import Engine
from processor.rules import load_rules
from tests.support.telemetry import START, Written, beat, event, payload

RULES = Path(__file__).parents[3] / "deploy" / "demo" / "rules.yaml"
EXPECTED = {
    Fault.OVERHEATING: ("overheating", "assetgate.case.opened.v1"),
    Fault.SILENT: ("silent", "assetgate.case.opened.v1"),
    Fault.RUNNING_LOW: ("toner-runs-out", "assetgate.opportunity.opened.v1"),
    Fault.SUPPLY_LOW: ("supply-low", "assetgate.opportunity.opened.v1"),
}
FAULT_AFTER = 12
SECONDS = 150


def stream(seed: int) -> list[Written]:
    """Fifty machines for more than one of their days, a record a second each."""
    faults = [*EXPECTED, *([Fault.NONE] * 46)]
    fleet = [Machine(seed * 1000 + n, fault=fault, fault_after=FAULT_AFTER) for n, fault in enumerate(faults)]
    records: list[Written] = []
    signalled = False
    for second in range(SECONDS):
        for number, machine in enumerate(fleet):
            t = START + second * 1000 + number * 20
            reading = machine.advance(1.0)
            if machine.failing and machine.fault is Fault.SILENT:
                continue
            asset = f"asset{number}"
            if machine.failing and machine.fault is Fault.SUPPLY_LOW and not signalled:
                records.append(event(asset, t, "supply_low"))
                signalled = True
            metrics = asdict(reading) | {"toner": {"v": reading.toner, "u": "%"}}
            message = {"ts": t, "seq": second, "metrics": metrics}
            records.append(payload(asset, json.dumps(message).encode(), received=t))
        records.append(beat(START + (second + 1) * 1000))
    return records


@pytest.mark.parametrize("seed", [1, 2, 3, 7, 2026])
def test_four_faulty_machines_are_found_once_within_a_minute_and_the_healthy_never(seed: int) -> None:
    engine = Engine(load_rules(RULES), partition=0)
    outcome = engine.advance(stream(seed))
    opened = {e.key.decode(): (e.rule, e.type) for e in outcome.events if ".opened." in e.type}
    assert opened == {f"asset{number}": found for number, found in enumerate(EXPECTED.values())}
    assert len(outcome.events) == len(EXPECTED), [e.type for e in outcome.events]
    assert all(e.time - START < 60_000 for e in outcome.events)
    assert outcome.dead == []
    assert outcome.counts.balanced
    assert outcome.counts.judged == outcome.counts.received
