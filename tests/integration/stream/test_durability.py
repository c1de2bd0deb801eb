"""The ledger of ``make test-durability``, in seconds: a little of everything, and the books balance."""

from pathlib import Path

import msgspec
import pytest

from tests.durability.autosave import Loss, measure
from tests.durability.ledger import Book, Seen
from tests.durability.run import Plan, run

SMALL = Plan(
    assets=40,
    per_asset=20,
    rate=100.0,
    seed=3,
    pause=(0.2, 0.6),
    # How much a kill repeats is chance in so short a run; that the group was dealt anew is not.
    least=Seen(bridge_duplicates=0, replays=0, rebalances=1),
    deck=("kill bridge", "kill worker two", "kill kafka", "restart mosquitto"),
)


@pytest.mark.needs("mosquitto", "java", "maven")
@pytest.mark.timeout(300)
def test_the_books_balance_after_everything_was_killed_once(tmp_path: Path) -> None:
    good = run(SMALL, tmp_path)
    book = msgspec.json.decode((tmp_path / "ledger.json").read_bytes(), type=Book)
    assert book.faults == []
    assert good
    assert book.sent == book.counts["judged"] == 40 * 20 * 5
    assert set(SMALL.deck) <= set(book.evils)


@pytest.mark.needs("mosquitto")
def test_what_a_killed_broker_lost_is_measured(tmp_path: Path) -> None:
    (loss,) = measure(tmp_path, rounds=1)
    assert 0 <= loss.lost < loss.acknowledged
    assert msgspec.json.decode((tmp_path / "autosave.json").read_bytes(), type=list[Loss]) == [loss]
