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


def test_a_new_client_has_a_name_of_its_own_and_one_that_renews_keeps_its() -> None:
    exchanges = Exchanges()
    names = {exchanges.begin(n, challenge("a"), "a", renews=False, until=5.0).name for n in range(10)}
    assert len(names) == 10
    assert all(name.startswith("pending:") for name in names)
    assert exchanges.begin(11, challenge("a"), "a", renews=True, until=5.0).name == ""


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
