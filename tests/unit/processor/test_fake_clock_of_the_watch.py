import pytest

from processor.clock import Clock
from processor.testing.clock import FakeClock


def test_time_passes_only_by_hand_and_the_wall_clock_can_step() -> None:
    fake = FakeClock(now=100, monotonic=5)
    clock: Clock = fake
    fake.advance(2)
    fake.step(-50)
    assert (clock.now(), clock.monotonic()) == (52, 7)
    with pytest.raises(ValueError, match="backwards"):
        fake.advance(-1)
