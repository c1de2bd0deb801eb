"""The asset register: which record a device belongs to, found again by its serial number."""

import random
import string
from dataclasses import dataclass, replace

from authplugin.issuer.actor import AssetFields
from authplugin.issuer.errors import OAuthCode, OAuthError
from authplugin.jose.identity import IdForm, canonical_asset_id, suffix

_LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase


def make_record_id(prefix: str, source: random.Random) -> str:
    """A record id of 15 characters: the object's three, then twelve of no meaning."""
    return prefix + "".join(source.choices(_LETTERS, k=12))


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset record.

    Attributes:
        id: ``02i`` and 12 characters.
        name: display name, or None.
        serial_number: the maker's number, or None; no two assets share one.
        account_id: the customer's account, or None.
        contact_id: the person to speak to, or None.
    """

    id: str
    name: str | None
    serial_number: str | None
    account_id: str | None
    contact_id: str | None

    @property
    def long_id(self) -> str:
        """The id in the 18-character form that topics, keys and events use."""
        return self.id + suffix(self.id)


class AssetRegister:
    """All assets, in memory."""

    def __init__(self, source: random.Random) -> None:
        """Begin empty; ``source`` makes the ids."""
        self._source = source
        self._by_id: dict[str, Asset] = {}
        self._by_serial: dict[str, str] = {}
        self._by_device: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, record_id: str) -> Asset | None:
        """The asset of that id, in either form; None when there is none."""
        try:
            return self._by_id.get(canonical_asset_id(record_id, IdForm.SALESFORCE)[:15])
        except ValueError:
            return None

    def register(self, fields: AssetFields, *, device_id: str | None, name: str | None) -> Asset:
        """The device's asset: the one it names, its serial number's, the one it had before, or a new one.

        What the device says anew (name, account, contact) replaces what the record had.

        Args:
            fields: ``Asset`` of the actor token.
            device_id: ``did``, None without an actor token.
            name: the name to use where ``fields`` has none and the record is new.

        Raises:
            OAuthError: ``invalid_grant`` when ``Id`` names no asset, or one of another serial number.
        """
        known = self._known(fields, device_id)
        if known is None:
            known = Asset(self._new_id(), fields.name or name, fields.serial_number, None, None)
        asset = replace(
            known,
            name=fields.name or known.name,
            serial_number=fields.serial_number or known.serial_number,
            account_id=fields.account_id or known.account_id,
            contact_id=fields.contact_id or known.contact_id,
        )
        self._by_id[asset.id] = asset
        if asset.serial_number is not None:
            self._by_serial[asset.serial_number] = asset.id
        if device_id is not None:
            self._by_device[device_id] = asset.id
        return asset

    def _known(self, fields: AssetFields, device_id: str | None) -> Asset | None:
        if fields.id is not None:
            asset = self.find(fields.id)
            if asset is None:
                raise OAuthError(
                    OAuthCode.INVALID_GRANT, "actor_token: Asset.Id names no asset of this issuer"
                )
            serial = fields.serial_number
            if serial is not None and (
                asset.serial_number not in {None, serial} or self._by_serial.get(serial, asset.id) != asset.id
            ):
                raise OAuthError(
                    OAuthCode.INVALID_GRANT,
                    "actor_token: Asset.Id and Asset.SerialNumber name different assets",
                )
            return asset
        if fields.serial_number is not None:
            return self._by_id.get(self._by_serial.get(fields.serial_number, ""))
        return self._by_id.get(self._by_device.get(device_id, "")) if device_id is not None else None

    def _new_id(self) -> str:
        record_id = make_record_id("02i", self._source)
        while record_id in self._by_id:
            record_id = make_record_id("02i", self._source)
        return record_id
