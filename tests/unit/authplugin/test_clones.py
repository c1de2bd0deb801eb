import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.clones import Clones, Finding, Kind, Rules
from authplugin.model import Allow, Grant, Terms
from authplugin.sessions import Sessions
from authplugin.testing import FakeClock
from authplugin.topics.template import Templates
from tests.support.gates import AID, Bench, refused

HOME, AWAY = "192.0.2.1", "198.51.100.9"
RIGHTS = Templates((), ())


class Watcher:
    """Clones behind a table of sessions, as the gate has them."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.clock = FakeClock()
        self.clones = Clones(rules, clock=self.clock)
        self.sessions = Sessions(clock=self.clock, jitter=lambda: 0.0)
        self._connections = 0

    def open(
        self,
        client_id: str = "a",
        *,
        asset: str = "a",
        device: str = "d",
        token: bytes = b"t" * 32,
        respelled: bytes = b"",
        key: bytes = b"",
        address: str = HOME,
    ) -> list[Kind]:
        self._connections += 1
        terms = Terms("i", "k", RIGHTS, respelled=respelled)
        grant = Grant(asset, device, self.clock.now() + 1e6, token, key, terms)
        taken = self.sessions.open(
            client_id, self._connections, grant, generation=1, leeway=0.0, address=address
        )
        session = self.sessions.find(client_id)
        assert session is not None
        self.findings = self.clones.opened(session, taken)
        return [finding.kind for finding in self.findings]

    def close(self, client_id: str = "a") -> None:
        session = self.sessions.find(client_id)
        assert session is not None
        self.sessions.close(client_id, session.connection)
        self.clones.closed(session)

    findings: list[Finding]


def test_a_client_that_reconnects_from_where_it_was_is_no_clone() -> None:
    watcher = Watcher(Rules(report_score=0.1))
    for number in range(50):
        assert watcher.open(token=bytes([number]) * 32) == []  # taken over: the broker noticed late
    for _ in range(50):
        watcher.close()
        assert watcher.open() == []
    assert set(watcher.clones.found.values()) == {0}


def test_a_device_on_the_move_is_no_clone() -> None:
    watcher = Watcher(Rules(report_score=0.1))
    for number in range(50):
        assert watcher.open(address=f"198.51.100.{number}") == []


def test_an_asset_live_from_two_clients_is_found() -> None:
    watcher = Watcher()
    assert watcher.open("a") == []
    assert watcher.open("a:2") == ["clients"]
    (finding,) = watcher.findings
    assert (finding.other, finding.score, finding.quarantined) == ("a", 1.0, False)
    assert watcher.clones.found[Kind.CLIENTS] == 1


def test_as_many_clients_as_the_policy_allows_are_no_clones() -> None:
    watcher = Watcher(Rules(clients_per_asset=2, report_score=0.1))
    for _ in range(3):
        assert watcher.open("a") == []
        assert watcher.open("a:2") == []
        watcher.close("a")
        watcher.close("a:2")
    watcher.open("a")
    watcher.open("a:2")
    assert watcher.open("a:3") == ["clients"]


def test_a_token_from_another_client_id_is_found_each_time() -> None:
    watcher = Watcher()
    watcher.open("a")
    watcher.close("a")
    assert watcher.open("a:copy") == ["token"]
    watcher.close("a:copy")
    assert watcher.open("a") == ["token"]


def test_the_other_spelling_of_an_es256_token_from_another_client_id_is_no_new_token() -> None:
    one, other = b"1" * 32, b"2" * 32
    watcher = Watcher()
    watcher.open("a", token=one, respelled=other)
    watcher.close("a")
    assert watcher.open("a:copy", token=other, respelled=one) == ["token"]
    watcher.close("a:copy")
    assert watcher.open("a", token=one, respelled=other) == ["token"]


def test_a_new_token_may_come_from_another_client_id() -> None:
    watcher = Watcher()
    watcher.open("a")
    watcher.close("a")
    assert watcher.open("a:new", token=b"n" * 32) == []


def test_a_known_device_with_another_key_is_found() -> None:
    watcher = Watcher()
    assert watcher.open(token=b"1" * 32) == []
    assert watcher.open(key=b"j1", token=b"2" * 32) == []  # its first key
    assert watcher.open(key=b"j1", token=b"3" * 32) == []
    assert watcher.open(key=b"j2", token=b"4" * 32) == ["key"]
    assert watcher.open(token=b"5" * 32) == ["key"]
    assert watcher.open(device="another", key=b"j9", token=b"6" * 32) == []


def test_a_session_that_two_places_take_from_each_other_is_found() -> None:
    watcher = Watcher()
    kinds = [watcher.open(address=address) for address in (HOME, AWAY, HOME, AWAY, HOME)]
    assert kinds == [[], [], [], [], ["take_over"]]
    assert watcher.findings[0].other == AWAY


def test_taking_over_now_and_then_is_forgotten() -> None:
    watcher = Watcher(Rules(half_life_s=60.0))
    for number in range(50):
        assert watcher.open(address=(HOME, AWAY)[number % 2]) == []
        watcher.clock.advance(120.0)


def test_a_device_id_under_two_assets_is_told_and_never_scored() -> None:
    watcher = Watcher(Rules(quarantine_score=1.0))
    watcher.open("a", asset="a")
    assert watcher.open("b", asset="b") == ["device"]
    assert watcher.findings[0].other == "a"
    assert watcher.findings[0].quarantined is False
    assert watcher.clones.quarantined() == {}
    watcher.close("b")
    watcher.close("a")
    assert watcher.open("b", asset="b") == []
    assert watcher.open("b2", asset="b2", device="e") == []


def test_a_device_that_moved_to_another_asset_is_no_clone() -> None:
    watcher = Watcher()
    watcher.open("a", asset="a")
    watcher.open("a", asset="a", device="new", token=b"2" * 32)
    assert watcher.open("b", asset="b") == []


def test_a_score_high_enough_quarantines_for_its_time() -> None:
    watcher = Watcher(Rules(quarantine_score=2.0, quarantine_s=60.0))
    watcher.open("a")
    watcher.open("a:2")
    assert not watcher.clones.holds("a")
    assert watcher.open("a:3") == ["clients"]
    assert watcher.findings[0].quarantined
    assert watcher.clones.quarantined() == {"a": 60.0}
    watcher.clock.advance(59.9)
    assert watcher.clones.holds("a")
    watcher.clock.advance(0.1)
    assert not watcher.clones.holds("a")
    assert watcher.clones.quarantined() == {}


def test_a_released_asset_begins_anew() -> None:
    watcher = Watcher(Rules(quarantine_score=2.0))
    watcher.open("a")
    watcher.open("a:2")
    watcher.open("a:3")
    assert watcher.clones.release("a")
    assert not watcher.clones.release("a")
    assert not watcher.clones.holds("a")
    watcher.open("a:4")
    assert not watcher.clones.holds("a")


def test_quarantines_that_have_ended_are_forgotten() -> None:
    watcher = Watcher()
    for number in range(100):
        watcher.clones.quarantine(str(number), 1.0)
        watcher.clock.advance(1.0)
    assert len(watcher.clones.until) == 1


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close"]),
        st.sampled_from(["", ":1", ":2"]),
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["d1", "d2"]),
        st.sampled_from([HOME, AWAY]),
    ),
    max_size=60,
)


@given(EVENTS)
def test_memory_is_bounded_whatever_comes_and_goes(events: list[tuple[str, str, str, str, str]]) -> None:
    watcher = Watcher(Rules(capacity=2, report_score=0.1))
    for does, suffix, asset, device, address in events:
        client_id = asset + suffix
        if does == "open":
            watcher.open(client_id, asset=asset, device=device, address=address)
        elif watcher.sessions.find(client_id) is not None:
            watcher.close(client_id)
    assert len(watcher.clones) <= 2


def test_one_asset_with_many_clients_is_kept_small() -> None:
    watcher = Watcher()
    for number in range(500):
        watcher.open(f"a:{number}")
    for number in range(500):
        watcher.close(f"a:{number}")
    assert len(watcher.clones) == 1


def test_a_quarantined_asset_loses_its_sessions_and_stays_out_for_its_time() -> None:
    bench = Bench(rules=Rules(quarantine_score=1.0, quarantine_s=60.0))
    token, grant = bench.mint.mint(), bench.grant()
    bench.gate.open_session(AID, 1, grant, address=HOME)
    bench.gate.open_session(f"{AID}:copy", 2, grant, address=AWAY)
    assert [(finding.kind, finding.quarantined) for finding in bench.witness.findings] == [("clients", True)]
    assert sorted(kick.session.client_id for kick in bench.gate.due()) == [AID, f"{AID}:copy"]
    bench.gate.close_session(AID, 1)
    assert [reason for _, reason in bench.witness.ended] == ["quarantined"]
    decision = bench.connect(token)
    assert refused(decision) == "quarantined"
    bench.clock.advance(60)
    assert refused(bench.connect(token, client_id="x")) == "client_id_mismatch"


def test_an_administrator_quarantines_and_releases() -> None:
    bench = Bench()
    token = bench.mint.mint()
    bench.gate.open_session(AID, 1, bench.grant())
    assert bench.gate.quarantine(AID, 10.0) == 1
    assert [kick.reason for kick in bench.gate.due()] == ["quarantined"]
    assert refused(bench.connect(token)) == "quarantined"
    assert bench.gate.release(AID)
    assert not bench.gate.release(AID)
    assert isinstance(bench.connect(token), Allow)


def test_a_client_that_left_is_no_second_one() -> None:
    bench = Bench(rules=Rules(report_score=0.1))
    for connection, name in enumerate((AID, f"{AID}:2", AID)):
        decision = bench.connect(bench.mint.mint(id=name), client_id=name)
        assert isinstance(decision, Allow)
        bench.gate.open_session(name, connection, decision.grant, address=HOME)
        bench.gate.close_session(name, connection)
    assert bench.witness.findings == []


@pytest.mark.parametrize("times", [1, 5])
def test_a_broker_that_asks_again_about_a_connected_client_finds_no_clone(times: int) -> None:
    bench = Bench(rules=Rules(report_score=0.1))
    grant = bench.grant()
    bench.gate.open_session(AID, 1, grant, address=HOME)
    for _ in range(times):
        bench.gate.open_session(AID, 1, grant, address=HOME)
    assert len(bench.witness.opened) == 1
    assert bench.witness.findings == []
