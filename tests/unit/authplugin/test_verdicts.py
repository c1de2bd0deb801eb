import gc

import pytest

from authplugin.errors import Reason
from authplugin.model import Grant
from authplugin.topics.template import Templates
from authplugin.verdicts import LASTING, VerdictCache

RIGHTS = Templates((), ())


def grant(digest: bytes = b"d", expires: float = 1000.0) -> Grant:
    return Grant("a", "d", "i", "k", expires, digest, b"", RIGHTS)


def test_a_verified_token_is_found_until_exp_and_leeway() -> None:
    cache = VerdictCache(ttl=1e9)
    good = grant()
    cache.remember(good, 1, 0.0, leeway=30.0)
    assert cache.find(b"d", 1, 1029.9) is good
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
    assert cache.find_since(b"d", 1, 9.0) == grant()
    cache.renew(b"d", 2)
    cache.renew(b"x", 2)
    assert cache.find(b"d", 2, 9.0) == grant()
    assert cache.find(b"d", 2, 10.0) is None
    assert len(cache) == 0


def test_the_least_recently_used_token_goes_first() -> None:
    cache = VerdictCache(capacity=2)
    for digest in (b"1", b"2"):
        cache.remember(grant(digest), 1, 0.0, leeway=0.0)
    cache.find(b"1", 1, 0.0)
    cache.remember(grant(b"3"), 1, 0.0, leeway=0.0)
    assert cache.find(b"2", 1, 0.0) is None
    assert cache.find(b"1", 1, 0.0) is not None
    assert (cache.hits, cache.misses) == (2, 1)


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
