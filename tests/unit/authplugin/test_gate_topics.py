import pytest

from authplugin.errors import Reason
from authplugin.model import Action, Allow, Deny, Grant, Terms
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
