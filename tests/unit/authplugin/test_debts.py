"""Debts: how often at once, and how soon again."""

from authplugin.brokers.mosquitto.subscriptions import AT_ONCE, PAID_SECONDS, Subscriptions
from authplugin.debts import Debts


def debts(at_once: int = 3, capacity: int = 100) -> Debts[str]:
    return Debts(at_once=at_once, paid_seconds=10.0, capacity=capacity)


def taken(owed: Debts[str], now: float, most: int = 10) -> int:
    """How many more are admitted at that moment."""
    for count in range(most):
        if not owed.admits("a", now):
            return count
        owed.charge("a", now)
    return most


def test_so_many_are_admitted_at_once_and_one_more_each_time_one_is_paid() -> None:
    owed = debts()
    assert taken(owed, 0.0) == 3
    assert taken(owed, 9.9) == 0
    assert taken(owed, 10.0) == 1
    assert taken(owed, 30.0) == 2
    assert taken(owed, 1000.0) == 3


def test_what_is_forgiven_may_be_owed_again() -> None:
    owed = debts()
    taken(owed, 0.0)
    owed.forgive("a", 0.0)
    assert taken(owed, 0.0) == 1


def test_debtors_do_not_owe_for_each_other() -> None:
    owed = debts()
    taken(owed, 0.0)
    assert owed.admits("b", 0.0)


def test_what_is_paid_is_forgotten_as_others_are_charged() -> None:
    owed = debts()
    for number in range(50):
        owed.charge(f"early-{number}", 0.0)
    for number in range(50):
        owed.charge(f"late-{number}", 20.0)
    assert len(owed) == 50


def test_who_was_charged_longest_ago_is_forgotten_when_there_are_too_many() -> None:
    owed = debts(at_once=1, capacity=5)
    for name in "abcdef":
        owed.charge(name, 0.0)
    assert len(owed) == 5
    assert owed.admits("a", 0.0)
    assert not owed.admits("b", 0.0)


def test_an_asset_subscribes_so_often_at_once_and_once_a_second_from_each_of_its_addresses() -> None:
    subscriptions = Subscriptions()
    assert all(subscriptions.admits("asset", "192.0.2.1", 0.0) for _ in range(AT_ONCE))
    assert not subscriptions.admits("asset", "192.0.2.1", 0.0)
    assert subscriptions.admits("asset", "192.0.2.2", 0.0)
    assert subscriptions.admits("another", "192.0.2.1", 0.0)
    assert subscriptions.admits("asset", "192.0.2.1", PAID_SECONDS)
    assert not subscriptions.admits("asset", "192.0.2.1", PAID_SECONDS)
