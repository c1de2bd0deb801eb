"""What tokens of other issuers look like: mapped names, demanded values, attributes for topics."""

import pytest

from authplugin.errors import Reason, Refused
from authplugin.jose.profile import (
    Attribute,
    RequiredClaim,
    check_name,
    check_required,
    find_claim,
    read_attributes,
)

CLAIMS: dict[str, object] = {
    "https://acme.example.com/asset": "pump-7",
    "device": {"serial": "s-1", "a/b": {"m~n": "deep"}, "list": ["x"]},
    "typ": "Bearer",
    "roles": ["device", "reader"],
    "level": 3,
    "active": True,
    "nothing": None,
    "": "empty",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("typ", "Bearer"),
        ("https://acme.example.com/asset", "pump-7"),
        ("/device/serial", "s-1"),
        ("/device/a~1b/m~0n", "deep"),
        ("/typ", "Bearer"),
        ("/", "empty"),
        ("/device/list/0", None),
        ("/typ/serial", None),
        ("/nobody/serial", None),
        ("device.serial", None),
        ("nothing", None),
    ],
)
def test_a_claim_is_named_as_it_stands_or_by_pointer(name: str, value: object) -> None:
    assert find_claim(CLAIMS, name) == value


def test_a_pointer_has_two_escapes_only() -> None:
    for name in ("/a~0b~1", "a~b", "/"):
        check_name(name)
    for name in ("/a~2", "/a~"):
        with pytest.raises(ValueError, match="~"):
            check_name(name)


@pytest.mark.parametrize(
    ("demand", "holds"),
    [
        (RequiredClaim("typ"), True),
        (RequiredClaim("typ", ("Bearer", "other")), True),
        (RequiredClaim("roles", ("device",)), True),
        (RequiredClaim("level", (3,)), True),
        (RequiredClaim("active", (True,)), True),
        (RequiredClaim("/device/serial", ("s-1",)), True),
        (RequiredClaim("typ", ("bearer",)), False),
        (RequiredClaim("roles", ("admin",)), False),
        (RequiredClaim("level", ("3",)), False),
        (RequiredClaim("active", (1,)), False),
        (RequiredClaim("level", (True,)), False),
        (RequiredClaim("nothing"), False),
        (RequiredClaim("absent"), False),
    ],
)
def test_a_token_without_what_marks_the_issuers_asset_tokens_is_none(
    demand: RequiredClaim, *, holds: bool
) -> None:
    if holds:
        check_required(CLAIMS, [demand])
        return
    with pytest.raises(Refused) as refused:
        check_required(CLAIMS, [RequiredClaim("typ"), demand])
    assert refused.value.reason is Reason.NOT_ASSET_TOKEN


def test_attributes_are_copied_in_the_order_of_the_settings() -> None:
    wanted = [Attribute("kind", "typ"), Attribute("level", "level"), Attribute("serial", "/device/serial")]
    assert read_attributes(CLAIMS, wanted) == (("kind", "Bearer"), ("level", "3"), ("serial", "s-1"))


@pytest.mark.parametrize(
    "value", [None, "", "a/b", "+", "#", "$SYS", "a b", "é", "\0", "x" * 65, True, 1.5, ["a"], {"a": "b"}]
)
def test_an_attribute_that_is_not_one_safe_topic_level_refuses_the_token(value: object) -> None:
    with pytest.raises(Refused) as refused:
        read_attributes({"site": value}, [Attribute("site", "site")])
    assert refused.value.reason is Reason.CLAIMS_MALFORMED
    assert read_attributes({"site": "x" * 64}, [Attribute("site", "site")]) == (("site", "x" * 64),)
