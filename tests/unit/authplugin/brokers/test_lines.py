"""Lines for the broker's log."""

import logging

from authplugin.brokers.mosquitto.answers import LOG_ERROR, LOG_NOTICE, LOG_WARNING
from authplugin.brokers.mosquitto.lines import LineBudget, WaitingLines, line, shown


def test_a_clients_words_are_quoted_cut_and_printable() -> None:
    assert shown("02iAB00000CdEfG") == "'02iAB00000CdEfG'"
    assert shown(None) == "nothing"
    assert shown("x" * 1000) == "'" + "x" * 80 + "…'"
    assert "\n" not in shown("a\nb")
    assert "\u202e" not in shown("a\u202eb")


def test_a_line_is_one_line_without_nul() -> None:
    assert line(LOG_NOTICE, "a\n b\0c\ud800") == (LOG_NOTICE, b"a bc?")


def test_a_kind_has_its_budget_each_second_and_the_rest_is_counted() -> None:
    budget = LineBudget(2)
    assert [budget.take("expired") for _ in range(5)] == [True, True, False, False, False]
    assert budget.take("malformed")
    assert budget.turn() == {"expired": 3}
    assert budget.turn() == {}
    assert budget.take("expired")


def test_what_other_threads_log_waits_in_order_and_never_grows_without_end() -> None:
    waiting = WaitingLines()
    log = logging.getLogger("authplugin.test_lines")
    log.propagate = False
    log.setLevel(logging.DEBUG)
    log.addHandler(waiting)
    log.debug("unheard")
    log.info("one")
    log.warning("two")
    log.error("three %d", 3)
    assert waiting.take() == [(LOG_NOTICE, b"one"), (LOG_WARNING, b"two"), (LOG_ERROR, b"three 3")]
    for number in range(5000):
        log.info("%d", number)
    taken = waiting.take()
    assert len(taken) == 1000
    assert taken[-1] == (LOG_NOTICE, b"4999")
