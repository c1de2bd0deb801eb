import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.errors import Reason
from authplugin.model import Allow, Connect
from authplugin.testing import FakeClock, TokenMint
from authplugin.testing.mint import base64url
from authplugin.throttle import Limits, Throttle, network
from tests.support.gates import CONFIG, Bench, refused
from tests.support.mints import mint

ATTACKER = "198.51.100.7"
LIMITS = Limits(per_second=2.0, burst=4.0, known_per_second=10.0, known_burst=20.0, credit=3.0, known_s=100.0)
FLEET = CONFIG.replace(
    "[[service_accounts]]", 'id_form = "opaque"\nalgorithms = ["EdDSA"]\n[[service_accounts]]'
)


@pytest.fixture(name="clock")
def make_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(name="throttle")
def make_throttle(clock: FakeClock) -> Throttle:
    return Throttle(LIMITS, clock=clock)


def fail(throttle: Throttle, address: str, times: int) -> int:
    """How many of so many bad tokens were read before the address was throttled."""
    for count in range(times):
        if not throttle.admits(address):
            return count
        throttle.failed(address, Reason.SIGNATURE_INVALID)
    return times


def test_an_address_may_fail_a_few_times_and_then_a_few_times_a_second(
    throttle: Throttle, clock: FakeClock
) -> None:
    assert fail(throttle, ATTACKER, 100) == 4
    clock.advance(0.49)
    assert fail(throttle, ATTACKER, 100) == 0
    clock.advance(0.02)
    assert fail(throttle, ATTACKER, 100) == 1
    clock.advance(1000)
    assert fail(throttle, ATTACKER, 100) == 4
    assert throttle.refused == 4


@pytest.mark.parametrize("other", ["198.51.100.8", "2001:db8::1", "", "nonsense"])
def test_no_other_address_pays(throttle: Throttle, other: str) -> None:
    fail(throttle, ATTACKER, 100)
    assert throttle.admits(other)


def test_clients_without_address_pay_for_each_other_and_for_nobody_else(throttle: Throttle) -> None:
    assert fail(throttle, "", 100) == 4
    assert not throttle.admits("a socket file")
    assert throttle.admits(ATTACKER)


def test_an_address_where_a_token_was_good_has_a_budget_of_its_own(
    throttle: Throttle, clock: FakeClock
) -> None:
    fail(throttle, ATTACKER, 100)
    throttle.succeeded(ATTACKER)
    assert fail(throttle, ATTACKER, 100) == 20
    throttle.succeeded(ATTACKER)
    assert fail(throttle, ATTACKER, 100) == 3
    clock.advance(100.0)
    assert fail(throttle, ATTACKER, 100) == 4


def test_a_client_that_is_or_was_connected_vouches_for_its_address(throttle: Throttle) -> None:
    throttle.vouch(ATTACKER)
    assert fail(throttle, ATTACKER, 100) == 20


@pytest.mark.parametrize("reason", [Reason.KEY_UNKNOWN, Reason.KEYS_STALE, Reason.INTERNAL, Reason.THROTTLED])
def test_what_is_no_fault_of_the_peer_is_no_debt(throttle: Throttle, reason: Reason) -> None:
    for _ in range(100):
        throttle.failed(ATTACKER, reason)
    assert throttle.admits(ATTACKER)
    assert len(throttle) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("", "127.0.0.1", False),
        ("192.0.2.1\0", "", True),
        ("\ud800", "", True),
    ],
)
def test_an_ipv6_network_is_one_peer(one: str, other: str, *, same: bool) -> None:
    assert (network(one) == network(other)) is same


@given(st.text())
def test_any_text_may_stand_for_an_address(text: str) -> None:
    assert isinstance(network(text), bytes)


def test_memory_is_bounded_and_failing_addresses_push_out_no_good_one(clock: FakeClock) -> None:
    throttle = Throttle(Limits(capacity=10, burst=1.0), clock=clock)
    throttle.succeeded("192.0.2.1")
    for number in range(1000):
        throttle.failed(f"198.51.{number // 250}.{number % 250}", Reason.MALFORMED)
    assert len(throttle) == 11
    assert not throttle.admits("198.51.3.249")
    assert fail(throttle, "192.0.2.1", 100) == 100
    for number in range(20):
        throttle.succeeded(f"203.0.113.{number}")
    assert len(throttle) == 20


def forged(token: bytes, draw: random.Random) -> bytes:
    """The token with another signature: kid, did and aid are the victim's."""
    return token.rpartition(b".")[0] + b"." + base64url(draw.randbytes(64))


@pytest.fixture(scope="module", name="fleet")
def make_fleet() -> TokenMint:
    return mint("EdDSA")


def test_a_flood_in_a_victims_name_from_elsewhere_never_delays_the_victim(fleet: TokenMint) -> None:
    bench = Bench(FLEET, mints=(fleet,), limits=LIMITS)
    draw = random.Random(1)
    reasons = []
    for number in range(300):
        token = fleet.mint(aid="victim", id=str(number))
        flood = bench.connect(forged(token, draw), client_id="victim", address=ATTACKER)
        reasons.append(refused(flood))
        # Cold, for each of its tokens is new; then cached.
        assert isinstance(bench.connect(token, client_id="victim", address="192.0.2.1"), Allow)
        assert isinstance(bench.connect(token, client_id="victim", address="192.0.2.1"), Allow)
    assert reasons.count("signature_invalid") == 4
    assert reasons.count("throttled") == 296


def test_ten_thousand_devices_behind_one_address_come_in_while_one_there_attacks(fleet: TokenMint) -> None:
    bench = Bench(FLEET, mints=(fleet,))
    draw = random.Random(1)
    site = "203.0.113.9"
    cached = [fleet.mint(aid=f"cached-{number}") for number in range(1000)]
    for number, token in enumerate(cached):
        assert isinstance(bench.connect(token, client_id=f"cached-{number}", address=site), Allow)
    for number in range(10_000):
        asset = f"a-{number % 9000}"
        token = fleet.mint(aid=asset) if number < 9000 else cached[number - 9000]
        name = asset if number < 9000 else f"cached-{number - 9000}"
        bench.connect(forged(token, draw), client_id=name, address=site)
        assert isinstance(bench.gate.authenticate(Connect(name, None, token, site)), Allow), number


def test_a_known_token_comes_in_from_a_throttled_address(fleet: TokenMint) -> None:
    bench = Bench(FLEET, mints=(fleet,), limits=LIMITS)
    good = fleet.mint(aid="a")
    assert isinstance(bench.connect(good, client_id="a", address="192.0.2.1"), Allow)
    draw = random.Random(1)
    while refused(bench.connect(forged(good, draw), client_id="a", address=ATTACKER)) != "throttled":
        pass
    assert refused(bench.connect(fleet.mint(aid="b"), client_id="b", address=ATTACKER)) == "throttled"
    assert isinstance(bench.connect(good, client_id="a", address=ATTACKER), Allow)


def test_a_token_known_to_be_bad_keeps_its_reason_and_costs_its_address_nothing(fleet: TokenMint) -> None:
    bench = Bench(FLEET, mints=(fleet,), limits=LIMITS)
    expired = fleet.expired()
    assert [refused(bench.connect(expired)) for _ in range(100)] == ["expired"] * 100
    assert fail(bench.throttle, "192.0.2.1", 100) == 3


def test_the_address_of_a_session_stays_known_after_its_end(fleet: TokenMint) -> None:
    bench = Bench(FLEET, mints=(fleet,), limits=LIMITS)
    decision = bench.connect(fleet.mint(aid="a"), client_id="a", address=ATTACKER)
    assert isinstance(decision, Allow)
    bench.gate.open_session("a", 1, decision.grant, address=ATTACKER)
    bench.clock.advance(1000.0)
    assert fail(bench.throttle, ATTACKER, 100) == 4
    bench.gate.close_session("a", 1)
    assert fail(bench.throttle, ATTACKER, 100) == 20


def test_forged_kids_throttle_nobody(fleet: TokenMint) -> None:
    bench = Bench(FLEET, mints=(fleet,), limits=LIMITS)
    for number in range(100):
        token = fleet.sign(fleet.claims(), header=fleet.header({"kid": f"k{number}"}))
        assert refused(bench.connect(token)) == "key_unknown"
    assert isinstance(bench.connect(fleet.mint(aid="a"), client_id="a"), Allow)
