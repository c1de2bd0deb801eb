"""One GET of a key set from a real server on loopback: what is accepted, and what every bad server costs."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from authplugin.errors import KeySetError
from authplugin.keys.fetch import HttpSource
from authplugin.keys.source import MAX_BYTES
from authplugin.testing import Behaviour, KeyServer
from tests.support.certificates import certificate
from tests.support.mints import mint


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer(mint().jwks()) as running:
        yield running


def test_set_is_fetched_with_its_name_and_age(server: KeyServer) -> None:
    server.etag, server.cache_control = '"v1"', "public, max-age=600"
    answer = HttpSource(server.url).fetch(None)
    assert (answer.body, answer.etag, answer.max_age) == (server.body, '"v1"', 600.0)
    assert "if-none-match" not in server.requests[0]
    assert server.requests[0]["accept-encoding"] == "identity"


def test_unchanged_set_is_not_sent_again(server: KeyServer) -> None:
    server.etag = '"v1"'
    answer = HttpSource(server.url).fetch('"v1"')
    assert (answer.body, answer.etag) == (None, '"v1"')
    assert server.requests[0]["if-none-match"] == '"v1"'


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("max-age=60", 60.0),
        ('private,Max-Age="61"', 61.0),
        ("no-store", 0.0),
        ("max-age=60, no-cache", 0.0),
        ("s-maxage=60", None),
        ("max-age=-1", None),
        ("max-age=x", None),
        ("", None),
    ],
)
def test_cache_control_is_read(server: KeyServer, header: str | None, seconds: float | None) -> None:
    server.cache_control = header
    assert HttpSource(server.url).fetch(None).max_age == seconds


@pytest.mark.parametrize(
    "kind", ["application/json; charset=UTF-8", "application/jwk-set+json", "APPLICATION/JSON"]
)
def test_json_types_are_accepted(server: KeyServer, kind: str) -> None:
    server.content_type = kind
    assert HttpSource(server.url).fetch(None).body == server.body


def test_overlong_etag_is_not_kept(server: KeyServer) -> None:
    server.etag = '"' + "x" * 300 + '"'
    assert HttpSource(server.url).fetch(None).etag is None


def test_query_and_path_are_sent_as_configured(server: KeyServer) -> None:
    server.paths["/other/keys?app=1"] = b"{}"
    assert HttpSource(f"{server.issuer}/other/keys?app=1").fetch(None).body == b"{}"
    with pytest.raises(KeySetError, match="answered 404"):
        HttpSource(server.issuer).fetch(None)


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (Behaviour.HANG, "no whole answer within"),
        (Behaviour.DRIP, "no whole answer within"),
        (Behaviour.DRIP_HEADER, "no whole answer within"),
        (Behaviour.OVERSIZE, f"more than {MAX_BYTES} bytes"),
        (Behaviour.ENDLESS_HEADER, f"more than {MAX_BYTES} bytes"),
        (Behaviour.REDIRECT, "redirects are not followed"),
        (Behaviour.ERROR, "answered 500"),
        (Behaviour.TRUNCATE, "ended early"),
        (Behaviour.NOT_HTTP, "not HTTP"),
        (Behaviour.COMPRESSED, "compressed"),
        (Behaviour.HTML, "another type than JSON"),
        (Behaviour.UNCHANGED, "answered 304"),
    ],
)
def test_bad_server_ends_in_an_error_within_the_deadline(
    server: KeyServer, behaviour: Behaviour, text: str
) -> None:
    server.behaviour = behaviour
    ticks = _Ticks(0.02)
    with pytest.raises(KeySetError, match=text) as failure:
        HttpSource(server.url, deadline_seconds=0.5, monotonic=ticks).fetch(None)
    assert "Sign in" not in str(failure.value)


class _Ticks:
    """A clock on which every look costs time, so that a drip meets its deadline without waiting for it."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._looks = 0

    def __call__(self) -> float:
        self._looks += 1
        return self._looks * self._step


def test_redirect_is_never_followed(server: KeyServer) -> None:
    with KeyServer(mint().jwks()) as other:
        server.elsewhere = other.url
        server.behaviour = Behaviour.REDIRECT
        with pytest.raises(KeySetError):
            HttpSource(server.url).fetch(None)
        assert other.requests == []


def test_proxies_of_the_environment_are_ignored(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert HttpSource(server.url).fetch(None).body == server.body


def test_refused_connection_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(KeySetError, match="refused"):
            HttpSource(f"http://127.0.0.1:{unused.getsockname()[1]}/id/keys").fetch(None)


def test_closed_connection_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            accepted, _ = listener.accept()
            accepted.recv(65536)
            accepted.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(KeySetError, match="ended early"):
            HttpSource(f"http://127.0.0.1:{listener.getsockname()[1]}/id/keys").fetch(None)
        thread.join()


def test_name_that_does_not_resolve_says_so() -> None:
    with pytest.raises(KeySetError, match="does not resolve"):
        HttpSource("https://nowhere.invalid/id/keys").fetch(None)


@pytest.mark.parametrize(
    "url",
    [
        "http://ingest.example.com/id/keys",
        "http://192.0.2.1/id/keys",
        "http://localhost.example.com/",
        "ftp://127.0.0.1/id/keys",
        "file:///etc/passwd",
        "data:application/json,{}",
        "https:///id/keys",
        "id/keys",
        "",
        "https://user@127.0.0.1/",
        "https://user:secret@127.0.0.1/",
        "https://example.com/#keys",
        "https://example.com:99999/",
        "https://[::1/",
    ],
)
def test_address_that_may_not_be_asked_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(KeySetError) as failure:
        HttpSource(url)
    assert "secret" not in str(failure.value)


def test_loopback_may_be_plain(server: KeyServer) -> None:
    port = server.url.rsplit(":", 1)[1]
    assert HttpSource(f"http://localhost:{port}").fetch(None).body == server.body
    HttpSource("http://[::1]/id/keys")
    HttpSource("http://localhost/id/keys")


def test_localhost_that_resolves_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(host: str, port: int, **_: object) -> list[object]:
        assert (host, port) == ("localhost", 80)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    with pytest.raises(KeySetError, match="off this machine"):
        HttpSource("http://localhost/id/keys").fetch(None)


def test_https_is_verified(tmp_path: Path) -> None:
    public, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    body = b'{"keys":[]}'
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                accepted, _address = listener.accept()
                with accepted:
                    try:
                        with context.wrap_socket(accepted, server_side=True) as secure:
                            secure.recv(65536)
                            secure.sendall(reply)
                    except ssl.SSLError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/id/keys"
        with pytest.raises(KeySetError, match="TLS failed"):
            HttpSource(url).fetch(None)
        trusting = ssl.create_default_context(cafile=str(public))
        assert HttpSource(url, tls=trusting).fetch(None).body == body
        thread.join()


def test_default_clock_is_the_machine_s(server: KeyServer) -> None:
    before = time.monotonic()
    assert HttpSource(server.url).fetch(None).body
    assert time.monotonic() >= before


def test_server_that_never_shakes_hands_meets_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/id/keys"
        with pytest.raises(KeySetError, match="no whole answer within"):
            HttpSource(url, deadline_seconds=0.3).fetch(None)


def test_deadline_that_passed_while_connecting_is_an_error(server: KeyServer) -> None:
    with pytest.raises(KeySetError, match="no whole answer within"):
        HttpSource(server.url, monotonic=_Ticks(10)).fetch(None)
    assert server.requests == []
