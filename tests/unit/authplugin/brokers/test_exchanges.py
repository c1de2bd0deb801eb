"""Open exchanges: one a connection, found when they answer and when they do not."""

from authplugin.brokers.mosquitto.budget import Budget
from authplugin.brokers.mosquitto.exchange import Exchanges
from authplugin.model import Connect
from authplugin.proof import Challenge


def challenge(name: str) -> Challenge:
    return Challenge(Connect(name, None, b"token", "192.0.2.1"), b"8 octets", None, 0.0, 0.0)


def test_an_answer_takes_its_question_once() -> None:
    exchanges = Exchanges()
    exchanges.begin(1, challenge("a"), "a", renews=False, until=5.0)
    taken = exchanges.end(1)
    assert taken is not None
    assert taken.client_id == "a"
    assert exchanges.end(1) is None
    assert exchanges.end(2) is None


def test_new_clients_are_called_by_the_moment_they_are_cut_at_and_one_that_renews_keeps_its_name() -> None:
    exchanges = Exchanges()
    begun = [exchanges.begin(n, challenge("a"), "a", renews=False, until=5.0 + n / 100) for n in range(100)]
    assert all(exchange.name.startswith("pending:") for exchange in begun)
    until = {exchange.name: exchange.until for exchange in begun}
    assert len(until) == 5
    assert all(until[exchange.name] == exchange.until for exchange in begun)
    assert all(0 <= exchange.until - (5.0 + n / 100) < 0.25 for n, exchange in enumerate(begun))
    assert exchanges.begin(1000, challenge("a"), "a", renews=True, until=5.0).name == ""


def test_only_who_waited_too_long_is_overdue_also_after_being_asked_again() -> None:
    exchanges = Exchanges()
    exchanges.begin(1, challenge("a"), "a", renews=False, until=5.0)
    exchanges.begin(2, challenge("b"), "b", renews=False, until=6.0)
    exchanges.begin(1, challenge("a"), "a", renews=True, until=7.0)
    assert list(exchanges.overdue(5.9)) == []
    assert [client for client, _ in exchanges.overdue(6.0)] == [2]
    assert [client for client, _ in exchanges.overdue(100.0)] == [1]
    assert len(exchanges) == 0


def test_the_longest_wait_and_those_over_budget_are_kept_by_callback() -> None:
    budget = Budget(0.005)
    spent = [budget.spend("authenticate", seconds) for seconds in (0.001, 0.006, 0.002)]
    assert spent == [False, True, False]
    most, over = budget.collect()
    assert {sample.labels["callback"]: sample.value for sample in most.samples}["authenticate"] == 0.006
    counted = {sample.labels["callback"]: sample.value for sample in over.samples}
    assert (counted["authenticate"], counted["tick"]) == (1, 0)
