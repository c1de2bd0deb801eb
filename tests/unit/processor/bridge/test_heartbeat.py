import json

import pytest

from processor.bridge.heartbeat import Pulse
from processor.errors import StreamError


def test_a_heartbeat_that_came_back_is_the_control_records_value() -> None:
    pulse = Pulse("bridge", 1000, 7)
    value = pulse.receive(pulse.beat(5000))
    assert json.loads(value or b"") == {"ts": 5000, "bridge": "bridge"}


def test_of_two_bridges_on_one_session_the_one_that_started_first_gives_way() -> None:
    first, second = Pulse("bridge", 1000, 9), Pulse("bridge", 2000, 1)
    assert second.receive(first.beat(5000)) is not None
    with pytest.raises(StreamError, match=r"run one bridge for each mqtt\.client_id"):
        first.receive(second.beat(5000))


def test_another_client_ids_heartbeat_is_carried() -> None:
    assert Pulse("one", 1000, 1).receive(Pulse("two", 2000, 2).beat(1)) is not None


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b"\xff", b'{"ts":"now","bridge":"b","started":1,"process":1}']
)
def test_what_is_no_heartbeat_is_none(payload: bytes) -> None:
    assert Pulse("bridge", 1000, 7).receive(payload) is None
