"""Open exchanges: one a connection, found when they answer and when they do not."""

import pytest

from authplugin.brokers.mosquitto.budget import Budget
from authplugin.brokers.mosquitto.exchange import Exchanges
from authplugin.brokers.mosquitto.unfinished import AT_ONCE, Unfinished
from authplugin.model import Connect
from authplugin.proof import Challenge
from authplugin.testing import FakeClock
from authplugin.throttle import Limits, Throttle
from tests.support.gates import AID, SHORT

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


def challenge(name: str, address: str = HOME) -> Challenge:
    return Challenge(Connect(name, None, b"token", address), b"8 octets", None, 0.0, 0.0)


def make(limits: Limits | None = None) -> Exchanges:
    return Exchanges(Throttle(limits, clock=FakeClock()), Unfinished())


def leave(exchanges: Exchanges, name: str, address: str, *, now: float = 0.0, renews: bool = False) -> int:
    """Begin as many exchanges as are admitted, up to some hundreds, and finish none; how many they were."""
    for client in range(1000, 1500):
        asked = challenge(name, address)
        if not exchanges.admits(asked, now):
            return client - 1000
        exchanges.begin(client, asked, name, renews=renews, now=now, until=now + 5.0)
        exchanges.abandon(client)
    return 500


def test_an_answer_takes_its_question_once() -> None:
    exchanges = make()
    exchanges.begin(1, challenge("a"), "a", renews=False, now=0.0, until=5.0)
    taken = exchanges.end(1, 1.0)
    assert taken is not None
    assert taken.client_id == "a"
    assert exchanges.end(1, 1.0) is None
    assert exchanges.end(2, 1.0) is None


def test_new_clients_are_called_by_the_moment_they_are_cut_at_and_one_that_renews_keeps_its_name() -> None:
    exchanges = make()
    begun = [
        exchanges.begin(n, challenge("a"), "a", renews=False, now=0.0, until=5.0 + n / 100)
        for n in range(100)
    ]
    assert all(exchange.name.startswith("pending:") for exchange in begun)
    until = {exchange.name: exchange.until for exchange in begun}
    assert len(until) == 5
    assert all(until[exchange.name] == exchange.until for exchange in begun)
    assert all(0 <= exchange.until - (5.0 + n / 100) < 0.25 for n, exchange in enumerate(begun))
    assert exchanges.begin(1000, challenge("a"), "a", renews=True, now=0.0, until=5.0).name == ""


def test_only_who_waited_too_long_is_overdue_also_after_being_asked_again() -> None:
    exchanges = make()
    exchanges.begin(1, challenge("a"), "a", renews=False, now=0.0, until=5.0)
    exchanges.begin(2, challenge("b"), "b", renews=False, now=0.0, until=6.0)
    exchanges.begin(1, challenge("a"), "a", renews=True, now=0.0, until=7.0)
    assert list(exchanges.overdue(5.9)) == []
    assert [client for client, _ in exchanges.overdue(6.0)] == [2]
    assert [client for client, _ in exchanges.overdue(100.0)] == [1]
    assert len(exchanges) == 0


def test_an_asset_may_leave_a_number_unfinished_and_one_more_a_minute() -> None:
    exchanges = make(Limits(burst=10_000))
    assert leave(exchanges, AID, HOME) == AT_ONCE
    assert leave(exchanges, f"{SHORT}:other", ELSEWHERE) == 0  # either form of its id, whatever the suffix
    assert leave(exchanges, "another", HOME) == AT_ONCE
    assert leave(exchanges, AID, HOME, now=59.0) == 0
    assert leave(exchanges, AID, HOME, now=60.0) == 1
    assert leave(exchanges, AID, HOME, now=60.0 + 3600.0) == 60


def test_an_asset_that_may_have_many_clients_may_leave_as_many_more_unfinished() -> None:
    exchanges = Exchanges(Throttle(Limits(burst=10_000), clock=FakeClock()), Unfinished(50))
    assert leave(exchanges, AID, HOME) == AT_ONCE + 49


def test_what_was_answered_is_owed_no_more_and_what_renews_never() -> None:
    exchanges, unfinished = make(), Unfinished()
    for client in range(3 * AT_ONCE):
        exchanges.begin(client, challenge(AID), AID, renews=False, now=0.0, until=5.0)
        assert exchanges.end(client, 1.0) is not None
    assert leave(exchanges, AID, HOME, renews=True) == 500
    assert exchanges.admits(challenge(AID), 0.0)
    unfinished.begin(("a", b""), 0.0)
    unfinished.begin(("a", b""), 0.0)
    unfinished.finish(("a", b""), 1.0)
    assert len(unfinished) == 1
    unfinished.finish(("a", b""), 1.0)
    assert len(unfinished) == 0


def test_who_holds_a_copy_of_the_token_keeps_nobody_out_where_the_key_was_proved() -> None:
    exchanges = make(Limits(burst=10_000))
    exchanges.prove(challenge(f"{SHORT}:a"))
    assert leave(exchanges, AID, ELSEWHERE) == AT_ONCE
    assert not exchanges.admits(challenge(AID, ELSEWHERE), 0.0)
    assert exchanges.admits(challenge(AID, HOME), 0.0)
    assert leave(exchanges, AID, HOME) == AT_ONCE
    assert exchanges.admits(challenge("another", ELSEWHERE), 0.0)


def test_an_address_owes_for_what_is_never_answered_as_for_a_bad_token() -> None:
    exchanges = make(Limits(burst=10))
    assert leave(exchanges, AID, HOME) == 10
    assert not exchanges.admits(challenge("another", HOME), 0.0)
    assert exchanges.admits(challenge(AID, ELSEWHERE), 0.0)
    silent = make(Limits(burst=10))
    for client in range(10):
        silent.begin(client, challenge(AID), AID, renews=False, now=0.0, until=5.0)
    assert silent.admits(challenge(AID), 0.0)
    assert len(list(silent.overdue(6.0))) == 10
    assert not silent.admits(challenge(AID), 6.0)


def test_a_renewal_that_is_dropped_is_no_debt_of_its_address() -> None:
    exchanges = make(Limits(burst=1))
    for client in range(3):
        exchanges.begin(client, challenge(AID), AID, renews=True, now=0.0, until=5.0)
        exchanges.abandon(client)
    assert exchanges.admits(challenge(AID), 0.0)


def test_the_memory_of_debts_and_places_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authplugin.brokers.mosquitto.unfinished.CAPACITY", 10)
    unfinished = Unfinished()
    for number in range(30):
        unfinished.begin((f"asset-{number}", b""), 0.0)
        unfinished.prove(f"asset-{number}", HOME)
    assert len(unfinished) == 10
    assert unfinished.place("asset-19", HOME) == ("asset-19", b"")
    assert unfinished.place("asset-20", HOME) != ("asset-20", b"")


def test_the_longest_wait_and_those_over_budget_are_kept_by_callback() -> None:
    budget = Budget(0.005)
    spent = [budget.spend("authenticate", seconds) for seconds in (0.001, 0.006, 0.002)]
    assert spent == [False, True, False]
    most, over = budget.collect()
    assert {sample.labels["callback"]: sample.value for sample in most.samples}["authenticate"] == 0.006
    counted = {sample.labels["callback"]: sample.value for sample in over.samples}
    assert (counted["authenticate"], counted["tick"]) == (1, 0)
