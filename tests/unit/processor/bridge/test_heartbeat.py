import json

import pytest

from processor.bridge.heartbeat import Pulse
from processor.errors import StreamError


def test_a_heartbeat_that_came_back_is_the_control_records_value() -> None:
    pulse = Pulse("bridge", 1000, 7)
    beat = pulse.receive(pulse.beat(5000), 5010)
    assert beat is not None
    assert pulse.carries(beat)
    assert json.loads(beat.record()) == {"ts": 5000, "bridge": "bridge"}


def test_of_two_bridges_on_one_session_the_one_that_started_first_gives_way() -> None:
    first, second = Pulse("bridge", 1000, 9), Pulse("bridge", 2000, 1)
    assert second.receive(first.beat(5000), 5010) is not None
    with pytest.raises(StreamError, match=r"run one bridge for each mqtt\.client_id"):
        first.receive(second.beat(5000), 5010)


def test_another_bridges_heartbeat_is_left_to_it_because_it_proves_another_road() -> None:
    one, two = Pulse("one", 1000, 1), Pulse("two", 2000, 2)
    beat = one.receive(two.beat(5000), 5010)
    assert beat is not None
    assert not one.carries(beat)


def test_an_earlier_run_of_the_same_bridge_is_carried_it_came_the_same_road() -> None:
    beat = Pulse("bridge", 2000, 2).receive(Pulse("bridge", 1000, 1).beat(1500), 2010)
    assert beat is not None
    assert Pulse("bridge", 2000, 2).carries(beat)


HOUR = 3_600_000


def test_a_bridge_that_started_while_its_clock_was_ahead_gives_way_once_it_is_set() -> None:
    first = Pulse("bridge", 12 * HOUR, 9)
    first.beat(12 * HOUR)
    last = first.beat(10 * HOUR)
    second = Pulse("bridge", 10 * HOUR + 1000, 1)
    assert second.receive(last, 10 * HOUR + 1000) is not None
    with pytest.raises(StreamError, match="took the session over"):
        first.receive(second.beat(10 * HOUR + 2000), 10 * HOUR + 2000)


@pytest.mark.parametrize("age", [2 * HOUR, -2 * HOUR, 60_000], ids=["ahead", "long ago", "a minute ahead"])
def test_what_a_dead_bridge_left_behind_whose_clock_was_ahead_takes_no_session(age: int) -> None:
    now = 10 * HOUR
    dead = Pulse("bridge", now + 3 * HOUR, 1).beat(now + age)
    assert Pulse("bridge", now, 2).receive(dead, now) is not None


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b"\xff", b'{"ts":"now","bridge":"b","started":1,"process":1}']
)
def test_what_is_no_heartbeat_is_none(payload: bytes) -> None:
    assert Pulse("bridge", 1000, 7).receive(payload, 5000) is None
