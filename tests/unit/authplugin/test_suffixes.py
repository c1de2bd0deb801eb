"""How many clients one asset may be: live ones, and new ones beside its own id."""

import pytest

from authplugin.model import Allow, Connect, Deny
from authplugin.suffixes import AT_ONCE, PAID_SECONDS, REMEMBERED
from tests.support.gates import ADDRESS, AID, CONFIG, SHORT, Bench, refused

FEW = CONFIG + "[sessions]\nmost_per_asset = 3\n"
ELSEWHERE = "192.0.2.2"


class Crowd:
    """Clients of one token; each has a connection of its own."""

    def __init__(self, config: str = FEW) -> None:
        self.bench = Bench(config)
        self.token = self.bench.mint.mint()
        self.connections = 0

    def come(self, suffix: str = "", *, address: str = ADDRESS, name: str = AID) -> str:
        """Connect; what kept it out, "" when nothing did."""
        client_id = name + suffix
        decision = self.bench.gate.authenticate(Connect(client_id, None, self.token, address))
        if isinstance(decision, Deny):
            return refused(decision)
        self.connections += 1
        self.bench.gate.open_session(client_id, self.connections, decision.grant, address=address)
        return ""

    def go(self, suffix: str) -> None:
        session = self.bench.sessions.find(AID + suffix)
        assert session is not None
        self.bench.gate.close_session(session.client_id, session.connection)

    def visit(self, suffix: str, *, address: str = ADDRESS) -> str:
        """Connect and go."""
        kept_out = self.come(suffix, address=address)
        if not kept_out:
            self.go(suffix)
        return kept_out


def test_an_asset_has_so_many_sessions_and_no_more() -> None:
    crowd = Crowd()
    assert [crowd.come(f":{n}") for n in range(5)] == ["", "", "", "throttled", "throttled"]
    crowd.go(":1")
    assert [crowd.come(":5"), crowd.come(":6")] == ["", "throttled"]


def test_what_keeps_it_out_names_the_setting() -> None:
    crowd = Crowd()
    for n in range(3):
        crowd.come(f":{n}")
    decision = crowd.bench.connect(crowd.token, client_id=AID + ":3")
    assert isinstance(decision, Deny)
    assert "the most that sessions.most_per_asset allows" in decision.detail
    assert decision.grant is not None


@pytest.mark.parametrize("name", [AID, SHORT])
def test_the_bare_asset_id_comes_in_however_many_there_are(name: str) -> None:
    crowd = Crowd()
    for n in range(4):
        crowd.come(f":{n}")
    assert crowd.come(name=name) == ""


def test_a_live_client_id_may_be_taken_over_and_judged_again_at_the_limit() -> None:
    crowd = Crowd()
    for n in range(3):
        crowd.come(f":{n}")
    assert crowd.come(":1", address=ELSEWHERE) == ""
    session = crowd.bench.sessions.find(AID + ":2")
    assert session is not None
    assert isinstance(crowd.bench.connect(crowd.token, client_id=AID + ":2"), Allow)


def test_assets_do_not_count_for_each_other() -> None:
    crowd = Crowd()
    for n in range(4):
        crowd.come(f":{n}")
    other = "02iAB00000CdEfHYAV"
    crowd.token = crowd.bench.mint.mint(aid=other)
    assert crowd.come(":1", name=other) == ""


def test_a_new_limit_holds_for_connects_to_come() -> None:
    crowd = Crowd()
    for n in range(3):
        crowd.come(f":{n}")
    crowd.bench.gate.adopt(Bench(CONFIG).policy)
    assert crowd.come(":3") == ""
    crowd.bench.gate.adopt(crowd.bench.policy)
    assert crowd.come(":4") == "throttled"
    assert crowd.come(":3") == ""


def test_so_many_client_ids_may_be_new_and_one_more_each_time_one_is_paid() -> None:
    crowd = Crowd()
    kept_out = [crowd.visit(f":{n}") for n in range(AT_ONCE + 2)]
    assert kept_out == [""] * AT_ONCE + ["throttled"] * 2
    crowd.token = crowd.bench.mint.mint(exp=int(crowd.bench.clock.now()) + 100_000)
    crowd.bench.clock.advance(PAID_SECONDS)
    assert [crowd.visit(":a"), crowd.visit(":b")] == ["", "throttled"]


def test_a_client_id_that_comes_back_is_not_new() -> None:
    crowd = Crowd()
    for n in range(AT_ONCE):
        crowd.visit(f":{n}")
    assert crowd.visit(":new") == "throttled"
    for _ in range(2):
        assert [crowd.visit(f":{AT_ONCE - 1 - n}") for n in range(REMEMBERED)] == [""] * REMEMBERED
    assert crowd.visit("") == ""


def test_whoever_uses_them_up_elsewhere_keeps_no_device_out_where_it_is() -> None:
    crowd = Crowd()
    for n in range(AT_ONCE + 1):
        crowd.visit(f":{n}", address=ELSEWHERE)
    assert crowd.visit(":new", address=ELSEWHERE) == "throttled"
    assert crowd.visit(":new") == ""
