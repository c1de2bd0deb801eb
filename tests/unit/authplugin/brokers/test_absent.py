"""Sessions that have ended, and which of them are remembered for their wills."""

from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.absent import LEAST, Absent
from authplugin.model import Grant, Terms
from authplugin.policy import Policy
from authplugin.sessions import Session
from authplugin.settings import parse
from authplugin.topics.template import Templates
from tests.support.gates import CONFIG

ISSUER = "https://acme.my.site.com"


def policy(text: str = CONFIG) -> Policy:
    return parse(text, name="gate.toml", environ={}, base=Path()).policy


def session(connection: int, client_id: str = "") -> Session:
    grant = Grant("asset", "device", 1000.0, b"", b"", Terms(ISSUER, "", Templates((), ())))
    return Session(client_id or f"asset:{connection}", connection, grant, 1000.0, 1)


def test_a_session_that_ended_is_found_until_its_connection_is_anothers() -> None:
    absent = Absent(policy(), 0)
    absent.leave(session(7))
    assert absent.find(7) == session(7)
    assert absent.find(8) is None
    absent.enter(8)
    absent.enter(7)
    assert absent.find(7) is None


def test_the_session_that_ended_first_is_forgotten_first() -> None:
    absent = Absent(policy(), 0)
    for connection in (*range(LEAST), 0, LEAST):
        absent.leave(session(connection))
    assert len(absent) == LEAST
    assert absent.find(1) is None
    assert absent.find(0) is not None


def test_a_client_that_comes_and_goes_pushes_out_nobody_but_itself() -> None:
    absent = Absent(policy(), 0)
    absent.leave(session(1, "asset"))
    for connection in range(2, 10 * LEAST):
        absent.leave(session(connection, "another"))
    assert len(absent) == 2
    assert absent.find(1) is not None
    assert absent.find(10 * LEAST - 1) is not None


def test_a_connections_name_that_another_client_had_is_that_clients_no_longer() -> None:
    absent = Absent(policy(), 0)
    absent.leave(session(1, "first"))
    absent.leave(session(1, "second"))
    assert len(absent) == 1
    absent.leave(session(2, "first"))
    found = absent.find(1)
    assert found is not None
    assert found.client_id == "second"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (CONFIG, True),
        (CONFIG.replace("assetgate/heartbeat", "assetgate/pulse"), True),
        (CONFIG.replace("ingest.example.com", "other.example.com"), False),
        (CONFIG.replace(ISSUER, "https://other.my.site.com"), False),
    ],
)
def test_what_an_issuers_new_policy_may_judge_otherwise_is_forgotten(text: str, *, kept: bool) -> None:
    absent = Absent(policy(), 0)
    absent.leave(session(1))
    absent.judge_by(policy(text))
    assert (absent.find(1) is not None) is kept
    absent.leave(session(1))
    assert len(absent) == 1
