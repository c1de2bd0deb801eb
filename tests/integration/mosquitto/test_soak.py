"""The soak of ``make soak`` runs: every device does what it should, and leaves nothing open."""

from pathlib import Path

import msgspec
import pytest

from tests.soak.mosquitto import Outcome, Sample, run

pytestmark = pytest.mark.needs("mosquitto", "cc")

HABITS = {
    "connected",
    "dropped out",
    "left",
    "proved",
    "published",
    "refused",
    "refused a topic",
    "renewed",
    "taken over",
}


def test_a_short_soak_has_every_habit_and_leaks_no_descriptor(tmp_path: Path) -> None:
    outcome = run(8.0, 64, folder=tmp_path)
    assert set(outcome.done) >= HABITS
    assert outcome.done["ended: Closed"] > 0, "no token ended"
    assert outcome.descriptors_after <= outcome.descriptors_before
    assert not outcome.judged
    assert msgspec.json.decode((tmp_path / "mosquitto.json").read_bytes(), type=Outcome) == outcome


def test_growth_and_leaks_fail_a_soak_that_was_long_enough() -> None:
    flat = Outcome(1200.0, 10, {}, 0.5, 0.1, True, 8, 8, [Sample(0.0, 40.0, 8)])
    assert flat.held
    assert not msgspec.structs.replace(flat, growth_mib=1.1).held
    assert msgspec.structs.replace(flat, growth_mib=1.1, judged=False).held
    assert not msgspec.structs.replace(flat, descriptors_after=9).held
