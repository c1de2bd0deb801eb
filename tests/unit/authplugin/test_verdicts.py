import gc

import pytest

from authplugin.errors import Reason
from authplugin.model import Grant, Terms
from authplugin.topics.template import Templates
from authplugin.verdicts import LASTING, VerdictCache

RIGHTS = Templates((), ())


def grant(digest: bytes = b"d", expires: float = 1000.0) -> Grant:
    return Grant("a", "d", expires, digest, b"", Terms("i", "k", RIGHTS))


def test_a_verified_token_is_found_until_exp_and_leeway() -> None:
    cache = VerdictCache(ttl=1e9)
    good = grant()
    kept = cache.remember(good, 1, 0.0, leeway=30.0)
    assert cache.find(b"d", 1, 1029.9) is kept
    assert (kept.asset_id, kept.device_id, kept.expires) == (good.asset_id, good.device_id, good.expires)
    assert (kept.digest, kept.confirmation, kept.terms) == (good.digest, good.confirmation, good.terms)
    assert cache.find(b"d", 1, 1030.0) is None
    assert len(cache) == 0


def test_a_verified_token_is_judged_again_after_the_ttl() -> None:
    cache = VerdictCache(ttl=900.0)
    cache.remember(grant(expires=1e9), 1, 0.0, leeway=0.0)
    assert cache.find(b"d", 1, 899.0) is not None
    assert cache.find(b"d", 1, 900.0) is None


def test_another_generation_forgets() -> None:
    cache = VerdictCache()
    cache.remember(grant(), 1, 0.0, leeway=0.0)
    assert cache.generation(b"d") == 1
    assert cache.find(b"d", 2, 0.0) is None


def test_a_verdict_carried_over_into_another_generation_lives_no_longer() -> None:
    cache = VerdictCache(ttl=10.0)
    cache.remember(grant(), 1, 0.0, leeway=0.0)
    assert cache.find_since(b"d", 2, 0.0) is None
    assert cache.find_since(b"x", 1, 0.0) is None
    assert cache.find_since(b"d", 1, 10.0) is None
    assert cache.find_since(b"d", 1, 9.0) is not None
    cache.renew(b"d", 2)
    cache.renew(b"x", 2)
    assert cache.find(b"d", 2, 9.0) is not None
    assert cache.find(b"d", 2, 10.0) is None
    assert len(cache) == 0


def fill(cache: VerdictCache, names: range) -> None:
    for name in names:
        cache.remember(grant(b"%d" % name), 1, 0.0, leeway=0.0)


def held(cache: VerdictCache, names: range) -> list[int]:
    return [name for name in names if cache.find_since(b"%d" % name, 1, 0.0) is not None]


@pytest.mark.parametrize("count", [1, 9, 10, 11, 19, 20, 21, 99, 100, 1000])
def test_the_tokens_used_last_are_held_and_at_most_twice_as_many(count: int) -> None:
    cache = VerdictCache(capacity=10)
    fill(cache, range(count))
    last = range(max(0, count - 10), count)
    assert held(cache, last) == list(last)
    assert len(cache) == len(held(cache, range(count))) <= 20


def test_a_token_in_use_outlives_those_that_are_not() -> None:
    cache = VerdictCache(capacity=10)
    fill(cache, range(10))
    for name in range(10, 1000):
        assert cache.find(b"3", 1, 0.0) is not None
        fill(cache, range(name, name + 1))
    assert held(cache, range(10)) == [3]
    assert (cache.hits, cache.misses) == (990, 0)


def test_a_token_verified_again_is_held_once() -> None:
    cache = VerdictCache(capacity=2)
    for _ in range(3):
        fill(cache, range(3))
        assert len(cache) == 3
    assert cache.find(b"2", 1, 0.0) is not None
    cache.renew(b"0", 2)
    assert len(cache) == 3


def test_verdicts_of_one_moment_share_what_they_are_believed_for() -> None:
    cache = VerdictCache(ttl=100.0)
    for name, now in ((b"a", 1000.0), (b"b", 1000.5), (b"c", 1002.0), (b"d", 900.0)):
        cache.remember(grant(name, 1e9), 1, now, leeway=0.0)
    assert cache.find(b"b", 1, 1099.9) is not None
    assert cache.find(b"b", 1, 1100.0) is None
    assert cache.find(b"c", 1, 1101.9) is not None
    # A clock set back lengthens nothing.
    assert cache.find(b"d", 1, 1000.0) is None


def test_no_capacity_remembers_nothing() -> None:
    cache = VerdictCache(capacity=0, refused_capacity=0)
    cache.remember(grant(), 1, 0.0, leeway=0.0)
    cache.remember_refused(b"x", 1, 0.0, Reason.EXPIRED, "")
    assert len(cache) == 0
    assert cache.find_refused(b"x", 1, 0.0) is None


@pytest.mark.parametrize("reason", list(Reason))
def test_only_lasting_refusals_are_remembered(reason: Reason) -> None:
    cache = VerdictCache()
    cache.remember_refused(b"x", 1, 0.0, reason, "why")
    found = cache.find_refused(b"x", 1, 0.0)
    assert (found is not None) == (reason in LASTING)
    assert found is None or (found.reason, found.detail) == (reason, "why")


def test_what_ends_by_itself_is_not_lasting() -> None:
    assert not LASTING & {Reason.KEY_UNKNOWN, Reason.KEYS_STALE, Reason.NOT_YET_VALID, Reason.INTERNAL}


def test_a_refusal_is_forgotten_after_its_time_or_under_new_keys() -> None:
    cache = VerdictCache(refused_ttl=30.0)
    cache.remember_refused(b"x", 1, 0.0, Reason.EXPIRED, "")
    assert cache.find_refused(b"x", 2, 0.0) is None
    assert cache.find_refused(b"x", 1, 30.0) is None


def test_a_clock_set_back_lengthens_no_refusal() -> None:
    cache = VerdictCache(refused_ttl=30.0)
    cache.remember_refused(b"d", 1, 86_400.0, Reason.EXPIRED, "")
    assert cache.find_refused(b"d", 1, 86_400.0) is not None
    assert cache.find_refused(b"d", 1, 86_390.0) is None
    assert cache.find_refused(b"d", 1, 0.0) is None


def test_bad_tokens_push_out_bad_tokens_only() -> None:
    cache = VerdictCache(capacity=1, refused_capacity=2)
    cache.remember(grant(), 1, 0.0, leeway=0.0)
    for digest in (b"1", b"2", b"3"):
        cache.remember_refused(digest, 1, 0.0, Reason.EXPIRED, "")
    assert cache.find_refused(b"1", 1, 0.0) is None
    assert cache.find_refused(b"3", 1, 0.0) is not None
    assert cache.find(b"d", 1, 0.0) is not None


def test_clear_forgets_everything() -> None:
    cache = VerdictCache()
    cache.remember(grant(), 1, 0.0, leeway=0.0)
    cache.remember_refused(b"x", 1, 0.0, Reason.EXPIRED, "")
    cache.clear()
    assert cache.find(b"d", 1, 0.0) is None
    assert cache.find_refused(b"x", 1, 0.0) is None


def test_verdicts_are_invisible_to_the_garbage_collector() -> None:
    cache = VerdictCache()
    cache.remember(grant(), 1, 0.0, leeway=0.0)
    assert not gc.is_tracked(cache.find(b"d", 1, 0.0))


def test_so_is_what_holds_them() -> None:
    gc.collect()
    before = len(gc.get_objects())
    cache = VerdictCache(capacity=100)
    fill(cache, range(1000))
    gc.collect()
    # The cache itself and its table of bad tokens; none of what holds the good ones.
    assert len(gc.get_objects()) - before < 10
