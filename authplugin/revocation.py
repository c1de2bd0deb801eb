"""Revocations: which tokens are refused although their signature holds and their time has not come.

A file of JSON lines, one revocation each, for people and programs alike; lines that are empty or
begin with ``#`` revoke nothing::

    {"token": "3a5f…"}                       SHA-256 of the token in hex, all 64 digits or the first 16;
                                             of an ES256 token, that of either of its two spellings
    {"asset": "02iAB00000CdEfG"}             every token of the asset, in either form of its id
    {"device": "0a1b…", "issuer": "https://…"}   every token of the device; the issuer may be left out
    {"kid": "Assets", "issuer": "https://…"}     every token signed by that key
    {"issuer": "https://…"}                  every token of the issuer
    {"issued_before": "2026-01-31T12:00:00Z"}    every token issued before then (or epoch seconds)

``issued_before`` beside an ``asset`` or an ``issuer`` names only their older tokens; any line may
have a ``note`` for people. A file that is blank is refused, for that is what a copy or a full disk leaves
of one: a comment says that nothing is revoked. Parsing is all that costs: what comes out is frozen sets.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import msgspec

from authplugin.errors import ConfigurationError, ConfigurationErrors
from authplugin.jose.identity import IdForm, canonical_asset_id, is_asset_id
from authplugin.jose.json import parse_object
from authplugin.model import Grant

MAX_BYTES = 64 * 1024 * 1024
"""Largest file that is read: a million revoked tokens, with notes."""

NOTHING = b"# nothing is revoked\n"
"""What an intentionally empty file says."""

_MAX_MISTAKES = 20
_FULL, _SHORT = 64, 16
_HEX = frozenset("0123456789abcdef")
_RECORD_ID = 15
_FORMS = (
    "token | asset [issued_before] | device [issuer] | kid issuer | issuer [issued_before] | issued_before"
)


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One line of the file, as written."""

    token: str | None = None
    asset: str | None = None
    device: str | None = None
    kid: str | None = None
    issuer: str | None = None
    issued_before: str | float | None = None
    note: str | None = None


Key = tuple[str, ...]
"""What an entry names, whatever its note and spelling: the kind, then its values."""


class Revocations(msgspec.Struct, frozen=True):
    """A compiled set; every question is a handful of lookups.

    Attributes:
        count: entries it was made of.
        tokens: SHA-256 of revoked tokens.
        prefixes: first eight bytes of such.
        assets: asset ids.
        devices: device ids of whatever issuer.
        devices_of: issuer and device id.
        keys: issuer and kid.
        issuers: whole issuers.
        before: tokens issued before this are revoked, seconds since the epoch.
        before_of_issuer: the same by issuer.
        before_of_asset: the same by asset id.
    """

    count: int = 0
    tokens: frozenset[bytes] = frozenset()
    prefixes: frozenset[bytes] = frozenset()
    assets: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    devices_of: frozenset[tuple[str, str]] = frozenset()
    keys: frozenset[tuple[str, str]] = frozenset()
    issuers: frozenset[str] = frozenset()
    before: float = -math.inf
    before_of_issuer: Mapping[str, float] = {}
    before_of_asset: Mapping[str, float] = {}

    def find(self, grant: Grant) -> str | None:  # noqa: PLR0911 - one kind of revocation each
        """What revokes the token of a grant, for a person; None when nothing does."""
        if self.count == 0:
            return None
        terms = grant.terms
        issuer, asset_id, digest = terms.issuer, grant.asset_id, grant.digest
        other = terms.respelled
        if (
            digest in self.tokens
            or (self.prefixes and digest[: _SHORT // 2] in self.prefixes)
            or (other and (other in self.tokens or other[: _SHORT // 2] in self.prefixes))
        ):
            return "the token is revoked"
        if asset_id in self.assets:
            return "the asset is revoked"
        device = grant.device_id
        if device in self.devices or (self.devices_of and (issuer, device) in self.devices_of):
            return "the device is revoked"
        if self.keys and (issuer, terms.kid) in self.keys:
            return "the key that signed it is revoked"
        if issuer in self.issuers:
            return "the issuer is revoked"
        issued = 0.0 if terms.validity is None else grant.expires - terms.validity
        if (
            issued < self.before
            or issued < self.before_of_issuer.get(issuer, issued)
            or issued < self.before_of_asset.get(asset_id, issued)
        ):
            return "tokens issued so early are revoked"
        return None


NONE = Revocations()
"""Nothing is revoked."""


def parse_revocations(text: bytes, name: str) -> Revocations:
    """Compile a file; one line that is wrong refuses it whole, for a revocation must not get lost.

    Args:
        text: the file's bytes.
        name: the file's name, for mistakes.

    Raises:
        ConfigurationErrors: the first mistakes, each with its line; or that it is blank.
    """
    check_not_blank(text, name)
    sets: dict[str, set[Key]] = {}
    ends: dict[Key, float] = {}
    mistakes: list[ConfigurationError] = []
    count = 0
    for number, line in _lines(text):
        try:
            entry = parse_entry(line)
            key = entry_key(entry)
        except ValueError as error:
            mistakes.append(
                ConfigurationError(
                    file=name,
                    line=number,
                    key="the line",
                    found=str(error),
                    expected=f"one JSON object: {_FORMS}",
                )
            )
            if len(mistakes) == _MAX_MISTAKES:
                break
            continue
        count += 1
        if entry.issued_before is not None:
            ends[key] = max(ends.get(key, -math.inf), issued_before(entry))
        else:
            sets.setdefault(key[0], set()).add(key[1:])
    if mistakes:
        raise ConfigurationErrors(mistakes)
    return _compile(count, sets, ends)


def check_not_blank(text: bytes, name: str) -> None:
    """Check that a file says something, if only that nothing is revoked.

    Raises:
        ConfigurationErrors: it says nothing, as one that was emptied by mistake does.
    """
    if not text or text.isspace():
        raise ConfigurationErrors(
            [
                ConfigurationError(
                    file=name,
                    line=None,
                    key="the file",
                    found="nothing in it",
                    expected=f"revocations, or the comment that there are none: {NOTHING.decode().strip()}",
                )
            ]
        )


def parse_entry(line: bytes) -> Entry:
    """One revocation from its JSON, in which no member stands twice: one of the two would get lost.

    Raises:
        ValueError: no JSON object of the right members; the text says what was found.
    """
    try:
        return msgspec.convert(parse_object(line), Entry)
    except ValueError as error:
        raise ValueError(f"what is not of that form ({error})") from None


def entry_key(entry: Entry) -> Key:
    """What the entry names, checked.

    Raises:
        ValueError: a combination that means nothing, or a value of a wrong form.
    """
    given = frozenset(
        field
        for field in ("token", "asset", "device", "kid", "issuer", "issued_before")
        if getattr(entry, field) is not None
    )
    compiled = _KEYS.get(given)
    if compiled is None:
        raise ValueError(f"{' and '.join(sorted(given)) or 'nothing'}, which together mean nothing")
    if entry.issued_before is not None:
        issued_before(entry)
    return compiled(entry)


def issued_before(entry: Entry) -> float:
    """The time of an ``issued_before`` entry, seconds since the epoch.

    Raises:
        ValueError: neither epoch seconds nor RFC 3339 with a zone.
    """
    value = entry.issued_before
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise ValueError("an issued_before that is no RFC 3339 time with its zone")
        return moment.timestamp()
    if value is None or value < 0:
        raise ValueError("an issued_before that is no time")
    return float(value)


def write_entry(entry: Entry) -> bytes:
    """The entry as a line of the file."""
    return msgspec.json.encode(entry) + b"\n"


def add_entry(text: bytes, entry: Entry) -> bytes:
    """The file with one more entry.

    Raises:
        ValueError: the entry means nothing.
    """
    entry_key(entry)
    return text + (b"" if not text or text.endswith(b"\n") else b"\n") + write_entry(entry)


def remove_entry(text: bytes, entry: Entry) -> tuple[bytes, int]:
    """The file without the entries that name the same, and how many those were; it is never blank.

    Raises:
        ValueError: the entry means nothing, or a line of the file does.
    """
    key = entry_key(entry)
    dropped = {number for number, line in _lines(text) if entry_key(parse_entry(line)) == key}
    kept = [
        line for number, line in enumerate(text.splitlines(keepends=True), start=1) if number not in dropped
    ]
    left = b"".join(kept)
    return left if left.strip() else left + NOTHING, len(dropped)


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that mean something, with their numbers."""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith(b"#"):
            yield number, stripped


def _token(entry: Entry) -> Key:
    digits = (entry.token or "").lower()
    if len(digits) not in {_FULL, _SHORT} or not _HEX.issuperset(digits):
        raise ValueError(
            "a token that is not 64 or 16 hex digits of its SHA-256 (never write a token itself)"
        )
    return ("token", digits)


def _asset(entry: Entry) -> Key:
    asset_id = entry.asset or ""
    if not is_asset_id(asset_id):
        raise ValueError("an asset that is not 1 to 64 letters, digits, - and _")
    return ("asset", _in_full(asset_id))


def _device(entry: Entry) -> Key:
    return ("device", _some(entry.device, "device"), entry.issuer or "")


def _kid(entry: Entry) -> Key:
    return ("kid", _some(entry.kid, "kid"), _some(entry.issuer, "issuer"))


def _issuer(entry: Entry) -> Key:
    return ("issuer", _some(entry.issuer, "issuer"))


def _everything(_entry: Entry) -> Key:
    return ("all",)


def _some(value: str | None, name: str) -> str:
    if not value:
        raise ValueError(f"an empty {name}")
    return value


_KEYS: Mapping[frozenset[str], Callable[[Entry], Key]] = {
    frozenset({"token"}): _token,
    frozenset({"asset"}): _asset,
    frozenset({"asset", "issued_before"}): _asset,
    frozenset({"device"}): _device,
    frozenset({"device", "issuer"}): _device,
    frozenset({"kid", "issuer"}): _kid,
    frozenset({"issuer"}): _issuer,
    frozenset({"issuer", "issued_before"}): _issuer,
    frozenset({"issued_before"}): _everything,
}


def _in_full(asset_id: str) -> str:
    """The 18-character form of what can be a record id of 15."""
    if len(asset_id) != _RECORD_ID:
        return asset_id
    try:
        return canonical_asset_id(asset_id, IdForm.SALESFORCE)
    except ValueError:
        return asset_id


def _both_forms(asset_id: str) -> tuple[str, ...]:
    """An id as grants may have it: issuers of opaque ids may well use 15 characters."""
    short = asset_id[:_RECORD_ID]
    return (asset_id, short) if _in_full(short) == asset_id else (asset_id,)


def _compile(count: int, sets: Mapping[str, set[Key]], ends: Mapping[Key, float]) -> Revocations:
    tokens = [bytes.fromhex(digits) for (digits,) in sets.get("token", ())]
    devices = sets.get("device", set())
    return Revocations(
        count=count,
        tokens=frozenset(token for token in tokens if len(token) == _FULL // 2),
        prefixes=frozenset(token for token in tokens if len(token) == _SHORT // 2),
        assets=frozenset(form for (asset_id,) in sets.get("asset", ()) for form in _both_forms(asset_id)),
        devices=frozenset(device for device, issuer in devices if not issuer),
        devices_of=frozenset((issuer, device) for device, issuer in devices if issuer),
        keys=frozenset((issuer, kid) for kid, issuer in sets.get("kid", ())),
        issuers=frozenset(issuer for (issuer,) in sets.get("issuer", ())),
        before=ends.get(("all",), -math.inf),
        before_of_issuer={key[1]: end for key, end in ends.items() if key[0] == "issuer"},
        before_of_asset={
            form: end for key, end in ends.items() if key[0] == "asset" for form in _both_forms(key[1])
        },
    )
