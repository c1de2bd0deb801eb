"""A key endpoint on loopback, over real HTTP, that can do everything a bad one does."""

import http.server
import json
import sys
import threading
from collections.abc import Mapping
from enum import Enum, auto
from types import TracebackType
from typing import Self

_DRIP_SECONDS = 0.05
_OVERSIZE_BYTES = 1 << 20


class Behaviour(Enum):
    """What the server does with the next requests."""

    SERVE = auto()
    """Answer with the key set."""
    HANG = auto()
    """Read the request and never answer."""
    DRIP = auto()
    """Answer rightly, one byte at a time, each in good time."""
    DRIP_HEADER = auto()
    """Send header lines one byte at a time, without end."""
    OVERSIZE = auto()
    """Answer with a megabyte."""
    ENDLESS_HEADER = auto()
    """Send header lines as fast as they are read, without end."""
    REDIRECT = auto()
    """Answer 302 to `KeyServer.elsewhere`."""
    ERROR = auto()
    """Answer 500."""
    TRUNCATE = auto()
    """Promise more bytes than are sent."""
    NOT_HTTP = auto()
    """Answer with something that is not HTTP."""
    COMPRESSED = auto()
    """Say that the answer is compressed."""
    HTML = auto()
    """Answer 200 with a page."""
    UNCHANGED = auto()
    """Answer 304 whatever was asked."""


class KeyServer:
    """Serves a JWK Set at ``/id/keys`` and, if set, other documents at other paths.

    A context manager: it listens between enter and exit, on a free port of 127.0.0.1.

    Attributes:
        body: the key set's bytes; assign to publish another.
        behaviour: what happens with the next requests.
        etag: entity tag of the body, None to send none.
        cache_control: value of the header, None to send none.
        content_type: media type of the body.
        elsewhere: where a redirect points.
        paths: documents at other paths, JSON.
        requests: header names (lower case) and values of each request so far.
    """

    def __init__(self, jwks: Mapping[str, object] | bytes, *, behaviour: Behaviour = Behaviour.SERVE) -> None:
        """Prepare to serve ``jwks``; nothing listens yet."""
        self.body = b""
        self.publish(jwks)
        self.behaviour = behaviour
        self.etag: str | None = None
        self.cache_control: str | None = None
        self.content_type = "application/json"
        self.elsewhere = "http://127.0.0.1:9/id/keys"
        self.paths: dict[str, bytes] = {}
        self.requests: list[dict[str, str]] = []
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self), bind_and_activate=False)
        self._server.daemon_threads = False  # closing waits for every handler
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def publish(self, jwks: Mapping[str, object] | bytes) -> None:
        """Serve another set: a JWK Set, or bytes as they are."""
        self.body = bytes(jwks) if isinstance(jwks, bytes) else json.dumps(jwks).encode()

    @property
    def issuer(self) -> str:
        """Base URL, fit as ``iss``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Where the key set is."""
        return f"{self.issuer}/id/keys"

    def wait_released(self, seconds: float) -> bool:
        """Wait until the server is being stopped; whether it is. For handlers that hang."""
        return self._released.wait(seconds)

    def __enter__(self) -> Self:
        self._server.server_bind()
        self._server.server_activate()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    """Says nothing about clients that hang up, which is what a bad answer is for."""

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # only printed


def _handler(server: KeyServer) -> type[http.server.BaseHTTPRequestHandler]:
    """A request handler that knows its `KeyServer`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10.0  # a client that stops reading or writing does not hold the server up
        wbufsize = -1  # one write an answer: two would wait for each other (Nagle, delayed ACK)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Say nothing: tests read `KeyServer.requests`."""

        def do_GET(self) -> None:
            self.close_connection = True
            server.requests.append({name.lower(): value for name, value in self.headers.items()})
            try:
                _ANSWERS.get(server.behaviour, _serve)(self, server)
            except OSError:
                return  # the client gave up, as it should

    return Handler


def _head(handler: http.server.BaseHTTPRequestHandler, status: int, headers: Mapping[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Connection", "close")
    handler.end_headers()


def _serve(handler: http.server.BaseHTTPRequestHandler, server: KeyServer) -> None:
    headers = {}
    if server.etag is not None:
        headers["ETag"] = server.etag
    if server.cache_control is not None:
        headers["Cache-Control"] = server.cache_control
    body = server.body if handler.path == "/id/keys" else server.paths.get(handler.path)
    if body is None:
        _head(handler, 404, {"Content-Length": "0"})
    elif server.etag is not None and handler.headers.get("If-None-Match") == server.etag:
        _head(handler, 304, headers)
    else:
        headers |= {"Content-Type": server.content_type, "Content-Length": str(len(body))}
        _head(handler, 200, headers)
        handler.wfile.write(body)


def _hang(_: http.server.BaseHTTPRequestHandler, server: KeyServer) -> None:
    while not server.wait_released(1.0):
        pass


def _drip(handler: http.server.BaseHTTPRequestHandler, server: KeyServer) -> None:
    _head(handler, 200, {"Content-Type": server.content_type, "Content-Length": str(len(server.body))})
    for start in range(len(server.body)):
        handler.wfile.write(server.body[start : start + 1])
        handler.wfile.flush()
        if server.wait_released(_DRIP_SECONDS):
            return


def _drip_header(handler: http.server.BaseHTTPRequestHandler, server: KeyServer) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not server.wait_released(_DRIP_SECONDS):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def _oversize(handler: http.server.BaseHTTPRequestHandler, server: KeyServer) -> None:
    _head(handler, 200, {"Content-Type": server.content_type, "Content-Length": str(_OVERSIZE_BYTES)})
    handler.wfile.write(b" " * _OVERSIZE_BYTES)


def _endless_header(handler: http.server.BaseHTTPRequestHandler, server: KeyServer) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not server.wait_released(0):
        handler.wfile.write(b"X-More: " + b"x" * 4000 + b"\r\n")


def _redirect(handler: http.server.BaseHTTPRequestHandler, server: KeyServer) -> None:
    _head(handler, 302, {"Location": server.elsewhere, "Content-Length": "0"})


def _error(handler: http.server.BaseHTTPRequestHandler, _: KeyServer) -> None:
    _head(handler, 500, {"Content-Length": "0"})


def _truncate(handler: http.server.BaseHTTPRequestHandler, server: KeyServer) -> None:
    _head(handler, 200, {"Content-Type": server.content_type, "Content-Length": str(len(server.body) + 10)})
    handler.wfile.write(server.body)


def _not_http(handler: http.server.BaseHTTPRequestHandler, _: KeyServer) -> None:
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")


def _compressed(handler: http.server.BaseHTTPRequestHandler, server: KeyServer) -> None:
    headers = {"Content-Type": server.content_type, "Content-Encoding": "gzip", "Content-Length": "2"}
    _head(handler, 200, headers)
    handler.wfile.write(b"\x1f\x8b")


def _html(handler: http.server.BaseHTTPRequestHandler, _: KeyServer) -> None:
    _head(handler, 200, {"Content-Type": "text/html", "Content-Length": "15"})
    handler.wfile.write(b"<p>Sign in.</p>")


def _unchanged(handler: http.server.BaseHTTPRequestHandler, _: KeyServer) -> None:
    _head(handler, 304, {})


_ANSWERS = {
    Behaviour.HANG: _hang,
    Behaviour.DRIP: _drip,
    Behaviour.DRIP_HEADER: _drip_header,
    Behaviour.OVERSIZE: _oversize,
    Behaviour.ENDLESS_HEADER: _endless_header,
    Behaviour.REDIRECT: _redirect,
    Behaviour.ERROR: _error,
    Behaviour.TRUNCATE: _truncate,
    Behaviour.NOT_HTTP: _not_http,
    Behaviour.COMPRESSED: _compressed,
    Behaviour.HTML: _html,
    Behaviour.UNCHANGED: _unchanged,
}
