import json
import stat
import time
from pathlib import Path

import pytest

from authplugin import audit as audit_module
from authplugin.audit import REFUSED_PER_SECOND, Audit
from authplugin.auditfile import AuditFile
from authplugin.clones import Finding, Kind
from authplugin.errors import Reason
from authplugin.model import Action, Allow, Connect, Deny, Possession
from authplugin.sessions import Session
from authplugin.testing import FakeClock
from tests.support.gates import AID, Bench

CONNECT = Connect("c", None, b"x", "192.0.2.1")


def make_audit(
    path: Path, *, sample: float = 1.0, draw: float = 0.5, clock: FakeClock | None = None, wait: float = 0.01
) -> Audit:
    return Audit(
        AuditFile(path),
        clock=FakeClock() if clock is None else clock,
        flush_seconds=wait,
        sample_allowed=sample,
        draw=lambda: draw,
    )


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_decision_is_one_json_line(tmp_path: Path) -> None:
    audit = make_audit(tmp_path / "audit")
    grant = Bench().grant()
    audit.authenticated(Connect(AID, None, b"x", "192.0.2.1"), Allow(grant), 0.00003)
    audit.authenticated(Connect("c", None, b"x", "192.0.2.1"), Deny(Reason.EXPIRED, "why"), 0.1)
    audit.authorized(grant, Action.PUBLISH, "t" * 100, Deny(Reason.TOPIC_DENIED))
    audit.authorized(grant, Action.PUBLISH, "t", Allow(grant))
    audit.failed(ValueError())
    audit.flush()
    allowed, refused, topic = lines(audit.path)
    assert allowed["event"] == "connect"
    assert (allowed["outcome"], allowed["asset"], allowed["digest"]) == ("allowed", AID, grant.token_digest)
    assert "possession" not in allowed
    assert (refused["outcome"], refused["reason"], refused["detail"]) == ("refused", "expired", "why")
    assert (topic["event"], topic["reason"], topic["topic"]) == ("publish", "topic_denied", "t" * 64)
    assert stat.S_IMODE(audit.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("possession", [Possession.NONCE, Possession.CERTIFICATE])
def test_a_proof_of_possession_is_in_the_line(tmp_path: Path, possession: Possession) -> None:
    audit = make_audit(tmp_path / "audit")
    audit.authenticated(Connect(AID, None, None, "192.0.2.1"), Allow(Bench().grant(), possession), 0.0)
    audit.flush()
    assert lines(audit.path)[0]["possession"] == possession.value


@pytest.mark.parametrize(("draw", "written"), [(0.09, 1), (0.1, 0)])
def test_allowed_connects_are_sampled_and_refused_ones_never(
    tmp_path: Path, draw: float, written: int
) -> None:
    audit = make_audit(tmp_path / "audit", sample=0.1, draw=draw)
    connect = Connect(AID, None, b"x", "192.0.2.1")
    audit.authenticated(connect, Allow(Bench().grant()), 0.0)
    audit.authenticated(connect, Deny(Reason.EXPIRED), 0.0)
    audit.flush()
    assert len(lines(audit.path)) == written + 1


def test_a_token_given_as_user_name_or_client_id_is_not_repeated(tmp_path: Path) -> None:
    audit = make_audit(tmp_path / "audit")
    bench = Bench()
    token = bench.mint.mint().decode()
    connect = Connect(token, token, token.encode(), "192.0.2.1")
    audit.authenticated(connect, bench.gate.authenticate(connect), 0.0)
    audit.flush()
    text = audit.path.read_text()
    header, payload, signature = token.split(".")
    assert signature[:20] not in text
    assert payload not in text
    assert lines(audit.path)[0]["client"] == token[:64]
    assert header


def test_a_full_disk_costs_lines_and_says_how_many(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    audit = make_audit(folder / "audit")
    connect = Connect("c", None, b"x", "192.0.2.1")
    for _ in range(3):
        audit.authenticated(connect, Deny(Reason.EXPIRED), 0.0)
    audit.flush()
    audit.authenticated(connect, Deny(Reason.EXPIRED), 0.0)
    audit.flush()
    assert audit.dropped == 4
    folder.mkdir()
    audit.authenticated(connect, Deny(Reason.EXPIRED), 0.0)
    audit.flush()
    dropped, line = lines(audit.path)
    assert (dropped["event"], dropped["count"]) == ("dropped", 4)
    assert line["reason"] == "expired"
    audit.authenticated(connect, Deny(Reason.EXPIRED), 0.0)
    audit.flush()
    assert len(lines(audit.path)) == 3
    assert audit.dropped == 4


def test_the_queue_is_bounded(tmp_path: Path) -> None:
    audit = make_audit(tmp_path / "audit")
    allowed = Allow(Bench().grant())
    for _ in range(audit_module.QUEUE + 5):
        audit.authenticated(CONNECT, allowed, 0.0)
    assert audit.dropped == 5


def test_a_rotated_file_is_let_go_of(tmp_path: Path) -> None:
    audit = make_audit(tmp_path / "audit")
    connect = Connect("c", None, b"x", "192.0.2.1")
    for _ in range(2):
        audit.authenticated(connect, Deny(Reason.EXPIRED), 0.0)
        audit.flush()
        audit.path.rename(tmp_path / f"old{len(list(tmp_path.iterdir()))}")
    assert not audit.path.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_the_thread_writes_what_waits_before_it_ends(tmp_path: Path) -> None:
    audit = make_audit(tmp_path / "audit")
    audit.start()
    audit.authenticated(Connect("c", None, b"x", "192.0.2.1"), Deny(Reason.EXPIRED), 0.0)
    audit.stop(10.0)
    audit.flush()
    assert len(lines(audit.path)) == 1


def test_refusals_beyond_a_hundred_a_second_are_summed_by_reason(tmp_path: Path) -> None:
    clock = FakeClock()
    audit = make_audit(tmp_path / "audit", clock=clock)
    grant = Bench().grant()
    for _ in range(REFUSED_PER_SECOND):
        audit.authenticated(CONNECT, Deny(Reason.MALFORMED, "why"), 0.0)
    for _ in range(30):
        audit.authenticated(CONNECT, Deny(Reason.EXPIRED), 0.0)
    audit.flush()
    for _ in range(20):
        audit.authorized(grant, Action.PUBLISH, "t", Deny(Reason.TOPIC_DENIED))
    audit.authenticated(CONNECT, Allow(grant), 0.0)
    audit.flush()
    *single, allowed = lines(audit.path)
    assert [line["reason"] for line in single] == ["malformed"] * REFUSED_PER_SECOND
    assert allowed["outcome"] == "allowed"
    clock.advance(1.0)
    audit.authenticated(CONNECT, Deny(Reason.EXPIRED, "one of the next second"), 0.0)
    audit.flush()
    expired, topics, following = lines(audit.path)[-3:]
    assert (expired["event"], expired["reason"], expired["count"]) == ("connect", "expired", 30)
    assert (topics["event"], topics["reason"], topics["count"]) == ("publish", "topic_denied", 20)
    assert (following["detail"], "count" in following) == ("one of the next second", False)


def test_what_was_summed_is_written_when_the_flood_ends(tmp_path: Path) -> None:
    clock = FakeClock()
    audit = make_audit(tmp_path / "audit", clock=clock)
    for _ in range(REFUSED_PER_SECOND + 7):
        audit.authenticated(CONNECT, Deny(Reason.EXPIRED), 0.0)
    audit.flush()
    assert len(lines(audit.path)) == REFUSED_PER_SECOND
    clock.advance(2.0)
    audit.flush()
    assert lines(audit.path)[-1]["count"] == 7


def test_what_was_summed_is_written_at_the_end(tmp_path: Path) -> None:
    audit = make_audit(tmp_path / "audit")
    audit.start()
    for _ in range(REFUSED_PER_SECOND + 3):
        audit.authenticated(CONNECT, Deny(Reason.EXPIRED), 0.0)
    audit.stop(10.0)
    assert lines(audit.path)[-1]["count"] == 3


def test_many_lines_wake_the_thread_before_its_time(tmp_path: Path) -> None:
    audit = make_audit(tmp_path / "audit", wait=3600.0)
    audit.start()
    allowed = Allow(Bench().grant())
    for _ in range(audit_module.WAKE + 1):
        audit.authenticated(CONNECT, allowed, 0.0)
    deadline = time.monotonic() + 30.0
    while not audit.path.exists() or not lines(audit.path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    audit.stop(10.0)
    assert len(lines(audit.path)) == audit_module.WAKE + 1


def test_a_client_id_that_is_no_unicode_takes_no_line_with_it(tmp_path: Path) -> None:
    audit = make_audit(tmp_path / "audit")
    audit.authenticated(Connect("a\ud800b", None, b"x", "192.0.2.1"), Deny(Reason.EXPIRED), 0.0)
    audit.authenticated(CONNECT, Deny(Reason.EXPIRED), 0.0)
    audit.flush()
    assert [line["client"] for line in lines(audit.path)] == ["a?b", "c"]


def test_sessions_that_the_gate_ends_and_clones_are_lines_too(tmp_path: Path) -> None:
    audit = make_audit(tmp_path / "audit")
    bench = Bench()
    session = Session(f"{AID}:x", 1, bench.grant(), 0.0, 1, "192.0.2.1")
    audit.session_opened(session)
    audit.session_expiring(session)
    audit.session_ended(session, None)
    audit.session_ended(session, Reason.REVOKED)
    audit.clone_found(Finding(Kind.CLIENTS, session, AID, 1.0, quarantined=True))
    audit.clone_found(Finding(Kind.KEY, session, "", 1.0, quarantined=False))
    audit.authenticated(
        Connect("c", None, b"x", "192.0.2.1"), Deny(Reason.REVOKED, "why", session.grant), 0.1
    )
    audit.flush()
    end, clone, key, refused = lines(audit.path)
    assert (end["event"], end["reason"], end["asset"]) == ("end", "revoked", AID)
    assert (end["client"], end["address"]) == (f"{AID}:x", "192.0.2.1")
    assert (clone["event"], clone["reason"], clone["detail"]) == ("clone", "quarantined", f"clients {AID}")
    assert (key.get("reason"), key["detail"]) == (None, "key")
    assert (refused["asset"], refused["digest"]) == (AID, session.grant.token_digest)
