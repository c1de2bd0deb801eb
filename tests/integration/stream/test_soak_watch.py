"""The soak of ``make soak`` runs through the whole watch, and knows growth, leaks and lag."""

from pathlib import Path

import msgspec
import pytest

from tests.soak.watch import GROWTH_MIB, LAG_S, Outcome, Sample, run


@pytest.mark.needs("mosquitto", "java", "maven")
@pytest.mark.timeout(120)
def test_a_short_soak_judges_what_is_published(tmp_path: Path) -> None:
    outcome = run(4.0, 300.0, 40, folder=tmp_path)
    assert outcome.judged_samples > 0
    assert set(outcome.growth_mib) == {"bridge", "worker"}
    assert all(sample.rss_mib["worker"] > 0 for sample in outcome.samples)
    assert not outcome.judged
    assert msgspec.json.decode((tmp_path / "watch.json").read_bytes(), type=Outcome) == outcome


def test_growth_leaks_and_lag_fail_a_soak_that_was_long_enough() -> None:
    both = {"bridge": 0.0, "worker": 0.0}
    none = {"bridge": 0, "worker": 0}
    flat = Outcome(1200.0, 5000.0, 5000.0, 1e6, both, both, none, 100.0, True, [Sample(0.0, both, none, 0.0)])
    replace = msgspec.structs.replace
    assert flat.held
    grown = replace(flat, growth_mib=both | {"worker": GROWTH_MIB + 0.1})
    assert not grown.held
    assert replace(grown, judged=False).held
    assert not replace(flat, leaked=none | {"bridge": 1}).held
    assert not replace(flat, most_lag=5000.0 * LAG_S + 1).held
