"""The key cache under a real server's moods: what devices see, and what the issuer is asked."""

import threading
from pathlib import Path

import pytest

from authplugin.errors import Reason, Refused
from authplugin.keys.cache import MAX_ABSENT, MAX_ASKED, KeyCache
from authplugin.keys.fetch import HttpSource
from authplugin.keys.refresher import Refresher
from authplugin.keys.source import FileSource
from authplugin.testing import Behaviour, FakeClock, KeyServer, TokenMint
from tests.support.mints import mint
from tests.support.rig import ISSUER, TIMING, Rig, poll


def test_before_the_first_set_every_token_is_refused() -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url))
        assert rig.refusal() is Reason.KEYS_STALE
        assert not rig.cache.ready()
        assert rig.cache.usable_until(ISSUER) == 0
        rig.refresher.step()
        assert rig.find().kid == "Assets"
        assert rig.cache.ready()
        assert rig.cache.usable_until(ISSUER) == rig.clock.monotonic() + TIMING.hard


def test_unconfigured_issuer_is_unknown() -> None:
    rig = Rig(FileSource(Path("nowhere.json")))
    with pytest.raises(Refused) as refused:
        rig.cache.find("https://stranger.example.com", "Assets")
    assert refused.value.reason is Reason.ISSUER_UNKNOWN


def test_set_is_asked_for_again_before_it_is_soft_old_and_not_sooner() -> None:
    with KeyServer(mint().jwks()) as server:
        server.etag = '"v1"'
        rig = Rig(HttpSource(server.url))
        assert rig.refresher.step() == pytest.approx(270)
        rig.run(269)
        assert len(server.requests) == 1
        rig.run(2)
        assert [request.get("if-none-match") for request in server.requests] == [None, '"v1"']
        assert rig.cache.states()[0].age == pytest.approx(1)


def test_max_age_moves_the_refresh_within_bounds() -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url))
        for header, seconds in (
            ("max-age=1000", 900),
            ("max-age=1", 54),
            ("max-age=999999", 3240),
            ("no-store", 54),
        ):
            server.cache_control = header
            assert rig.refresher.step() == pytest.approx(seconds)
            rig.clock.advance(seconds)


@pytest.mark.parametrize(
    "behaviour",
    [b for b in Behaviour if b not in {Behaviour.SERVE, Behaviour.UNCHANGED, Behaviour.DRIP_HEADER}],
)
def test_known_keys_work_through_an_outage_until_the_hard_age(behaviour: Behaviour) -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url, deadline_seconds=0.2))
        rig.refresher.step()
        generation = rig.cache.generation
        server.behaviour = behaviour
        rig.clock.advance(TIMING.soft)
        rig.refresher.step()
        state = rig.cache.states()[0]
        assert (state.failures, state.usable) == (1, True)
        assert state.error
        assert rig.find().kid == "Assets"
        rig.clock.advance(TIMING.hard - TIMING.soft - 1)
        assert rig.find().kid == "Assets"
        rig.clock.advance(1)
        assert rig.refusal() is Reason.KEYS_STALE
        assert not rig.cache.ready()
        assert rig.cache.generation == generation
        server.behaviour = Behaviour.SERVE
        rig.refresher.step()
        assert rig.find().kid == "Assets"
        assert rig.cache.states()[0].error is None


def test_verdicts_lapse_once_with_a_set_past_its_hard_age() -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        server.behaviour = Behaviour.ERROR
        rig.clock.advance(TIMING.hard - 1)
        rig.refresher.step()
        assert rig.cache.generation == 1
        rig.run(100)
        assert rig.cache.generation == 2
        assert rig.cache.states()[0].age == pytest.approx(TIMING.hard + 99)
        server.behaviour = Behaviour.SERVE
        rig.run(40)
        assert rig.find()
        assert rig.cache.generation == 2


def test_known_kid_never_waits_while_the_endpoint_hangs() -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url, deadline_seconds=30))
        rig.refresher.step()
        server.behaviour = Behaviour.HANG
        rig.clock.advance(TIMING.soft)
        hanging = threading.Thread(target=rig.refresher.step, daemon=True)
        hanging.start()
        poll(lambda: len(server.requests) == 2)
        for _ in range(1000):
            rig.find()
            assert rig.refusal("forged") is Reason.KEY_UNKNOWN
        assert hanging.is_alive()
    hanging.join()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"keys":[]}',
        b'{"keys":[{}]}',
        b'{"keys":[],"keys":[]}',
        b"\xff",
        b"[" * 2000,
        b'{"keys":[{"kty":"oct","k":"AAAA","kid":"Assets"}]}',
        b'{"keys":[{"kty":"RSA","d":"AAAA","kid":"Assets"}]}',
    ],
)
def test_bad_or_empty_set_never_replaces_a_good_one(body: bytes) -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        before = rig.find()
        server.publish(body)
        rig.clock.advance(TIMING.soft)
        rig.refresher.step()
        assert rig.find() is before
        assert rig.cache.states()[0].failures == 1


def test_set_with_a_leaked_secret_beside_good_keys_never_replaces_a_good_one() -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        server.publish({"keys": [mint(kid="New").jwk(), {"kty": "oct", "k": "AAAA", "kid": "x"}]})
        rig.clock.advance(TIMING.soft)
        rig.refresher.step()
        assert rig.find()
        assert rig.refusal("New") is Reason.KEY_UNKNOWN
        assert "refused whole" in str(rig.cache.states()[0].error)


def test_forged_kids_cost_one_fetch_a_cooldown() -> None:
    with KeyServer(mint().jwks()) as server:
        server.cache_control = "max-age=3600"
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        for second in range(600):
            for number in range(20):
                assert rig.refusal(f"forged-{second}-{number}") is Reason.KEY_UNKNOWN
            rig.clock.advance(1)
            rig.refresher.step()
            assert rig.find()
        assert len(server.requests) <= 1 + 600 / TIMING.cooldown + 1
        assert rig.cache.states()[0].misses == 12000


def test_forged_kids_cannot_push_the_timed_refresh_aside() -> None:
    """Failing asked-for attempts never move the timed one."""
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        rig.clock.advance(TIMING.soft * 0.9 - 1)
        rig.refusal("forged")
        server.behaviour = Behaviour.ERROR
        rig.refresher.step()
        assert len(server.requests) == 2
        server.behaviour = Behaviour.SERVE
        rig.run(2)
        assert len(server.requests) == 3
        assert rig.cache.states()[0].age == pytest.approx(1, abs=1)


def test_the_same_forged_kid_is_asked_for_once_a_while() -> None:
    with KeyServer(mint().jwks()) as server:
        server.cache_control = "max-age=3600"
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        rig.run(TIMING.cooldown)
        rig.refusal("forged")
        rig.refresher.step()
        assert len(server.requests) == 2
        for _ in range(int(TIMING.absent) - 1):
            rig.refusal("forged")
            rig.run(1)
        assert len(server.requests) == 2
        rig.run(2)
        rig.refusal("forged")
        rig.refresher.step()
        assert len(server.requests) == 3


def test_memory_of_unknown_kids_is_bounded() -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        slot = rig.cache.slot(ISSUER)
        for _ in range(3):
            for number in range(3 * MAX_ASKED):
                rig.refusal(f"forged-{rig.clock.monotonic()}-{number}")
            assert len(slot.asked) == MAX_ASKED
            rig.run(TIMING.cooldown)
            assert len(slot.asked) == 0
            slot.answer(["x"], rig.clock.monotonic() + 1)
        assert slot.absent_count() <= MAX_ABSENT


def test_rotated_key_works_within_a_cooldown() -> None:
    issuer = TokenMint(clock=FakeClock())
    with KeyServer(issuer.jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        generation = rig.cache.generation
        issuer.rotate("Assets2")
        server.publish(issuer.jwks())
        rig.run(5)
        assert rig.refusal("Assets2") is Reason.KEY_UNKNOWN
        rig.run(TIMING.cooldown - 6)
        assert rig.refusal("Assets2") is Reason.KEY_UNKNOWN
        rig.run(1)
        assert rig.find("Assets2").kid == "Assets2"
        assert rig.find("Assets").kid == "Assets"
        assert rig.cache.generation == generation + 1
        assert len(server.requests) == 2


def test_removed_key_is_dropped_with_the_next_set() -> None:
    issuer = TokenMint(clock=FakeClock())
    with KeyServer(issuer.jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        generation = rig.cache.generation
        issuer.rotate("Assets2", keep=False)
        server.publish(issuer.jwks())
        rig.run(TIMING.soft)
        assert rig.refusal("Assets") is Reason.KEY_UNKNOWN
        assert rig.find("Assets2")
        assert rig.cache.generation == generation + 1


def test_same_kid_with_new_material_is_the_new_key() -> None:
    issuer = TokenMint(clock=FakeClock())
    with KeyServer(issuer.jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        before, generation = rig.find(), rig.cache.generation
        issuer.rotate("Assets")
        server.publish(issuer.jwks())
        rig.run(TIMING.soft)
        assert rig.find().thumbprint != before.thumbprint
        assert rig.cache.generation == generation + 1


def test_same_set_again_keeps_the_generation() -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        rig.run(TIMING.soft * 3)
        assert len(server.requests) > 2
        assert rig.cache.generation == 1


def test_failed_attempts_back_off_and_none_is_sooner_than_the_last() -> None:
    with KeyServer(mint().jwks(), behaviour=Behaviour.ERROR) as server:
        rig = Rig(HttpSource(server.url))
        waits = []
        for _ in range(8):
            wait = rig.refresher.step()
            waits.append(wait)
            rig.clock.advance(wait)
        assert waits == pytest.approx([0.75, 1.5, 3, 6, 12, 22.5, 22.5, 22.5])
        assert len(server.requests) == 8


def test_clock_steps_of_the_wall_do_not_age_or_renew_a_set() -> None:
    with KeyServer(mint().jwks()) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        for seconds in (1e7, -2e7):
            rig.clock.step(seconds)
            assert rig.find()
            assert rig.refresher.step() > 0


def test_keys_left_out_are_shown_with_their_reasons() -> None:
    with KeyServer({"keys": [mint().jwk(), {**mint(kid="Other").jwk(), "use": "enc"}]}) as server:
        rig = Rig(HttpSource(server.url))
        rig.refresher.step()
        (state,) = rig.cache.states()
        assert [key.kid for key in state.keys] == ["Assets"]
        assert [(out.kid, out.why.value) for out in state.left_out] == [("Other", "use_not_signature")]


def test_one_issuer_s_kid_is_nothing_to_another() -> None:
    clock = FakeClock()
    cache = KeyCache([ISSUER, "https://rival.my.site.com"], clock=clock)
    with KeyServer(mint().jwks()) as server:
        refresher = Refresher(
            cache, ISSUER, HttpSource(server.url), algorithms=["RS256"], clock=clock, jitter=lambda: 0.0
        )
        refresher.step()
    assert cache.find(ISSUER, "Assets")
    with pytest.raises(Refused) as refused:
        cache.find("https://rival.my.site.com", "Assets")
    assert refused.value.reason is Reason.KEYS_STALE
    assert not cache.ready()
