"""Sessions that have ended, and what a will of theirs is judged by."""

import pytest

from authplugin.brokers.mosquitto.absent import Absent
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


def test_the_session_that_ended_first_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authplugin.brokers.mosquitto.absent.CAPACITY", 3)
    absent = Absent()
    for connection in (1, 2, 3, 1, 4):
        absent.leave(session(connection))
    assert len(absent) == 3
    assert absent.find(2) is None
    assert absent.find(1) is not None
