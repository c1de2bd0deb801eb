import contextlib
import http.client
import json
import os
import resource
import socket
import stat
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authplugin.admin import (
    MAX_BODY,
    MAX_CONNECTIONS,
    MAX_HEAD,
    AdminError,
    AdminListener,
    Request,
    Secret,
    read_secret,
)
from authplugin.clock import SystemClock
from authplugin.errors import ConfigurationError

SECRET = "correct horse battery"


def echo(request: Request) -> object:
    if request.path == "/refuse":
        raise AdminError(HTTPStatus.CONFLICT, "not like this")
    if request.path == "/fail":
        raise LookupError(SECRET)
    return [request.method, request.path, dict(request.query), request.body.decode()]


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    return tmp_path / "admin"


@pytest.fixture(name="listener")
def make_listener(path: Path) -> Iterator[AdminListener]:
    listener = AdminListener(echo, clock=SystemClock(), secret=None, patience=0.5)
    listener.listen_at_socket(path)
    yield listener
    listener.close()


def say(path: Path, data: bytes) -> bytes:
    """Send bytes, and read until the listener hangs up."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(data)
        received = b""
        while chunk := client.recv(65_536):
            received += chunk
        return received


def answered(reply: bytes) -> tuple[int, Any]:
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.usefixtures("listener")
def test_a_request_is_answered_with_json(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    reply = say(path, b"GET /keys?asset=a%2Fb&asset=c HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"Cache-Control: no-store\r\nConnection: close" in reply
    assert answered(reply) == (200, ["GET", "/keys", {"asset": "a/b"}, ""])
    body = b'{"a":1}'
    reply = say(path, b"POST /revoke HTTP/1.1\r\ncontent-length: 7\r\n\r\n" + body)
    assert answered(reply) == (200, ["POST", "/revoke", {}, body.decode()])


@pytest.mark.usefixtures("listener")
def test_what_is_not_done_says_why_and_a_failure_shows_nothing(path: Path) -> None:
    assert answered(say(path, b"GET /refuse HTTP/1.1\r\n\r\n")) == (409, {"error": "not like this"})
    status, body = answered(say(path, b"GET /fail HTTP/1.1\r\n\r\n"))
    assert (status, SECRET in str(body)) == (500, False)


@pytest.mark.usefixtures("listener")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"PUT / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nname : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\na: 1\r\nA: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * MAX_HEAD, 431),
    ],
)
def test_anything_odd_is_refused(path: Path, sent: bytes, status: int) -> None:
    assert answered(say(path, sent))[0] == status


@pytest.mark.usefixtures("listener")
@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc"])
def test_a_client_that_is_too_slow_is_cut(path: Path, sent: bytes) -> None:
    assert say(path, sent) == b""


@pytest.mark.usefixtures("listener")
def test_a_client_that_drips_is_cut_as_well(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.02)
        client.connect(str(path))
        deadline = time.monotonic() + 10
        received: bytes | None = None
        while received is None:
            assert time.monotonic() < deadline
            try:
                client.sendall(b"G")
                received = client.recv(1)
            except TimeoutError:
                continue
            except OSError:  # it hung up between the two
                received = b""
    assert received == b""


@pytest.mark.usefixtures("listener")
def test_few_are_served_at_once_and_who_holds_the_road_up_is_cut(path: Path) -> None:
    idle = []
    try:
        for _ in range(MAX_CONNECTIONS):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"G")
            idle.append(client)
        deadline = time.monotonic() + 10
        while not _served(path):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert all(client.recv(1) == b"" for client in idle)
    finally:
        for client in idle:
            client.close()


def _served(path: Path) -> bool:
    try:
        return say(path, b"GET /x HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
    except OSError:  # one of too many
        return False


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_listener_fail(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    listener = AdminListener(echo, clock=SystemClock(), secret=None, patience=5.0)
    with ours, theirs:
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        thread = threading.Thread(target=listener.serve, args=(theirs,))
        thread.start()
        thread.join(10)
        ours.settimeout(10)
        reply = b""
        while chunk := ours.recv(65_536):
            reply += chunk
    assert reply == b"" or reply.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))


def test_it_waits_for_a_free_descriptor_instead_of_spinning(path: Path, listener: AdminListener) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket(socket.AF_UNIX)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 64, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while len(taken) < 65:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        assert len(taken) < 65
        client.connect(str(path))
        began, used = time.monotonic(), time.process_time()
        while time.monotonic() < began + 0.5:
            time.sleep(0.05)
        assert time.process_time() - used < (time.monotonic() - began) / 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)
        client.close()
    assert answered(say(path, b"GET / HTTP/1.1\r\n\r\n"))[0] == HTTPStatus.OK
    listener.close()


def test_a_port_answers_only_who_knows_the_secret() -> None:
    listener = AdminListener(echo, clock=SystemClock(), secret=Secret(SECRET))
    port = listener.listen_at_port(0)
    try:
        for shown, status in (
            (None, 401),
            ("Bearer wrong", 401),
            (f"Basic {SECRET}", 401),
            (f"Bearer {SECRET}x", 401),
            (f"Bearer {SECRET}", 200),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/keys", headers={} if shown is None else {"Authorization": shown})
            assert connection.getresponse().status == status, shown
            connection.close()
    finally:
        listener.close()


def test_a_port_without_a_secret_is_not_opened() -> None:
    listener = AdminListener(echo, clock=SystemClock(), secret=None)
    with pytest.raises(ValueError, match="needs a secret"):
        listener.listen_at_port(0)


def test_a_socket_left_behind_is_replaced_and_one_in_use_is_not(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = AdminListener(echo, clock=SystemClock(), secret=None)
    listener.listen_at_socket(path)
    try:
        second = AdminListener(echo, clock=SystemClock(), secret=None)
        with pytest.raises(OSError, match="another gate listens there"):
            second.listen_at_socket(path)
        assert _served(path)
    finally:
        listener.close()
    assert not path.exists()
    listener.close()


def test_a_file_in_the_place_of_the_socket_stays(path: Path) -> None:
    path.write_text("precious")
    listener = AdminListener(echo, clock=SystemClock(), secret=None)
    with pytest.raises(OSError, match="in use"):
        listener.listen_at_socket(path)
    assert path.read_text() == "precious"


def test_a_secret_shows_itself_to_nobody(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    secret = read_secret(file)
    assert secret.matches(SECRET.encode())
    assert not secret.matches(SECRET.encode() + b"\n")
    assert SECRET not in f"{secret!r} {secret}"


@pytest.mark.parametrize(
    ("content", "mode", "found"),
    [
        (None, 0, "No such file"),
        (b"short", 0o600, "a short text"),
        (SECRET.encode(), 0o640, "mode 0640"),
        (b"\xff" * 20, 0o600, "no UTF-8"),
        (SECRET.encode() + b"\nanother", 0o600, "more than one line"),
        (SECRET.encode() + b"\x00", 0o600, "more than one line"),
        ("\u00fc".encode() * 20, 0o600, "more than one line"),
    ],
)
def test_a_secret_that_is_none_is_refused(
    tmp_path: Path, content: bytes | None, mode: int, found: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"admin.secret_file: found {found}") as raised:
        read_secret(file)
    assert SECRET not in str(raised.value)
