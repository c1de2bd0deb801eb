import pytest

from authplugin.errors import Reason
from authplugin.model import Action, Allow, Deny, Grant, Terms
from authplugin.revocation import NONE, parse_revocations
from authplugin.sessions import Session
from tests.support.gates import AID, DID, SHORT, Bench, refused

OTHER = "02iAB00000XdEfGYAV"


@pytest.fixture(name="bench")
def make_bench() -> Bench:
    return Bench()


TOPICS = [
    (Action.PUBLISH, f"assets/{AID}/telemetry", None),
    (Action.PUBLISH, f"assets/{AID}/telemetry/temperature", None),
    (Action.PUBLISH, f"assets/{AID}/events/supply_low", None),
    (Action.PUBLISH, f"assets/{AID}/status", None),
    (Action.PUBLISH, f"assets/{AID}/status/x", "topic_denied"),
    (Action.PUBLISH, f"assets/{AID}/commands/x", "topic_denied"),
    (Action.PUBLISH, f"assets/{OTHER}/telemetry", "topic_denied"),
    (Action.PUBLISH, f"assets/{AID}/telemetry/#", "topic_denied"),
    (Action.PUBLISH, f"assets/{SHORT}/telemetry/x", "topic_id_form"),
    (Action.PUBLISH, f"assets/{SHORT}/other", "topic_denied"),
    (Action.PUBLISH, "$SYS/x", "topic_denied"),
    (Action.PUBLISH, "$CONTROL/dynamic-security/v1", "topic_denied"),
    (Action.PUBLISH, "", "topic_denied"),
    (Action.SUBSCRIBE, f"assets/{AID}/commands/#", None),
    (Action.SUBSCRIBE, f"assets/{AID}/commands/+/x", None),
    (Action.SUBSCRIBE, f"$share/g/assets/{AID}/commands/#", None),
    (Action.SUBSCRIBE, f"$share/g/assets/{OTHER}/commands/#", "topic_denied"),
    (Action.SUBSCRIBE, "$share/g/#", "topic_denied"),
    (Action.SUBSCRIBE, "$share//x", "topic_denied"),
    (Action.SUBSCRIBE, "#", "topic_denied"),
    (Action.SUBSCRIBE, "assets/+/commands/#", "topic_denied"),
    (Action.SUBSCRIBE, f"assets/{AID}/#", "topic_denied"),
    (Action.SUBSCRIBE, f"assets/{AID}/telemetry/#", "topic_denied"),
    (Action.SUBSCRIBE, f"assets/{SHORT}/commands/#", "topic_id_form"),
    (Action.SUBSCRIBE, "$SYS/#", "topic_denied"),
    (Action.RECEIVE, f"assets/{AID}/commands/x", None),
    (Action.RECEIVE, f"assets/{AID}/telemetry", "topic_denied"),
    (Action.RECEIVE, f"assets/{AID}/commands/#", "topic_denied"),
]


@pytest.mark.parametrize(("action", "topic", "reason"), TOPICS)
def test_a_grant_reaches_its_own_topics_only(
    bench: Bench, action: Action, topic: str, reason: str | None
) -> None:
    grant = bench.grant()
    decision = bench.gate.authorize(grant, action, topic)
    if reason is None:
        assert decision == Allow(grant)
    else:
        assert refused(decision) == reason


def test_the_short_form_is_answered_with_the_right_topic(bench: Bench) -> None:
    decision = bench.gate.authorize(bench.grant(), Action.PUBLISH, f"assets/{SHORT}/telemetry/x")
    assert isinstance(decision, Deny)
    assert f"assets/{AID}/telemetry/x" in decision.detail


def test_what_is_said_of_a_long_topic_is_short(bench: Bench) -> None:
    decision = bench.gate.authorize(bench.grant(), Action.PUBLISH, f"assets/{SHORT}/telemetry/{'x' * 60_000}")
    assert refused(decision) == Reason.TOPIC_ID_FORM
    assert isinstance(decision, Deny)
    assert f"assets/{AID}/telemetry/x" in decision.detail
    assert len(decision.detail) < 400


def test_a_grant_of_an_issuer_no_longer_known_gets_no_hint(bench: Bench) -> None:
    stranger = Grant(AID, DID, 0.0, b"", b"", Terms("https://gone.example.com", "k", bench.policy.topics))
    decision = bench.gate.authorize(stranger, Action.PUBLISH, f"assets/{SHORT}/telemetry/x")
    assert refused(decision) == "topic_denied"


def test_an_unknown_action_is_denied_and_counted(bench: Bench) -> None:
    decision = bench.gate.authorize(bench.grant(), "delete", f"assets/{AID}/status")  # type: ignore[arg-type] # a door's mistake
    assert refused(decision) == "internal"
    assert [type(fault) for fault in bench.witness.faults] == [ValueError]


class TestAWill:
    """What a client left behind is judged when it is sent."""

    TOPIC = f"assets/{AID}/status"

    def left(self, bench: Bench, grant: Grant) -> Session:
        """A session of that grant, which has ended."""
        bench.gate.open_session(AID, 1, grant)
        session = bench.gate.close_session(AID, 1)
        assert session is not None
        return session

    def late(self, bench: Bench, session: Session, topic: str = TOPIC) -> str | None:
        decision = bench.gate.authorize_late(session, Action.PUBLISH, topic)
        assert bench.witness.decisions[-1] == decision
        return None if isinstance(decision, Allow) else refused(decision)

    def test_goes_where_its_grant_reaches_and_nowhere_else(self, bench: Bench) -> None:
        session = self.left(bench, bench.grant())
        assert self.late(bench, session) is None
        assert self.late(bench, session, f"assets/{OTHER}/status") == "topic_denied"

    def test_is_held_back_from_the_second_its_session_would_have_ended(self) -> None:
        bench = Bench(jitter=3.0)
        session = self.left(bench, bench.grant())
        bench.clock.advance(session.grant.expires + 30 + 3 - bench.clock.now() - 1)
        assert self.late(bench, session) is None
        bench.clock.advance(1)
        assert self.late(bench, session) == "expired"

    def test_is_held_back_while_its_token_is_revoked(self, bench: Bench) -> None:
        session = self.left(bench, bench.grant())
        bench.gate.revoke(parse_revocations(f'{{"asset":"{AID}"}}'.encode(), "revocations"))
        assert self.late(bench, session) == "revoked"
        bench.gate.revoke(NONE)
        assert self.late(bench, session) is None

    def test_is_held_back_while_its_asset_is_quarantined(self, bench: Bench) -> None:
        session = self.left(bench, bench.grant())
        bench.gate.quarantine(AID, 10.0)
        assert self.late(bench, session) == "quarantined"
        bench.clock.advance(11)
        assert self.late(bench, session) is None

    def test_is_held_back_when_its_issuer_is_no_longer_known(self, bench: Bench) -> None:
        terms = Terms("https://gone.example.com", "k", bench.policy.topics)
        stranger = Grant(AID, DID, bench.clock.now() + 60, b"", b"", terms)
        assert self.late(bench, self.left(bench, stranger)) == "issuer_unknown"

    def test_is_held_back_when_the_gate_fails(self, bench: Bench) -> None:
        session = self.left(bench, bench.grant())
        bench.gate.revoke(object())  # type: ignore[arg-type] # a fault
        assert self.late(bench, session) == "internal"
