"""Sessions that have ended, and what a will of theirs is judged by."""

import pytest

from authplugin.brokers.mosquitto.absent import CAPACITY, LEAST, Absent
from authplugin.model import Grant, Terms
from authplugin.sessions import Session
from authplugin.topics.template import Templates

GRANT = Grant("asset", "device", 1000.0, b"", b"", Terms("", "", Templates((), ())))


def session(connection: int) -> Session:
    return Session("asset", connection, GRANT, 1000.0, 1)


def test_a_session_that_ended_is_found_until_its_connection_is_anothers() -> None:
    absent = Absent()
    absent.leave(session(7))
    assert absent.find(7) == session(7)
    assert absent.find(8) is None
    absent.enter(7)
    assert absent.find(7) is None


def test_the_session_that_ended_first_is_forgotten_first() -> None:
    absent = Absent(LEAST)
    for connection in (*range(LEAST), 0, LEAST):
        absent.leave(session(connection))
    assert len(absent) == LEAST
    assert absent.find(1) is None
    assert absent.find(0) is not None


@pytest.mark.parametrize(("asked", "held"), [(0, LEAST), (500, 500), (1_000_000, CAPACITY)])
def test_some_are_remembered_however_few_were_asked_for(asked: int, held: int) -> None:
    absent = Absent(asked)
    for connection in range(CAPACITY + 1):
        absent.leave(session(connection))
    assert len(absent) == held
