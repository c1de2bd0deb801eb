"""Any story of rotations, outages, hangs, drips, forged kids and clock steps, against a model of the cache.

The issuer is a script on a clock by hand: an answer may take its time, and while it does, devices go
on looking keys up. The model says what must be held: the last set that the issuer answered whole.
"""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from authplugin.errors import KeySetError, Reason, Refused
from authplugin.jose.jwk import thumbprint
from authplugin.keys.cache import MAX_ABSENT, MAX_ASKED, KeyCache
from authplugin.keys.refresher import Refresher
from authplugin.keys.schedule import Timing
from authplugin.keys.source import Answer
from authplugin.testing import FakeClock
from tests.support.mints import mint

ISSUER = "https://acme.my.site.com"
KIDS = ("Assets", "Assets2", "Assets3")
#: Two keys of the issuer under each name: careless issuers put new material under an old kid.
MATERIALS = ("first", "second")
TIMING = Timing(hard=7200.0)
DEADLINE = 5.0

MOODS = ("up", "slow", "down", "hang", "drip", "empty", "leak", "junk")
#: Answers that are none, and those whose set may not be used.
FAILING = frozenset({"down", "hang", "drip", "empty", "leak", "junk"})


def jwk(kid: str, material: str) -> dict[str, object]:
    return {**mint(kid=f"{material}-material").jwk(), "kid": kid}


class Issuer:
    """A key source that answers as its mood is, and lets `meanwhile` happen while it takes its time."""

    def __init__(self) -> None:
        self.published: Mapping[str, str] = {"Assets": "first"}
        self.mood = "up"
        self.max_age: float | None = None
        self.clock = FakeClock()
        self.began: list[float] = []
        self.vouched: list[float] = []
        self.fetching = False
        self.meanwhile: Callable[[], None] = lambda: None

    def fetch(self, etag: str | None) -> Answer:
        assert not self.fetching, "two fetches at a time"
        self.fetching = True
        try:
            self.began.append(self.clock.monotonic())
            answer = self._answer(etag)
        finally:
            self.fetching = False
        if self.mood not in FAILING and self.published:
            self.vouched.append(self.began[-1])
        return answer

    def _answer(self, etag: str | None) -> Answer:
        steps = {"hang": (DEADLINE,), "drip": (0.5,) * 10, "slow": (1.0, 3.0)}.get(self.mood, ())
        for seconds in steps:
            self.meanwhile()
            self.clock.advance(seconds)
        if self.mood in {"down", "hang", "drip"}:
            raise KeySetError(self.mood)
        keys: list[object] = [jwk(kid, material) for kid, material in self.published.items()]
        if self.mood == "leak":
            keys.append({"kty": "oct", "k": "AAAA", "kid": "Assets4"})
        if self.mood == "junk":
            return Answer(b"<html>")
        name = json.dumps([self.mood in {"leak", "empty"}, sorted(self.published.items())])
        if etag == name:
            return Answer(None, etag, self.max_age)
        return Answer(json.dumps({"keys": [] if self.mood == "empty" else keys}).encode(), name, self.max_age)


class KeyCacheStory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.issuer = Issuer()
        self.clock = self.issuer.clock
        self.cache = KeyCache([ISSUER], clock=self.clock)
        self.refresher = Refresher(
            self.cache,
            ISSUER,
            self.issuer,
            algorithms=["RS256"],
            clock=self.clock,
            jitter=lambda: 0.5,
            timing=TIMING,
        )
        self.held: Mapping[str, str] = {}
        self.since = 0.0
        self.issuer.meanwhile = self.look_up_while_the_issuer_takes_its_time

    def step(self) -> None:
        before = len(self.issuer.vouched)
        assert self.refresher.step() >= 0
        if len(self.issuer.vouched) > before:
            self.held, self.since = dict(self.issuer.published), self.issuer.vouched[-1]

    def look_up_while_the_issuer_takes_its_time(self) -> None:
        """Lookups take no time, start no fetch and find what was held before."""
        now, fetches = self.clock.monotonic(), len(self.issuer.began)
        self.what_is_held_is_what_the_issuer_last_vouched_for()
        self.forge(3)
        assert (self.clock.monotonic(), len(self.issuer.began)) == (now, fetches)

    @rule(keys=st.dictionaries(st.sampled_from(KIDS), st.sampled_from(MATERIALS)))
    def rotate(self, keys: dict[str, str]) -> None:
        self.issuer.published = keys

    @rule(mood=st.sampled_from(MOODS))
    def change_mood(self, mood: str) -> None:
        self.issuer.mood = mood

    @rule(max_age=st.sampled_from([None, 0.0, 100.0, 3600.0, 1e9]))
    def change_max_age(self, max_age: float | None) -> None:
        self.issuer.max_age = max_age

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 10.0, 31.0, 300.0, 4000.0]), turns=st.integers(1, 5))
    def pass_time(self, seconds: float, turns: int) -> None:
        for _ in range(turns):
            self.clock.advance(seconds)
            self.step()

    @rule(seconds=st.floats(-1e6, 1e6))
    def step_wall_clock(self, seconds: float) -> None:
        self.clock.step(seconds)

    @rule(count=st.integers(1, 2000))
    def forge(self, count: int) -> None:
        fetches = len(self.issuer.began)
        for number in range(count):
            with pytest.raises(Refused) as refused:
                self.cache.find(ISSUER, f"forged-{number}")
            assert refused.value.reason in {Reason.KEY_UNKNOWN, Reason.KEYS_STALE}
        assert len(self.issuer.began) == fetches

    @rule()
    def a_new_key_is_known_a_cooldown_after_its_first_token(self) -> None:
        """With the issuer well: what it publishes now, and nothing else, is held within the bound."""
        self.issuer.mood = "up"
        self.issuer.published = {**self.issuer.published, "Assets3": "second"}
        for kid in KIDS:
            try:
                self.cache.find(ISSUER, kid)
            except Refused:
                continue
        self.clock.advance(TIMING.cooldown)
        self.step()
        if self.held.get("Assets3") is None:
            # The kid had been asked for, and found absent, less than that while ago.
            self.clock.advance(TIMING.absent)
            with pytest.raises(Refused):
                self.cache.find(ISSUER, "Assets3")
            self.step()
        assert self.cache.find(ISSUER, "Assets3").kid == "Assets3"

    @invariant()
    def what_is_held_is_what_the_issuer_last_vouched_for(self) -> None:
        usable = bool(self.held) and self.clock.monotonic() < self.since + TIMING.hard
        for kid in KIDS:
            material = self.held.get(kid)
            if usable and material is not None:
                assert self.cache.find(ISSUER, kid).thumbprint == thumbprint(jwk(kid, material))
                continue
            with pytest.raises(Refused) as refused:
                self.cache.find(ISSUER, kid)
            assert refused.value.reason is (Reason.KEY_UNKNOWN if usable else Reason.KEYS_STALE)
        assert self.cache.ready() == usable

    @invariant()
    def fetches_stay_within_their_budget(self) -> None:
        began, vouched = self.issuer.began, set(self.issuer.vouched)
        for earlier, later in pairwise(began):
            # After an answer nothing is asked for a cooldown, whatever tokens say; after a failure
            # the first retry may be half a second away.
            assert later - earlier >= (TIMING.cooldown if earlier in vouched else TIMING.retry_first / 2)
        for first in range(len(began) - 8):
            assert began[first + 8] - began[first] > TIMING.cooldown

    @invariant()
    def memory_is_bounded(self) -> None:
        slot = self.cache.slot(ISSUER)
        assert len(slot.asked) <= MAX_ASKED
        assert slot.absent_count() <= MAX_ABSENT


TestKeyCacheStory = KeyCacheStory.TestCase
TestKeyCacheStory.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
