import itertools
import json
from typing import Any

import pytest

from authplugin.clones import Rules
from authplugin.errors import Reason
from authplugin.events import PATIENCE_SECONDS, AuthEvent, Events
from authplugin.model import Allow, Connect, Deny, Possession
from tests.support.contracts import TOPICS, holds
from tests.support.gates import AID, DID, Bench


class Scene:
    """Events of a gate."""

    def __init__(self, *, capacity: int = 1000) -> None:
        self.unusable: set[str] = set()
        self.bench = Bench(rules=Rules(quarantine_score=1.0), warning=60.0)
        counter = itertools.count(1)
        self.events = Events(
            clock=self.bench.clock,
            new_id=lambda: str(next(counter)),
            unusable=lambda: self.unusable,
            capacity=capacity,
        )
        gate = self.bench.gate
        self.gate = type(gate)(
            self.bench.policy,
            self.bench.keys,
            clock=self.bench.clock,
            sessions=self.bench.sessions,
            verdicts=self.bench.verdicts,
            metrics=self.bench.witness,
            events=self.events,
            throttle=self.bench.throttle,
            clones=self.bench.clones,
        )

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """What waits, each held to the contract."""
        taken = []
        for event in self.events.take():
            payload = json.loads(event.payload)
            assert holds("auth-event", payload), payload
            assert payload["type"].startswith("assetgate.auth.")
            taken.append((event.topic, payload))
        return taken

    def kinds(self) -> list[str]:
        return [payload["type"].split(".")[2] for _, payload in self.take()]

    def refuse(self, reason: Reason, client_id: str = "x") -> None:
        self.events.authenticated(Connect(client_id, None, b"t", "192.0.2.1"), Deny(reason), 0.0)


@pytest.fixture(name="scene")
def make_scene() -> Scene:
    return Scene()


def test_a_client_id_that_is_no_unicode_keeps_no_other_event_back(scene: Scene) -> None:
    scene.refuse(Reason.EXPIRED, "fine")
    scene.refuse(Reason.MALFORMED, "\ud800")
    assert [payload["data"]["claimed_clientId"] for _, payload in scene.take()] == ["fine", "?"]


def test_a_session_tells_who_began_and_ended_it(scene: Scene) -> None:
    token = scene.bench.mint.mint()
    decision = scene.gate.authenticate(Connect(AID, None, token, "192.0.2.1"))
    assert isinstance(decision, Allow)
    scene.gate.open_session(AID, 1, decision.grant, possession=Possession.NONCE)
    scene.gate.close_session(AID, 1)
    (topic, started), (_, ended) = scene.take()
    grant = decision.grant
    assert topic == f"assetgate/auth/{AID}"
    assert started["type"] == "assetgate.auth.session_started.v1"
    assert ended["type"] == "assetgate.auth.session_ended.v1"
    assert started["subject"] == AID
    assert started["time"] == "2023-11-14T22:13:20.000+00:00"
    assert started["data"] == {
        "reason": None,
        "assetId": AID,
        "deviceId": DID,
        "issuer": "https://acme.my.site.com",
        "kid": "Assets",
        "keyThumbprint": grant.key_thumbprint,
        "possession": "nonce",
        "clientId": AID,
        "tokenDigest": grant.token_digest,
        "expires": grant.expires,
    }
    assert started["id"] != ended["id"]


def test_a_client_that_proved_nothing_only_claims(scene: Scene) -> None:
    scene.gate.authenticate(Connect(AID, DID, scene.bench.mint.forged(), "192.0.2.1"))
    ((topic, event),) = scene.take()
    assert topic == "assetgate/auth/-"
    assert "subject" not in event
    assert event["data"] == {"reason": "signature_invalid", "claimed_clientId": AID}


def test_a_verified_client_that_is_refused_is_named(scene: Scene) -> None:
    scene.gate.authenticate(Connect("someone-else", None, scene.bench.mint.mint(), "192.0.2.1"))
    ((topic, event),) = scene.take()
    assert topic == f"assetgate/auth/{AID}"
    assert event["data"]["reason"] == "client_id_mismatch"
    assert event["data"]["clientId"] == "someone-else"


def test_refusals_are_told_one_by_one_a_second_and_summed_beyond_that(scene: Scene) -> None:
    for _ in range(100):
        scene.refuse(Reason.EXPIRED)
    scene.refuse(Reason.MALFORMED)
    told = [(event["data"]["reason"], event.get("count", 1)) for _, event in scene.take()]
    assert told == [("expired", 1), ("malformed", 1), ("expired", 99)]
    assert scene.take() == []
    scene.bench.clock.advance(1.0)
    scene.refuse(Reason.EXPIRED)
    assert [event.get("count", 1) for _, event in scene.take()] == [1]


def test_a_token_put_where_the_client_id_belongs_is_cut(scene: Scene) -> None:
    token = scene.bench.mint.mint().decode()
    scene.refuse(Reason.MALFORMED, token)
    ((_, event),) = scene.take()
    assert event["data"]["claimed_clientId"] == token[:64]


def test_what_waits_is_bounded_and_the_rest_counted() -> None:
    scene = Scene(capacity=3)
    for reason in list(Reason)[:10]:
        scene.refuse(reason)
    assert len(scene.events) == 3
    assert scene.events.dropped == 7
    assert len(scene.events.take(2)) == 2
    assert len(scene.events.take(2)) == 1


def test_an_end_that_comes_near_is_told(scene: Scene) -> None:
    scene.gate.open_session(AID, 1, scene.bench.grant())
    scene.bench.clock.advance(518_400 + 30 - 60)
    assert scene.gate.due() == []
    assert scene.kinds() == ["session_started", "expiring"]


def test_a_clone_is_told_with_what_it_led_to(scene: Scene) -> None:
    grant = scene.bench.grant()
    scene.gate.open_session(AID, 1, grant)
    scene.gate.open_session(f"{AID}:2", 2, grant)
    clone = scene.take()[-1][1]
    assert clone["type"] == "assetgate.auth.clone.v1"
    assert (clone["data"]["reason"], clone["data"]["clientId"]) == ("quarantined", f"{AID}:2")


def test_a_revocation_that_ends_a_session_is_told_beside_the_end(scene: Scene) -> None:
    scene.gate.open_session(AID, 1, scene.bench.grant())
    scene.bench.sessions.kick(AID, Reason.REVOKED)
    scene.gate.due()
    scene.gate.close_session(AID, 1)
    assert scene.kinds() == ["session_started", "revoked", "session_ended"]


def test_keys_that_stay_unusable_are_told_once_until_they_are_well(scene: Scene) -> None:
    clock = scene.bench.clock
    scene.unusable = {"https://acme.my.site.com"}
    assert scene.take() == []
    clock.advance(PATIENCE_SECONDS)
    ((topic, event),) = scene.take()
    assert topic == "assetgate/auth/-"
    assert event["type"] == "assetgate.auth.keys_stale.v1"
    assert event["data"] == {"reason": "keys_stale", "issuer": "https://acme.my.site.com"}
    clock.advance(1000)
    assert scene.take() == []
    scene.unusable = set()
    assert scene.take() == []
    scene.unusable = {"https://acme.my.site.com"}
    scene.take()
    clock.advance(PATIENCE_SECONDS)
    assert scene.kinds() == ["keys_stale"]


def test_the_topics_are_those_of_the_contract() -> None:
    templates = {entry["template"] for entry in TOPICS["mqtt"] if entry["by"] == "gate"}
    assert templates == {"assetgate/auth/{aid}", "assetgate/auth/-"}


def test_no_event_holds_a_token(scene: Scene) -> None:
    token = scene.bench.mint.mint()
    for client_id in (AID, "x"):
        decision = scene.gate.authenticate(Connect(client_id, token.decode(), token, "192.0.2.1"))
        assert isinstance(decision, Deny)
    events: list[AuthEvent] = scene.events.take()
    assert events
    for part in token.split(b"."):
        assert not any(part in event.payload for event in events)
