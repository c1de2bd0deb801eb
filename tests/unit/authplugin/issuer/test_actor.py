import base64
import contextlib
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.issuer.actor import Actor, read_actor
from authplugin.issuer.errors import OAuthCode, OAuthError
from tests.support.issuer import Device

NOW = 1_700_000_000.0


def read(token: str, *, accept_unsigned: bool = False) -> Actor:
    return read_actor(token.encode(), now=NOW, accept_unsigned=accept_unsigned)


def refusal(token: str, *, accept_unsigned: bool = False) -> OAuthError:
    with pytest.raises(OAuthError) as caught:
        read(token, accept_unsigned=accept_unsigned)
    return caught.value


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_good_one_is_read_whole() -> None:
    device = Device(1)
    actor = read(device.actor_token())
    assert (actor.device_id, actor.name, actor.jwk) == (device.did, "Press 1 token", device.jwk)
    assert (actor.asset.name, actor.asset.serial_number) == ("Press 1", "SN-0001")
    assert (actor.asset.account_id, actor.asset.contact_id) == ("001AB0000000001", "003AB0000000001")
    assert json.loads(actor.payload) == device.claims()


def test_all_but_the_device_id_and_the_key_may_be_left_out() -> None:
    actor = read(Device().actor_token(Name=None, Asset=None, firmware=None))
    assert (actor.name, actor.asset.id, actor.asset.serial_number) == (None, None, None)


def test_only_what_verifies_is_bound() -> None:
    device = Device()
    jwk = device.jwk | {"note": "x" * 500, "key_ops": ["verify"], "use": "sig"}
    assert read(device.actor_token(cnf={"jwk": jwk})).jwk == device.jwk


def test_a_bound_key_needs_no_name() -> None:
    device = Device()
    jwk = {name: value for name, value in device.jwk.items() if name != "kid"}
    assert read(device.actor_token(cnf={"jwk": jwk})).jwk == jwk


@pytest.mark.parametrize(
    "changes",
    [
        {"did": None},
        {"did": ""},
        {"did": "a\nb"},
        {"did": "a" * 129},
        {"did": 7},
        {"Name": ""},
        {"Name": 7},
        {"Asset": "press"},
        {"Asset": {"SerialNumber": 7}},
        {"Asset": {"SerialNumber": "9" * 81}},
        {"Asset": {"AccountId": "0" * 19}},
        {"cnf": {}},
        {"cnf": {"jwk": "key"}},
        {"cnf": {"x5t#S256": "abc"}},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": -1},
    ],
)
def test_a_claim_of_the_wrong_form_is_an_invalid_request(changes: Mapping[str, object]) -> None:
    assert refusal(Device().actor_token(**changes)).code is OAuthCode.INVALID_REQUEST


@pytest.mark.parametrize("changes", [{"exp": NOW - 30}, {"nbf": NOW + 31}])
def test_its_own_times_are_kept_with_the_leeway(changes: Mapping[str, float]) -> None:
    assert refusal(Device().actor_token(**changes)).code is OAuthCode.INVALID_GRANT
    inside = {name: value + (1 if name == "exp" else -1) for name, value in changes.items()}
    assert read(Device().actor_token(**inside)).device_id


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "AAAA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
        {},
    ],
)
def test_an_unfit_key_is_not_bound(jwk: Mapping[str, str]) -> None:
    assert refusal(Device().actor_token(cnf={"jwk": jwk})).code is OAuthCode.INVALID_GRANT


def test_a_private_key_is_not_bound_nor_repeated() -> None:
    device = Device()
    error = refusal(device.actor_token(cnf={"jwk": device.jwk | {"d": "c2VjcmV0"}}))
    assert error.code is OAuthCode.INVALID_GRANT
    assert "c2VjcmV0" not in str(error)


def test_the_algorithm_is_the_keys_not_the_headers() -> None:
    stranger = Device(0, "RS256").sign(Device(0, "ES256").claims())
    assert "alg is not ES256" in refusal(stranger).description


@pytest.mark.parametrize("accept_unsigned", [False, True])
def test_an_unsigned_token_never_binds_a_key(*, accept_unsigned: bool) -> None:
    error = refusal(Device().leave_unsigned(), accept_unsigned=accept_unsigned)
    assert error.code is OAuthCode.INVALID_GRANT


def test_an_unsigned_token_that_binds_nothing_passes_only_where_set() -> None:
    token = Device().leave_unsigned(cnf=None)
    assert read(token, accept_unsigned=True).jwk is None
    assert refusal(token).code is OAuthCode.INVALID_GRANT
    assert refusal(token + "AAAA", accept_unsigned=True).code is OAuthCode.INVALID_GRANT


def test_critical_extensions_are_refused() -> None:
    token = Device().sign(Device().claims(), crit=["b64"], b64=True)
    assert refusal(token).code is OAuthCode.INVALID_REQUEST


def test_a_member_named_twice_is_refused() -> None:
    payload = base64.urlsafe_b64encode(b'{"did":"a","did":"b"}').rstrip(b"=").decode()
    assert "twice" in refusal(f"{part({'alg': 'none'})}.{payload}.", accept_unsigned=True).description


@given(
    st.text()
    | st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,20}", fullmatch=True)
)
def test_garbage_is_an_invalid_request(token: str) -> None:
    assert refusal(token, accept_unsigned=True).code is OAuthCode.INVALID_REQUEST


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["did", "Name", "Asset", "cnf", "exp", "nbf"]), _JSON), _JSON)
def test_any_claims_at_all_are_read_or_refused(claims: Mapping[str, object], algorithm: object) -> None:
    with contextlib.suppress(OAuthError):
        assert read(f"{part({'alg': algorithm})}.{part(claims)}.", accept_unsigned=True).jwk is None
