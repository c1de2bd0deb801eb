import random

import pytest

from authplugin.issuer.actor import AssetFields
from authplugin.issuer.assets import AssetRegister
from authplugin.issuer.errors import OAuthCode, OAuthError
from authplugin.jose.identity import IdForm, canonical_asset_id


@pytest.fixture
def register() -> AssetRegister:
    return AssetRegister(random.Random(7))


def test_a_new_asset_has_a_record_id_of_fifteen_characters(register: AssetRegister) -> None:
    asset = register.register(AssetFields(name="Press"), device_id="d", name="Token")
    assert (len(asset.id), asset.id[:3], asset.name) == (15, "02i", "Press")
    assert asset.id.isalnum()
    assert asset.long_id == canonical_asset_id(asset.id, IdForm.SALESFORCE)


def test_a_nameless_asset_takes_the_tokens_name(register: AssetRegister) -> None:
    assert register.register(AssetFields(), device_id="d", name="Token").name == "Token"


def test_the_serial_number_finds_the_asset_whatever_the_device(register: AssetRegister) -> None:
    first = register.register(AssetFields(serial_number="1"), device_id="d", name=None)
    again = register.register(AssetFields(serial_number="1"), device_id="e", name=None)
    assert again.id == first.id
    assert len(register) == 1


def test_another_serial_number_is_another_asset_though_the_device_is_the_same(
    register: AssetRegister,
) -> None:
    first = register.register(AssetFields(serial_number="1"), device_id="d", name=None)
    second = register.register(AssetFields(serial_number="2"), device_id="d", name=None)
    assert second.id != first.id
    assert register.register(AssetFields(), device_id="d", name=None).id == second.id


def test_without_a_serial_number_a_device_keeps_its_asset(register: AssetRegister) -> None:
    first = register.register(AssetFields(), device_id="d", name=None)
    assert register.register(AssetFields(), device_id="d", name=None).id == first.id
    assert register.register(AssetFields(), device_id="e", name=None).id != first.id


def test_what_is_said_anew_replaces_and_what_is_not_said_stays(register: AssetRegister) -> None:
    register.register(AssetFields("Press", "1", "001A", None, "003A"), device_id="d", name=None)
    asset = register.register(AssetFields(serial_number="1", account_id="001B"), device_id="d", name="x")
    assert (asset.name, asset.account_id, asset.contact_id) == ("Press", "001B", "003A")
    assert register.find(asset.id) == register.find(asset.long_id) == asset


def test_an_id_names_an_asset_in_either_form_and_gives_it_a_serial_number_once(
    register: AssetRegister,
) -> None:
    asset = register.register(AssetFields(), device_id="d", name=None)
    for record_id in (asset.id, asset.long_id):
        fields = AssetFields(id=record_id, serial_number="1")
        assert register.register(fields, device_id="e", name=None).id == asset.id
    assert register.register(AssetFields(serial_number="1"), device_id="f", name=None).id == asset.id


def test_an_id_and_a_serial_number_of_different_assets_are_refused(register: AssetRegister) -> None:
    first = register.register(AssetFields(serial_number="1"), device_id="d", name=None)
    bare = register.register(AssetFields(), device_id="e", name=None)
    for record_id, serial in ((first.id, "2"), (bare.id, "1")):
        with pytest.raises(OAuthError) as caught:
            register.register(AssetFields(id=record_id, serial_number=serial), device_id="x", name=None)
        assert caught.value.code is OAuthCode.INVALID_GRANT
    assert register.find(bare.id) == bare


@pytest.mark.parametrize("record_id", ["02iAB00000CdEfG", "", "02i", "../x", "02iAB00000CdEfGAAA"])
def test_an_id_that_names_no_asset_is_refused(register: AssetRegister, record_id: str) -> None:
    assert register.find(record_id) is None
    with pytest.raises(OAuthError):
        register.register(AssetFields(id=record_id), device_id="d", name=None)
