"""The status page over HTTP: one HTML file with its script and style, and two JSON documents.

For the browser of this machine only. A page elsewhere that points a name of its own at 127.0.0.1 (DNS
rebinding) is refused by its ``Host``; nothing here changes anything, so only GET and HEAD are answered.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import uvicorn

from deploy.demo.page.board import Board

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HERE = Path(__file__).parent
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/chart.js": ("chart.js", "text/javascript; charset=utf-8"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("content-security-policy", _POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
)
_TEXT = "text/plain; charset=utf-8"
#: Seconds that open connections have to finish when the page ends.
_GRACE_SECONDS = 1


class Page:
    """The ASGI application.

    Args:
        board: what is shown.
        hosts: ``Host`` headers that are answered, e.g. ``{"127.0.0.1:8080"}``.
    """

    def __init__(self, board: Board, *, hosts: frozenset[str]) -> None:
        self._board = board
        self._hosts = hosts
        self._files = {
            path: ((_HERE / name).read_bytes(), media_type) for path, (name, media_type) in _FILES.items()
        }

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request; its body, if it has one, is never read."""
        if scope["type"] != "http":
            return
        status, media_type, body = self._answer(scope)
        headers = [
            ("content-type", media_type),
            ("content-length", str(len(body))),
            *_HEADERS,
            *([("allow", "GET, HEAD")] if status == HTTPStatus.METHOD_NOT_ALLOWED else []),
        ]
        await send(
            {
                "type": "http.response.start",
                "status": int(status),
                "headers": [(name.encode(), value.encode()) for name, value in headers],
            }
        )
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, scope: Scope) -> tuple[HTTPStatus, str, bytes]:
        hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return HTTPStatus.MISDIRECTED_REQUEST, _TEXT, b"This page answers to its own address only.\n"
        if scope["method"] not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"This page only shows: GET or HEAD.\n"
        return self._find(scope["path"], scope["query_string"])

    def _find(self, path: str, query_string: bytes) -> tuple[HTTPStatus, str, bytes]:
        if path == "/api/state":
            return HTTPStatus.OK, "application/json", msgspec.json.encode(self._board.state())
        if path == "/api/series":
            try:
                query = parse_qs(query_string.decode("latin-1"), max_num_fields=8)
                (asset,), (metric,) = query["asset"], query["metric"]
            except (KeyError, ValueError):
                return (
                    HTTPStatus.BAD_REQUEST,
                    _TEXT,
                    b"Ask for one asset and one metric: ?asset=...&metric=...\n",
                )
            return HTTPStatus.OK, "application/json", msgspec.json.encode(self._board.series(asset, metric))
        if path in self._files:
            body, media_type = self._files[path]
            return HTTPStatus.OK, media_type, body
        return HTTPStatus.NOT_FOUND, _TEXT, b"There is no such page.\n"


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the story owns Ctrl-C."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serve(board: Board, *, port: int = 0) -> AsyncIterator[str]:
    """Serve the page on 127.0.0.1 while the context lasts; gives its URL. Port 0: any free one."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        number = listener.getsockname()[1]
        page = Page(board, hosts=frozenset({f"127.0.0.1:{number}", f"localhost:{number}"}))
        server = _Server(
            uvicorn.Config(
                page,
                lifespan="off",
                access_log=False,
                log_level="error",
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="status page")
        try:
            yield f"http://127.0.0.1:{number}/"
        finally:
            server.should_exit = True
            await serving
