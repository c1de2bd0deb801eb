import pytest

from authplugin.errors import Reason
from authplugin.model import Grant, Terms
from authplugin.sessions import Sessions
from authplugin.testing import FakeClock
from authplugin.topics.template import Templates


def grant(clock: FakeClock, seconds: float = 100.0, digest: bytes = b"d") -> Grant:
    return Grant("a", "d", clock.now() + seconds, digest, b"", Terms("i", "k", Templates((), ())))


class Table(Sessions):
    def __init__(self, clock: FakeClock, jitter: float = 0.0) -> None:
        super().__init__(clock=clock, jitter=lambda: jitter)

    def kicked(self) -> list[tuple[str, str]]:
        return [(kick.session.client_id, kick.reason.value) for kick in self.due()]


@pytest.fixture(name="clock")
def make_clock() -> FakeClock:
    return FakeClock()


def test_a_session_ends_at_exp_leeway_and_jitter(clock: FakeClock) -> None:
    table = Table(clock, jitter=4.0)
    table.open("c", 1, grant(clock), generation=1, leeway=30.0)
    clock.advance(133.9)
    assert table.kicked() == []
    clock.advance(0.2)
    assert table.kicked() == [("c", "expired")]
    assert table.kicked() == []


def test_a_clock_set_back_lengthens_no_session(clock: FakeClock) -> None:
    table = Table(clock)
    table.open("c", 1, grant(clock), generation=1, leeway=0.0)
    clock.step(-86_400)
    clock.advance(100)
    assert table.kicked() == [("c", "expired")]


def test_a_session_judged_again_under_a_clock_set_back_ends_when_it_would_have(clock: FakeClock) -> None:
    table = Table(clock)
    same = grant(clock)
    table.open("c", 1, same, generation=1, leeway=0.0)
    clock.step(-86_400)
    table.open("c", 1, same, generation=2, leeway=0.0)
    clock.advance(100)
    assert table.kicked() == [("c", "expired")]
    assert table.kicked() == []


def test_a_second_connection_takes_the_client_id_over(clock: FakeClock) -> None:
    table = Table(clock)
    assert table.open("c", 1, grant(clock), generation=1, leeway=0.0) is None
    taken = table.open("c", 2, grant(clock), generation=1, leeway=0.0)
    assert taken is not None
    assert taken.connection == 1
    assert len(table) == 1


def test_the_late_end_of_an_old_connection_leaves_the_new_one(clock: FakeClock) -> None:
    table = Table(clock)
    table.open("c", 1, grant(clock), generation=1, leeway=0.0)
    table.open("c", 2, grant(clock), generation=1, leeway=0.0)
    assert table.close("c", 1) is None
    assert table.find("c") is not None
    closed = table.close("c", 2)
    assert closed is not None
    assert table.find("c") is None
    assert table.close("c", 2) is None


def test_a_token_renewed_on_the_same_connection_moves_its_end(clock: FakeClock) -> None:
    table = Table(clock)
    table.open("c", 1, grant(clock, 100), generation=1, leeway=0.0)
    assert table.open("c", 1, grant(clock, 500), generation=1, leeway=0.0) is None
    clock.advance(101)
    assert table.kicked() == []
    clock.advance(400)
    assert table.kicked() == [("c", "expired")]


def test_a_closed_session_is_not_kicked(clock: FakeClock) -> None:
    table = Table(clock)
    table.open("c", 1, grant(clock), generation=1, leeway=0.0)
    table.close("c", 1)
    clock.advance(1000)
    assert table.kicked() == []


def test_a_kick_carries_its_reason_and_comes_once(clock: FakeClock) -> None:
    table = Table(clock)
    table.open("c", 1, grant(clock), generation=1, leeway=0.0)
    table.kick("c", Reason.REVOKED)
    table.kick("nobody", Reason.REVOKED)
    clock.advance(1000)
    assert table.kicked() == [("c", "revoked")]
    assert table.kicked() == []


def test_a_client_that_reconnects_for_ever_fills_no_memory(clock: FakeClock) -> None:
    table = Table(clock)
    long = grant(clock, 600_000)
    for connection in range(10_000):
        table.open("c", connection, long, generation=1, leeway=0.0)
    assert table.waiting <= 2 * len(table) + 1024
    clock.advance(600_001)
    assert table.kicked() == [("c", "expired")]


def test_a_session_is_told_to_expire_once_and_then_ends(clock: FakeClock) -> None:
    table = Sessions(clock=clock, jitter=lambda: 0.0, warning=60.0)
    table.open("c", 1, grant(clock), generation=1, leeway=0.0)
    clock.advance(39.0)
    assert table.due() == []
    assert table.expiring() == []
    clock.advance(1.0)
    assert table.due() == []
    assert [session.client_id for session in table.expiring()] == ["c"]
    clock.advance(59.0)
    assert table.due() == []
    assert table.expiring() == []
    clock.advance(1.0)
    assert [kick.reason.value for kick in table.due()] == ["expired"]


def test_a_session_renewed_in_time_is_told_to_expire_at_its_new_end_only(clock: FakeClock) -> None:
    table = Sessions(clock=clock, jitter=lambda: 0.0, warning=60.0)
    table.open("c", 1, grant(clock), generation=1, leeway=0.0)
    table.open("c", 1, grant(clock, 1000.0), generation=1, leeway=0.0)
    clock.advance(500)
    assert table.due() == []
    assert table.expiring() == []
    clock.advance(440)
    assert table.due() == []
    assert len(table.expiring()) == 1


def test_who_was_asked_to_leave_is_said_why_once(clock: FakeClock) -> None:
    table = Table(clock)
    table.open("c", 1, grant(clock), generation=1, leeway=0.0)
    table.kick("c", Reason.REVOKED)
    (kick,) = table.due()
    assert table.leaving(kick.session) is Reason.REVOKED
    assert table.leaving(kick.session) is None


def test_a_session_judged_again_began_when_it_began(clock: FakeClock) -> None:
    table = Table(clock)
    table.open("c", 1, grant(clock), generation=1, leeway=0.0, address="192.0.2.1")
    began = clock.now()
    clock.advance(10)
    table.open("c", 1, grant(clock), generation=2, leeway=0.0, address="192.0.2.1")
    (session,) = table.snapshot()
    assert (session.opened, session.generation, session.address) == (began, 2, "192.0.2.1")
