"""One issuer's keys at one moment: immutable, so that a swap is one assignment and a reader never waits."""

from collections.abc import Collection, Mapping

import msgspec

from authplugin.errors import KeySetError
from authplugin.jose.json import parse_object
from authplugin.jose.jwk import LeftOut, admit_set
from authplugin.jose.key import VerifyingKey


class KeySnapshot(msgspec.Struct, frozen=True):
    """What an issuer's key set held when it was last known.

    Attributes:
        keys: fit keys by kid.
        left_out: published keys that are not used, and why.
        fetched: when the issuer last vouched for this set, seconds since the epoch.
        etag: the answer's entity tag, None when it had none.
        body: the set as published, for the last-good file.
    """

    keys: Mapping[str, VerifyingKey]
    left_out: tuple[LeftOut, ...]
    fetched: float
    etag: str | None
    body: bytes


def take_snapshot(
    body: bytes, algorithms: Collection[str], *, fetched: float, etag: str | None = None
) -> KeySnapshot:
    """Judge a published key set.

    Args:
        body: JSON text of a JWK Set.
        algorithms: what the issuer may sign with.
        fetched: when the issuer vouched for it, seconds since the epoch.
        etag: entity tag of the answer.

    Raises:
        KeySetError: no JSON object with one reading, no set, a set with secrets in it, or one
            that leaves no key fit for use: an empty set must not replace a good one.
    """
    try:
        document = parse_object(body)
    except ValueError as error:
        raise KeySetError(f"the key set {error}") from None
    admission = admit_set(document, algorithms)
    if not admission.keys:
        why = "; ".join(f"key {out.position}: {out.detail}" for out in admission.left_out)
        raise KeySetError(f"the set has no usable key ({why or 'it is empty'})")
    return KeySnapshot(admission.keys, admission.left_out, fetched, etag, body)
