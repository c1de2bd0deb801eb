"""What the shipped test doubles promise."""

import json
import threading

import jwt
import pytest

from authplugin.errors import KeySetError, Reason, Refused
from authplugin.keys.fetch import HttpSource
from authplugin.testing import Behaviour, FakeClock, KeyServer, TokenMint
from tests.support.judge import judge
from tests.support.mints import mint

HOSTILE = {
    "expired": Reason.EXPIRED,
    "not_yet_valid": Reason.NOT_YET_VALID,
    "without_expiry": Reason.EXP_MISSING,
    "wrong_audience": Reason.AUDIENCE_MISMATCH,
    "unknown_issuer": Reason.ISSUER_UNKNOWN,
    "unknown_key": Reason.KEY_UNKNOWN,
    "forged": Reason.SIGNATURE_INVALID,
    "alg_none": Reason.ALG_NOT_ALLOWED,
    "hmac_with_public_key": Reason.ALG_NOT_ALLOWED,
    "id_token": Reason.NOT_ASSET_TOKEN,
    "access_token": Reason.NOT_ASSET_TOKEN,
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_token_has_the_reason_its_method_names(name: str) -> None:
    of = mint()
    method = getattr(of, name)
    with pytest.raises(Refused) as refused:
        judge(method(), of, now=1_700_000_000)
    assert refused.value.reason is HOSTILE[name]
    assert f"``{HOSTILE[name].value}``" in method.__doc__


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_good_token_is_good_for_another_library_too(algorithm: str) -> None:
    of = mint(algorithm)
    claims = jwt.decode(
        of.mint(),
        jwt.PyJWK(of.jwk()),
        algorithms=[algorithm],
        audience=of.audience,
        options={"verify_exp": False},
    )
    assert claims["aid"] == "02iAB00000CdEfG"


def test_mint_uses_the_machine_s_clock_unless_given_one() -> None:
    key = mint().key
    claims = TokenMint(key=key, device_key=key).claims()
    assert claims["exp"] == claims["nbf"] + 518400  # type: ignore[operator] # two integers
    assert claims["nbf"] > 1_700_000_000  # type: ignore[operator] # an integer


def test_rotation_keeps_or_drops_the_old_key() -> None:
    of = TokenMint(clock=FakeClock(), algorithm="EdDSA")
    of.rotate("Second")
    assert [key["kid"] for key in kids(of)] == ["Second", "Assets"]
    of.rotate("Third", keep=False)
    assert [key["kid"] for key in kids(of)] == ["Third", "Assets"]
    before = of.jwk()
    of.rotate("Third")
    assert [key["kid"] for key in kids(of)] == ["Third", "Assets"]
    assert of.jwk() != before


def kids(of: TokenMint) -> list[dict[str, object]]:
    keys = of.jwks()["keys"]
    assert isinstance(keys, list)
    return keys


def test_mint_s_repr_holds_no_key() -> None:
    assert repr(mint()) == "TokenMint('https://acme.my.site.com', kid='Assets', RS256)"


def test_published_set_holds_no_private_member() -> None:
    for algorithm in ("RS256", "ES256", "EdDSA"):
        assert not {"d", "p", "q", "k"} & set(mint(algorithm).jwk())


def test_fake_clock_moves_only_by_hand() -> None:
    clock = FakeClock(now=100, monotonic=5)
    clock.advance(2)
    clock.step(-50)
    assert (clock.now(), clock.monotonic()) == (52, 7)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_key_server_leaves_no_thread_and_no_listener_behind() -> None:
    before = set(threading.enumerate())
    with KeyServer(mint().jwks(), behaviour=Behaviour.HANG) as server:
        url = server.url
        with pytest.raises(KeySetError):
            HttpSource(url, deadline_seconds=0.1).fetch(None)
    assert set(threading.enumerate()) <= before
    with pytest.raises(KeySetError, match="refused"):
        HttpSource(url).fetch(None)


def test_key_server_serves_what_is_published_now() -> None:
    with KeyServer(mint().jwks()) as server:
        server.publish(b"as it is")
        assert HttpSource(server.url).fetch(None).body == b"as it is"
        server.publish({"keys": []})
        assert json.loads(HttpSource(server.url).fetch(None).body or b"") == {"keys": []}
