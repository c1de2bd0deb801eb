import asyncio
import hashlib
import random

import jwt
import pytest

from authplugin.issuer import (
    AssetTokenEvent,
    EventSink,
    Issuer,
    IssuerProfile,
    KeyRing,
    MemorySink,
    PublishError,
)
from authplugin.issuer.access import ACCESS_SECONDS
from authplugin.issuer.errors import OAuthCode, OAuthError
from authplugin.testing import FakeClock
from tests.support.issuer import ACCESS, EXCHANGE, JWT, Device

URL = "https://acme.my.site.com"
CREDENTIALS = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": "s"}


@pytest.fixture(scope="module")
def keys() -> KeyRing:
    return KeyRing()


def make(keys: KeyRing, sink: EventSink, clock: FakeClock, *, development_claims: bool = False) -> Issuer:
    profile = IssuerProfile(
        URL, ("a", "b"), "demo", hashlib.sha256(b"s").digest(), 600, development_claims=development_claims
    )
    return Issuer(profile, keys, sink, clock=clock, source=random.Random(1))


def access_token(issuer: Issuer) -> str:
    return str(asyncio.run(issuer.answer(CREDENTIALS, None))["access_token"])


def exchange(issuer: Issuer, subject: str, **changes: str) -> dict[str, object]:
    form = {
        "grant_type": EXCHANGE,
        "subject_token_type": ACCESS,
        "subject_token": subject,
        "actor_token_type": JWT,
        "actor_token": Device().actor_token(),
    }
    return asyncio.run(issuer.answer(form | changes, None))


def claims_of(token: object) -> dict[str, object]:
    return jwt.decode(str(token), options={"verify_signature": False})


class _Full:
    """A sink that takes nothing."""

    async def publish(self, event: AssetTokenEvent) -> None:
        raise PublishError(f"no room for {event.event_uuid}")

    def close(self) -> None:
        pass


def test_tokens_are_dated_by_the_issuers_clock_and_name_all_its_audiences(keys: KeyRing) -> None:
    clock = FakeClock()
    issuer = make(keys, MemorySink(), clock)
    answer = exchange(issuer, access_token(issuer))
    claims = claims_of(answer["access_token"])
    assert (claims["nbf"], claims["exp"]) == (int(clock.now()), int(clock.now()) + 600)
    assert (claims["aud"], claims["iss"], answer["expires_in"]) == (["a", "b"], URL, 600)


def test_an_access_token_ends(keys: KeyRing) -> None:
    clock = FakeClock()
    issuer = make(keys, MemorySink(), clock)
    token = access_token(issuer)
    clock.advance(ACCESS_SECONDS - 1)
    assert issuer.admits(token)
    clock.advance(1)
    with pytest.raises(OAuthError) as caught:
        exchange(issuer, token)
    assert caught.value.code is OAuthCode.INVALID_GRANT


def test_an_access_token_of_another_issuer_is_none_of_ours_though_the_key_be_the_same(keys: KeyRing) -> None:
    issuer = make(keys, MemorySink(), FakeClock())
    profile = IssuerProfile("https://else.my.site.com", ("a",), "demo", issuer.profile.client_secret_digest)
    other = Issuer(profile, keys, MemorySink(), clock=FakeClock())
    assert not issuer.admits(access_token(other))


def test_a_token_whose_event_was_not_published_is_not_answered(keys: KeyRing) -> None:
    issuer = make(keys, _Full(), FakeClock())
    with pytest.raises(OAuthError) as caught:
        exchange(issuer, access_token(issuer))
    assert (caught.value.code, caught.value.status) == (OAuthCode.TEMPORARILY_UNAVAILABLE, 503)


def test_a_refused_exchange_has_no_event_and_no_asset(keys: KeyRing) -> None:
    sink = MemorySink()
    issuer = make(keys, sink, FakeClock())
    with pytest.raises(OAuthError):
        exchange(issuer, access_token(issuer), actor_token=Device(1).sign(Device(2).claims()))
    assert (len(sink.events), len(issuer.assets)) == (0, 0)


def test_replay_ids_grow_though_the_clock_stands_still(keys: KeyRing) -> None:
    sink = MemorySink()
    issuer = make(keys, sink, FakeClock())
    token = access_token(issuer)
    for _ in range(3):
        exchange(issuer, token)
    replay = [int(event.replay_id or "") for event in sink.events]
    assert replay == sorted(set(replay))


def test_the_memory_of_events_is_bounded() -> None:
    sink = MemorySink(limit=2)
    event = AssetTokenEvent(*[None] * 12)
    for _ in range(5):
        asyncio.run(sink.publish(event))
    assert len(sink.events) == 2


@pytest.mark.parametrize(("validity", "begins"), [("-60", -660), ("0", -600), ("60", 0)])
def test_an_expired_token_began_before_it_ended(keys: KeyRing, validity: str, begins: int) -> None:
    clock = FakeClock()
    issuer = make(keys, MemorySink(), clock, development_claims=True)
    answer = exchange(issuer, access_token(issuer), validity=validity)
    claims = claims_of(answer["access_token"])
    assert claims["exp"] == int(clock.now()) + int(validity)
    assert claims["nbf"] == int(clock.now()) + begins
    assert answer["expires_in"] == max(0, int(validity))


@pytest.mark.parametrize(
    ("asked", "granted"),
    [(None, "api"), ("openid", "api openid"), ("api", "api"), ("refresh_token unknown", "api")],
)
def test_the_answer_says_the_scope_that_was_granted(keys: KeyRing, asked: str | None, granted: str) -> None:
    issuer = make(keys, MemorySink(), FakeClock())
    form = CREDENTIALS if asked is None else CREDENTIALS | {"scope": asked}
    answer = asyncio.run(issuer.answer(form, None))
    assert answer["scope"] == granted
    assert ("id_token" in answer) is ("openid" in granted)


def test_a_client_that_is_named_in_an_exchange_must_be_the_right_one(keys: KeyRing) -> None:
    issuer = make(keys, MemorySink(), FakeClock())
    token = access_token(issuer)
    assert exchange(issuer, token, client_id="demo", client_secret="s")
    with pytest.raises(OAuthError) as caught:
        exchange(issuer, token, client_id="demo", client_secret="t")
    assert caught.value.code is OAuthCode.INVALID_CLIENT


def test_a_description_is_printable_ascii_without_quote_or_backslash() -> None:
    error = OAuthError(OAuthCode.INVALID_REQUEST, 'a "b" \\ \n\N{SNOWMAN}')
    assert error.description == "a 'b' ' ''"


def test_nothing_that_is_printed_shows_a_key_or_a_secret(keys: KeyRing) -> None:
    profile = make(keys, MemorySink(), FakeClock()).profile
    assert repr(profile) == f"IssuerProfile({URL!r}, client 'demo')"
    assert repr(keys) == "KeyRing('Assets', 0 retired)"
