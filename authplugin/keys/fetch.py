"""One hardened GET of a key set: https, one deadline for all of it, a size cap, no redirects.

An ordinary client's timeout is per read, so a server that drips holds it for minutes; it follows
redirects to hosts nobody configured, honours proxies from the environment and reads bodies of any
size. Here every read is given what is left of one deadline and of one byte budget.
"""

import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from authplugin.errors import KeySetError
from authplugin.keys.source import MAX_BYTES, Answer

CONNECT_SECONDS = 2.0
DEADLINE_SECONDS = 5.0

_MAX_HEADER_BYTES = 32768
_MAX_ETAG = 256
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_JSON_TYPE = re.compile(r"application/([a-z0-9.-]+\+)?json", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})\b", re.IGNORECASE)
_NO_STORE = re.compile(r"(?:^|[,\s])no-(?:store|cache)\b", re.IGNORECASE)


class HttpSource:
    """An issuer's key endpoint."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Check the address; nothing is sent yet.

        Args:
            url: ``https://…``, or ``http://`` to a loopback address.
            tls: trust for https; None for the system's, TLS 1.2 or newer.
            connect_seconds: for one address of the host to accept.
            deadline_seconds: for the whole fetch once the name is resolved.
            monotonic: what the deadline is measured by.

        Raises:
            KeySetError: the address may not be asked; the text says why.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise KeySetError("the key set's address is not a URL") from None
        host = parts.hostname
        if host is None or parts.scheme not in {"https", "http"}:
            raise KeySetError("the key set's address is not an https URL with a host")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise KeySetError("the key set's address may hold no user, password or fragment")
        self._loopback_only = parts.scheme == "http"
        if self._loopback_only and not (host == "localhost" or _is_loopback(host)):
            raise KeySetError(f"the key set's address is http to {host}; only https leaves this machine")
        self._tls = None if self._loopback_only else tls or _system_trust()
        self._host = host
        self._port = port if port is not None else (80 if self._loopback_only else 443)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connect_seconds = connect_seconds
        self._deadline_seconds = deadline_seconds
        self._monotonic = monotonic

    def fetch(self, etag: str | None) -> Answer:
        """Ask once; see `KeySource.fetch`."""
        try:
            return self._exchange(etag)
        except TimeoutError:
            raise KeySetError(f"{self._host}: no whole answer within {self._deadline_seconds:g} s") from None
        except ssl.SSLError as error:
            raise KeySetError(f"{self._host}: TLS failed ({error.reason or 'handshake'})") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise KeySetError(f"{self._host}: {_in_words(error)}") from None

    def _exchange(self, etag: str | None) -> Answer:
        addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        deadline = self._monotonic() + self._deadline_seconds
        with self._connect(addresses, deadline) as sock:
            connection = http.client.HTTPConnection(self._host, self._port)
            connection.sock = _BoundedSocket(sock, deadline, self._monotonic)
            headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
            if etag is not None:
                headers["If-None-Match"] = etag
            connection.request("GET", self._target, headers={**headers, "Connection": "close"})
            return self._read(connection.getresponse(), etag)

    def _connect(self, addresses: "Sequence[_AddressInfo]", deadline: float) -> socket.socket:
        refused: OSError = OSError("has no address")
        for family, kind, protocol, _, address in addresses:
            if self._loopback_only and not _is_loopback(str(address[0])):
                raise KeySetError(
                    f"{self._host} resolves to an address off this machine; only https may leave"
                )
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(min(self._connect_seconds, _left(deadline, self._monotonic)))
                sock.connect(address)
                if self._tls is None:
                    return sock
                sock.settimeout(_left(deadline, self._monotonic))
                return self._tls.wrap_socket(sock, server_hostname=self._host)
            except OSError as error:
                sock.close()
                refused = error
        raise refused

    def _read(self, response: http.client.HTTPResponse, etag: str | None) -> Answer:
        cache_control = response.getheader("Cache-Control", "")
        max_age = _max_age(cache_control)
        if response.status == http.client.NOT_MODIFIED and etag is not None:
            return Answer(None, etag, max_age)
        if response.status in _REDIRECTS:
            raise KeySetError(f"{self._host}: answered {response.status}; redirects are not followed")
        if response.status != http.client.OK:
            raise KeySetError(f"{self._host}: answered {response.status}, expected 200")
        kind = response.getheader("Content-Type", "").partition(";")[0].strip()
        if not _JSON_TYPE.fullmatch(kind):
            raise KeySetError(f"{self._host}: answered with another type than JSON")
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            raise KeySetError(f"{self._host}: answered compressed, which was not asked for")
        body = response.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise KeySetError(f"{self._host}: answered with more than {MAX_BYTES} bytes")
        if response.length:
            raise KeySetError(f"{self._host}: the answer ended early")
        name = response.getheader("ETag")
        return Answer(body, name if name and len(name) <= _MAX_ETAG and name.isascii() else None, max_age)


_AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


class _BoundedSocket:
    """A connected socket whose reads and writes share one deadline and one byte budget."""

    def __init__(self, sock: socket.socket, deadline: float, monotonic: Callable[[], float]) -> None:
        self._sock = sock
        self._deadline = deadline
        self._monotonic = monotonic

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._deadline, self._monotonic))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._sock, self._deadline, self._monotonic))

    def close(self) -> None:
        """The caller closes the socket itself."""


class _BoundedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float, monotonic: Callable[[], float]) -> None:
        self._sock = sock
        self._deadline = deadline
        self._monotonic = monotonic
        self._budget = MAX_BYTES + _MAX_HEADER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer: 3.11 has no type for it
        self._sock.settimeout(_left(self._deadline, self._monotonic))
        count = self._sock.recv_into(buffer)
        self._budget -= count
        if self._budget < 0:
            raise KeySetError(f"the answer has more than {MAX_BYTES} bytes and {_MAX_HEADER_BYTES} of header")
        return count


def _left(deadline: float, monotonic: Callable[[], float]) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _system_trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _max_age(cache_control: str) -> float | None:
    if _NO_STORE.search(cache_control):
        return 0.0
    found = _MAX_AGE.search(cache_control)
    return float(found.group(1)) if found else None


def _in_words(error: Exception) -> str:
    """What went wrong, never what the server sent."""
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected):
        return "the answer ended early"
    return f"the answer is not HTTP ({type(error).__name__})"
