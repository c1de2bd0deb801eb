"""The form of an auth event: CloudEvents 1.0, structured JSON (``deploy/contracts``), many a second.

A broker's only thread writes these, one for each session that begins or ends: typed rows and a clock
that is spelt once a second keep one at a microsecond or two.
"""

import time

import msgspec

from authplugin.model import Grant

SOURCE = "/assetgate/authplugin"


class Verified(msgspec.Struct, gc=False, rename="camel"):
    """``data`` of an event about a verified identity."""

    reason: str | None
    asset_id: str
    device_id: str
    issuer: str
    kid: str
    key_thumbprint: str | None
    possession: str | None
    client_id: str | None
    token_digest: str
    expires: float


class Stranger(msgspec.Struct, gc=False, omit_defaults=True):
    """``data`` of an event about a client that proved nothing, or about an issuer's keys."""

    reason: str | None
    claimed_client_id: str | None = msgspec.field(default=None, name="claimed_clientId")
    issuer: str | None = None


class CloudEvent(msgspec.Struct, gc=False):
    """The envelope; ``count`` is an extension attribute."""

    id: str
    type: str
    time: str
    data: Verified | Stranger
    subject: str | msgspec.UnsetType = msgspec.UNSET
    count: int | msgspec.UnsetType = msgspec.UNSET
    specversion: str = "1.0"
    source: str = SOURCE
    datacontenttype: str = "application/json"


class Spelling:
    """Times as RFC 3339 in UTC with milliseconds; the second is spelt once."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def spell(self, at: float) -> str:
        """A time.

        Args:
            at: seconds since the epoch.
        """
        second = int(at)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((at - second) * 1000):03d}+00:00"


def describe(grant: Grant, *, reason: str | None, possession: str | None, client_id: str | None) -> Verified:
    """``data`` about the identity of a grant."""
    terms = grant.terms
    return Verified(
        reason,
        grant.asset_id,
        grant.device_id,
        terms.issuer,
        terms.kid,
        grant.key_thumbprint,
        possession,
        client_id,
        grant.token_digest,
        grant.expires,
    )
