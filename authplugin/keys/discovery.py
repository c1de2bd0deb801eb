"""Key sets by OpenID Connect Discovery 1.0 (§4): the issuer's own document says where its keys are.

A document from the network decides whom the gate asks next, so it decides little: it must name the
very issuer, and an address of the same scheme and host, or of a host that the settings list. Else
whoever can write the document could have the gate ask machines that only the gate can reach.
"""

import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from authplugin.errors import KeySetError
from authplugin.jose.json import parse_object
from authplugin.keys.fetch import HttpSource
from authplugin.keys.source import Answer, KeySource

DOCUMENT_SECONDS = 3600.0
"""How long a document is believed that does not say (``Cache-Control``)."""

DOCUMENT_SECONDS_LEAST = 300.0
DOCUMENT_SECONDS_MOST = 86400.0

_MAX_URI = 2048


class DiscoverySource:
    """An issuer's key endpoint, found through its discovery document."""

    def __init__(
        self,
        url: str,
        issuer: str,
        *,
        hosts: Collection[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
        source: Callable[[str], KeySource] = HttpSource,
    ) -> None:
        """Check the address; nothing is sent yet.

        Args:
            url: the document's, by the rules of `HttpSource`.
            issuer: what the document's ``issuer`` must be, exactly.
            hosts: other hosts that its ``jwks_uri`` may be of.
            monotonic: what the document's age is measured by.
            source: what asks one address.

        Raises:
            KeySetError: the address may not be asked.
        """
        self._document = source(url)
        self._issuer = issuer
        parts = urlsplit(url)
        self._scheme = parts.scheme
        self._hosts = frozenset({parts.hostname, *(host.lower() for host in hosts)})
        self._monotonic = monotonic
        self._source = source
        self._uri: str | None = None
        self._keys: KeySource | None = None
        self._until = 0.0
        # Whose set is held: an entity tag says nothing to another address.
        self._answered: str | None = None

    def fetch(self, etag: str | None) -> Answer:
        """Ask for the set; see `KeySource.fetch`. The document is asked for first when it is old."""
        keys = self._find()
        try:
            answer = keys.fetch(etag if self._answered == self._uri else None)
        except KeySetError:
            self._until = 0.0  # the keys may have moved
            raise
        self._answered = self._uri
        return answer

    def _find(self) -> KeySource:
        """Where the keys are: by the document, or by the one before as long as it cannot be had."""
        if self._keys is not None and self._monotonic() < self._until:
            return self._keys
        try:
            answer = self._document.fetch(None)
            uri = self._read(answer.body or b"")
            keys = self._keys if self._keys is not None and uri == self._uri else self._source(uri)
        except KeySetError as error:
            if self._keys is None:
                raise KeySetError(f"discovery: {error}") from None
            return self._keys
        age = DOCUMENT_SECONDS if answer.max_age is None else answer.max_age
        self._until = self._monotonic() + min(max(age, DOCUMENT_SECONDS_LEAST), DOCUMENT_SECONDS_MOST)
        self._uri, self._keys = uri, keys
        return keys

    def _read(self, body: bytes) -> str:
        try:
            document = parse_object(body)
        except ValueError as error:
            raise KeySetError(f"the document {error}") from None
        if document.get("issuer") != self._issuer:
            raise KeySetError("the document is of another issuer")
        uri = document.get("jwks_uri")
        if not isinstance(uri, str) or not 0 < len(uri) <= _MAX_URI:
            raise KeySetError("the document has no jwks_uri")
        try:
            parts = urlsplit(uri)
            host = parts.hostname
        except ValueError:
            raise KeySetError("the document's jwks_uri is not a URL") from None
        if parts.scheme != self._scheme or host not in self._hosts:
            raise KeySetError(
                "the document's jwks_uri is of another scheme or host; jwks_hosts can allow the latter"
            )
        return uri
