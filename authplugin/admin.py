"""The administrator's road into a running gate: small strict HTTP on a socket of its own.

A Unix socket of mode 0600, or a port on 127.0.0.1 with a secret; never the metrics' port. Each
connection is one request of bounded size that must arrive within seconds, and there are few at once:
whoever holds the road up holds up nobody else. What changes the gate is done on the door's thread.
"""

import contextlib
import errno
import hmac
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec

from authplugin.clock import Clock
from authplugin.errors import ConfigurationError

MAX_HEAD = 8_192
MAX_BODY = 65_536
MAX_CONNECTIONS = 8
PATIENCE_SECONDS = 5.0
"""How long a request may take to arrive, and its answer to be taken."""

PAUSE_SECONDS = 0.1
"""How long to wait after a connection that could not be taken."""

SECRET_LEAST = 16

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7): ``sun_path``, and a NUL behind it)."""

_REQUEST_LINE = 3  # method, target, version

_LOG = logging.getLogger(__name__)


class Secret:
    """A text that shows itself to nobody: it is only compared."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text.encode()

    def matches(self, shown: bytes) -> bool:
        """Whether that is the secret; takes as long either way."""
        return hmac.compare_digest(self._text, shown)

    @property
    def authorization(self) -> str:
        """The header's value that shows it (RFC 6750 §2.1)."""
        return f"Bearer {self._text.decode()}"

    def __repr__(self) -> str:
        return "Secret('***')"


def read_secret(path: Path) -> Secret:
    """The secret in a file, without the white space around it.

    Raises:
        ConfigurationError: it cannot be read, others may read it, it is short, or no header can show it.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else "no UTF-8"
    else:
        if mode & 0o077:
            found = f"mode {mode & 0o777:04o}"
        elif len(text) < SECRET_LEAST:
            found = "a short text"
        elif not (text.isascii() and text.isprintable()):
            found = "more than one line, or characters beyond ASCII"
        else:
            return Secret(text)
    expected = f"a readable file of mode 0600 with one line of at least {SECRET_LEAST} ASCII characters"
    raise ConfigurationError(
        file=str(path), line=None, key="admin.secret_file", found=found, expected=expected
    )


def check_socket(path: Path) -> None:
    """Check that a socket can be made at a path, as far as the path tells.

    Raises:
        ConfigurationError: it is too long, something else is there, or its folder is not.
    """
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        found = f"a path of {length} bytes"
    elif path.exists() and not path.is_socket():
        found = "what is no socket"
    # A service's folder below /run is made when it starts.
    elif not path.parent.is_dir() and not path.is_relative_to("/run"):
        found = "no such folder"
    else:
        return
    raise ConfigurationError(
        file=str(path),
        line=None,
        key="admin.socket",
        found=found,
        expected=f"a path of at most {MAX_SOCKET_PATH} bytes for a socket, in a folder that is there",
    )


class Request(msgspec.Struct, frozen=True):
    """One question.

    Attributes:
        method: ``GET`` or ``POST``.
        path: without the query.
        query: its first value of each name.
        body: empty for ``GET``.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes


class AdminError(Exception):
    """Raised when a request is not done; the text says what to change."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


Answer = Callable[[Request], object]
"""Answers a request with what JSON can say, or raises `AdminError`; called on many threads."""


class AdminListener:
    """Listens, from threads of its own.

    Args:
        answer: answers requests.
        clock: measures how long they take to arrive.
        secret: what requests must show as ``Authorization: Bearer``, None where the socket's mode
            already keeps others out.
        patience: seconds for each.
    """

    def __init__(
        self, answer: Answer, *, clock: Clock, secret: Secret | None, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._answer = answer
        self._monotonic = clock.monotonic
        self._secret = secret
        self._patience = patience
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def listen_at_socket(self, path: Path) -> None:
        """Listen at a Unix socket, and take the place of one that a crash left behind.

        Raises:
            OSError: it cannot be made there, or another gate listens.
        """
        listener = socket.socket(socket.AF_UNIX)
        try:
            _clear(path)
            listener.bind(str(path))
            path.chmod(0o600)  # nobody can connect before listen()
        except OSError:
            listener.close()
            raise
        self._path = path
        self._start(listener)

    def listen_at_port(self, port: int) -> int:
        """Listen on 127.0.0.1, and return the port.

        Raises:
            OSError: the port is taken.
            ValueError: there is no secret.
        """
        if self._secret is None:
            raise ValueError("a port is open to everyone on the machine: it needs a secret")
        listener = socket.create_server(("127.0.0.1", port))
        self._start(listener)
        return int(listener.getsockname()[1])

    def close(self) -> None:
        """Stop listening."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._closed.set()
        with contextlib.suppress(OSError):  # it wakes the thread up
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        if self._thread is not None:
            self._thread.join()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _start(self, listener: socket.socket) -> None:
        listener.listen(MAX_CONNECTIONS)
        self._listener = listener
        self._thread = threading.Thread(target=self._run, args=(listener,), name="admin", daemon=True)
        self._thread.start()

    def _run(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                connection, _ = listener.accept()
            except OSError:
                # Closed by `close`, or a client that gave up; or the process is out of descriptors,
                # and asking for one all the time would take the broker's own time.
                self._closed.wait(PAUSE_SECONDS)
                continue
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._run_one, args=(connection,), name="admin", daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        """Answer one connection and close it."""
        with connection, contextlib.suppress(OSError):  # too slow, or gone
            status, body = self._reply(connection)
            connection.settimeout(self._patience)
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(head.encode() + body)

    def _run_one(self, connection: socket.socket) -> None:
        try:
            self.serve(connection)
        finally:
            self._free.release()

    def _reply(self, connection: socket.socket) -> tuple[HTTPStatus, bytes]:
        try:
            request = self._read(connection)
            return HTTPStatus.OK, msgspec.json.encode(self._answer(request)) + b"\n"
        except AdminError as error:
            return error.status, msgspec.json.encode({"error": str(error)}) + b"\n"
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - a thread of the broker's: it must not spill a trace
            _LOG.warning("admin: a request failed: %s", type(error).__name__)
            return HTTPStatus.INTERNAL_SERVER_ERROR, b'{"error": "the gate failed to answer"}\n'

    def _read(self, connection: socket.socket) -> Request:
        deadline = self._monotonic() + self._patience
        received = b""
        while b"\r\n\r\n" not in received:
            if len(received) > MAX_HEAD:
                raise AdminError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's head is too long")
            received += self._receive(connection, deadline)
        head, _, body = received.partition(b"\r\n\r\n")
        method, target, headers = _parse_head(head)
        scheme, _, shown = headers.get("authorization", b"").partition(b" ")
        if self._secret is not None and (scheme != b"Bearer" or not self._secret.matches(shown)):
            raise AdminError(HTTPStatus.UNAUTHORIZED, "show the secret as Authorization: Bearer")
        length = headers.get("content-length", b"0")
        if "transfer-encoding" in headers or not length.isdigit() or int(length) > MAX_BODY:
            raise AdminError(HTTPStatus.BAD_REQUEST, f"send a Content-Length of at most {MAX_BODY}")
        while len(body) < int(length):
            body += self._receive(connection, deadline)
        path, _, query = target.partition("?")
        return Request(method, path, dict(reversed(parse_qsl(query))), body[: int(length)])

    def _receive(self, connection: socket.socket, deadline: float) -> bytes:
        left = deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(MAX_HEAD)
        if not chunk:
            raise ConnectionResetError
        return chunk


def _parse_head(head: bytes) -> tuple[str, str, dict[str, bytes]]:
    """Method, target and headers (RFC 9112 §2.1), nothing lenient.

    Raises:
        AdminError: anything else than that.
    """
    line, *fields = head.split(b"\r\n")
    parts = line.split(b" ")
    if (
        len(parts) != _REQUEST_LINE
        or parts[0] not in (b"GET", b"POST")
        or parts[2] != b"HTTP/1.1"
        or not line.isascii()
    ):
        raise AdminError(HTTPStatus.BAD_REQUEST, "GET or POST in HTTP/1.1")
    headers: dict[str, bytes] = {}
    for field in fields:
        name, colon, value = field.partition(b":")
        key = name.decode("latin-1").lower()
        if not colon or not name or name != name.strip() or key in headers:
            raise AdminError(HTTPStatus.BAD_REQUEST, "one header a line, each once")
        headers[key] = value.strip()
    return parts[0].decode(), parts[1].decode(), headers


def _clear(path: Path) -> None:
    """Take away a socket nobody listens at.

    Raises:
        OSError: somebody does, or it is no socket.
    """
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another gate listens there", str(path))
