"""Any story of rotations, outages, forged kids and clock steps: no unpublished key and no extra fetch."""

import json
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from authplugin.errors import KeySetError, Reason, Refused
from authplugin.keys.cache import MAX_ABSENT, MAX_ASKED, KeyCache
from authplugin.keys.refresher import Refresher
from authplugin.keys.schedule import Timing
from authplugin.keys.source import Answer
from authplugin.testing import FakeClock
from tests.support.mints import mint

ISSUER = "https://acme.my.site.com"
KIDS = ("Assets", "Assets2", "Assets3")
TIMING = Timing(hard=7200.0)


class Issuer:
    """A key source whose answers the story decides; counts what it is asked."""

    def __init__(self) -> None:
        self.kids: tuple[str, ...] = KIDS[:1]
        self.down = False
        self.asked: list[float] = []
        self.answered: set[float] = set()
        self.clock = FakeClock()

    def fetch(self, etag: str | None) -> Answer:
        self.asked.append(self.clock.monotonic())
        if self.down:
            raise KeySetError("down")
        if self.kids:
            self.answered.add(self.asked[-1])
        name = ",".join(self.kids)
        if etag == name:
            return Answer(None, etag)
        return Answer(json.dumps({"keys": [mint(kid=kid).jwk() for kid in self.kids]}).encode(), name)


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
        self.published: list[tuple[float, tuple[str, ...]]] = [(self.clock.monotonic(), self.issuer.kids)]
        self.began = self.clock.monotonic()

    @rule(kids=st.sets(st.sampled_from(KIDS)))
    def rotate(self, kids: set[str]) -> None:
        self.issuer.kids = tuple(sorted(kids))
        self.published.append((self.clock.monotonic(), self.issuer.kids))

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        self.issuer.down = down

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 10.0, 31.0, 300.0, 4000.0]), turns=st.integers(1, 5))
    def pass_time(self, seconds: float, turns: int) -> None:
        for _ in range(turns):
            self.clock.advance(seconds)
            assert self.refresher.step() >= 0

    @rule(seconds=st.floats(-1e6, 1e6))
    def step_wall_clock(self, seconds: float) -> None:
        self.clock.step(seconds)

    @rule(count=st.integers(1, 2000))
    def forge(self, count: int) -> None:
        before = len(self.issuer.asked)
        for number in range(count):
            with pytest.raises(Refused) as refused:
                self.cache.find(ISSUER, f"forged-{number}")
            assert refused.value.reason in {Reason.KEY_UNKNOWN, Reason.KEYS_STALE}
        assert len(self.issuer.asked) == before

    @invariant()
    def every_key_found_was_published_within_the_hard_age(self) -> None:
        now = self.clock.monotonic()
        for kid in KIDS:
            try:
                key = self.cache.find(ISSUER, kid)
            except Refused:
                continue
            assert key.kid == kid
            ends = [start for start, _ in self.published[1:]] + [now]
            lived = [end for (_, kids), end in zip(self.published, ends, strict=True) if kid in kids]
            assert lived, "never published"
            assert now - max(lived) < TIMING.hard

    @invariant()
    def fetches_stay_within_their_budget(self) -> None:
        asked = self.issuer.asked
        answered = self.issuer.answered
        for earlier, later in pairwise(asked):
            # After an answer nothing is asked for a cooldown, whatever tokens say; after a failure
            # the first retry may be half a second away.
            assert later - earlier >= (TIMING.cooldown if earlier in answered else TIMING.retry_first / 2)
        for first in range(len(asked) - 8):
            assert asked[first + 8] - asked[first] > TIMING.cooldown

    @invariant()
    def memory_is_bounded(self) -> None:
        slot = self.cache.slot(ISSUER)
        assert len(slot.asked) <= MAX_ASKED
        assert slot.absent_count() <= MAX_ABSENT


TestKeyCacheStory = KeyCacheStory.TestCase
TestKeyCacheStory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
