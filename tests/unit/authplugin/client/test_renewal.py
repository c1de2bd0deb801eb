import itertools
import threading

import pytest

from authplugin.client import Credentials, TokenSource
from authplugin.client.renewal import EARLIEST, LATEST, LONGEST_RETRY_SECONDS

HOUR = 3600.0


class Issuer:
    """Gives a token of an hour each time it is asked, or fails; time moves by hand."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.asked = 0
        self.broken = False

    def now(self) -> float:
        return self.time

    def fetch(self) -> Credentials:
        self.asked += 1
        if self.broken:
            raise OSError("the issuer is away")
        return credentials(self.time, self.time + HOUR, f"token-{self.asked}")

    def source(self, held: Credentials | None = None, draw: float = 0.5) -> TokenSource:
        return TokenSource(self.fetch, held, now=self.now, draw=lambda: draw)


def credentials(begins: float, expires: float, name: str = "held") -> Credentials:
    return Credentials(
        "02iAB00000CdEfGYAV", "d", "https://acme.my.site.com", begins, expires, True, False, name
    )


def test_a_token_is_fetched_once_and_kept_until_it_is_due() -> None:
    issuer = Issuer()
    source = issuer.source()
    assert source.current().token == source.current().token == "token-1"
    issuer.time += source.wait_seconds() - 1
    assert source.current().token == "token-1"
    issuer.time += 2
    assert source.current().token == "token-2"


@pytest.mark.parametrize(("draw", "share"), [(0.0, EARLIEST), (1.0, LATEST)])
def test_renewals_of_a_fleet_are_spread_over_a_part_of_the_tokens_life(draw: float, share: float) -> None:
    issuer = Issuer()
    source = issuer.source(draw=draw)
    source.current()
    assert source.wait_seconds() == pytest.approx(HOUR * share)


def test_a_token_at_hand_is_used_and_what_is_left_of_its_life_decides() -> None:
    issuer = Issuer()
    source = issuer.source(credentials(issuer.time - 9 * HOUR, issuer.time + HOUR), draw=0.0)
    assert source.current().token == "held"
    assert source.wait_seconds() == pytest.approx(HOUR * EARLIEST)


def test_a_token_that_is_not_yet_valid_is_not_renewed_before_it_begins() -> None:
    issuer = Issuer()
    source = issuer.source(credentials(issuer.time + HOUR, issuer.time + 2 * HOUR), draw=0.0)
    assert source.wait_seconds() == pytest.approx(HOUR + HOUR * EARLIEST)


def test_while_the_token_lasts_a_failure_only_postpones_and_waits_grow() -> None:
    issuer = Issuer()
    source = issuer.source(draw=1.0)
    source.current()
    issuer.broken = True
    issuer.time += source.wait_seconds()
    waits = []
    for _ in range(4):
        assert source.current().token == "token-1"
        waits.append(source.wait_seconds())
        issuer.time += waits[-1]
    assert waits == [2, 4, 8, 16]
    assert issuer.asked == 5
    issuer.broken = False
    assert source.current().token == "token-6"


def test_waits_have_a_bound_and_chance_at_most_halves_them() -> None:
    issuer = Issuer()
    draws = itertools.cycle([0.0])
    source = TokenSource(
        issuer.fetch,
        credentials(issuer.time, issuer.time + 1e9),
        now=issuer.now,
        draw=lambda: next(draws),
    )
    issuer.broken = True
    issuer.time += source.wait_seconds()
    for _ in range(40):
        source.current()
        issuer.time += source.wait_seconds()
    source.current()
    assert source.wait_seconds() == LONGEST_RETRY_SECONDS / 2


def test_after_its_end_or_without_a_token_the_issuers_error_is_the_answer() -> None:
    issuer = Issuer()
    issuer.broken = True
    source = issuer.source()
    with pytest.raises(OSError, match="away"):
        source.current()
    source = issuer.source(credentials(issuer.time, issuer.time + HOUR))
    issuer.time += HOUR
    with pytest.raises(OSError, match="away"):
        source.current()


@pytest.mark.parametrize("ended", [True, False])
def test_without_a_token_the_issuer_is_asked_when_due_and_its_error_is_the_answer_meanwhile(
    *, ended: bool
) -> None:
    issuer = Issuer()
    source = issuer.source(credentials(issuer.time - HOUR, issuer.time) if ended else None, draw=1.0)
    issuer.broken = True
    for _ in range(300):  # a program that asks once a second
        with pytest.raises(OSError, match="away") as caught:
            source.current()
        assert len(caught.traceback) < 5  # an error that is raised again does not grow
        issuer.time += 1
    assert issuer.asked == 8  # after 2, 4, 8 … 128 seconds
    issuer.broken = False
    issuer.time += source.wait_seconds()
    assert source.current().token == "token-9"


def test_a_clock_that_was_set_back_keeps_nobody_from_the_issuer() -> None:
    issuer = Issuer()
    issuer.broken = True
    source = issuer.source()
    with pytest.raises(OSError, match="away"):
        source.current()
    issuer.time -= 24 * HOUR
    issuer.broken = False
    assert source.current().token == "token-2"


def test_a_token_that_is_dropped_is_asked_for_at_once_whatever_failed_before() -> None:
    issuer = Issuer()
    issuer.broken = True
    source = issuer.source()
    with pytest.raises(OSError, match="away"):
        source.current()
    issuer.broken = False
    source.drop()
    assert source.current().token == "token-2"


def test_a_token_that_the_broker_refused_is_not_used_again() -> None:
    issuer = Issuer()
    source = issuer.source()
    first = source.current().token
    source.drop()
    assert source.wait_seconds() == 0
    assert source.current().token != first


def test_two_threads_that_ask_at_once_cost_one_token() -> None:
    issuer = Issuer()
    source = issuer.source()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(source.current().token)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {"token-1"}


def test_no_representation_shows_the_token() -> None:
    issuer = Issuer()
    source = issuer.source()
    assert source.current().token not in repr(source)
