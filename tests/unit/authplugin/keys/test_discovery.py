"""Key sets by discovery, over real HTTP: the document decides where, and little else."""

import json
from collections.abc import Iterator

import pytest

from authplugin.errors import KeySetError
from authplugin.keys.discovery import DiscoverySource
from authplugin.keys.fetch import HttpSource
from authplugin.keys.source import Answer, KeySource
from authplugin.testing import Behaviour, FakeClock, KeyServer
from tests.support.mints import mint

PATH = "/.well-known/openid-configuration"


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer(mint().jwks()) as server:
        tell(server, jwks_uri=server.url)
        yield server


def tell(server: KeyServer, **changes: object) -> None:
    """Have the document say something else."""
    server.paths[PATH] = json.dumps({"issuer": server.issuer, **changes}).encode()


def quick(url: str) -> KeySource:
    return HttpSource(url, connect_seconds=0.3, deadline_seconds=0.3)


def source(server: KeyServer, clock: FakeClock | None = None, **changes: object) -> DiscoverySource:
    clock = clock or FakeClock()
    return DiscoverySource(
        server.issuer + PATH,
        server.issuer,
        monotonic=clock.monotonic,
        source=quick,
        **changes,  # type: ignore[arg-type] # hosts only
    )


def refusal(server: KeyServer) -> str:
    with pytest.raises(KeySetError) as refused:
        source(server).fetch(None)
    return str(refused.value)


def test_the_keys_are_where_the_document_says(server: KeyServer) -> None:
    server.paths["/elsewhere"] = b'{"keys":[]}'
    tell(server, jwks_uri=f"{server.issuer}/elsewhere")
    assert source(server).fetch(None).body == b'{"keys":[]}'
    tell(server, jwks_uri=server.url)
    assert source(server).fetch(None).body == server.body


def test_the_document_is_asked_for_once_an_hour_or_as_it_says(server: KeyServer) -> None:
    clock = FakeClock()
    keys = source(server, clock)
    for seconds, requests in ((0, 2), (3599, 3), (1, 5), (3599, 6)):
        clock.advance(seconds)
        keys.fetch(None)
        assert len(server.requests) == requests
    server.cache_control = "max-age=1"
    clock.advance(1)
    keys.fetch(None)
    clock.advance(299)
    keys.fetch(None)
    assert len(server.requests) == 9
    clock.advance(1)
    keys.fetch(None)
    assert len(server.requests) == 11


def test_an_unchanged_set_is_not_sent_again(server: KeyServer) -> None:
    server.etag = '"one"'
    keys = source(server)
    assert keys.fetch(None) == Answer(server.body, '"one"', None)
    assert keys.fetch('"one"').body is None


def test_an_entity_tag_says_nothing_to_another_address(server: KeyServer) -> None:
    server.etag = '"one"'
    clock = FakeClock()
    keys = source(server, clock)
    keys.fetch(None)
    server.paths["/moved"] = b'{"keys":[1]}'
    tell(server, jwks_uri=f"{server.issuer}/moved")
    clock.advance(3600)
    assert keys.fetch('"one"').body == b'{"keys":[1]}'


def test_a_key_endpoint_that_fails_has_the_document_asked_for_again(server: KeyServer) -> None:
    keys = source(server)
    keys.fetch(None)
    tell(server, jwks_uri=f"{server.issuer}/gone")
    server.behaviour = Behaviour.ERROR
    with pytest.raises(KeySetError, match="answered 500"):
        keys.fetch(None)
    server.behaviour = Behaviour.SERVE
    tell(server, jwks_uri=f"{server.issuer}/moved")
    server.paths["/moved"] = b'{"keys":[2]}'
    assert keys.fetch(None).body == b'{"keys":[2]}'


def test_keys_are_found_as_before_while_the_document_cannot_be_had(server: KeyServer) -> None:
    clock = FakeClock()
    keys = source(server, clock)
    keys.fetch(None)
    for document in (b"[]", b'{"issuer":"https://stranger.example.com"}'):
        server.paths[PATH] = document
        clock.advance(3600)
        assert keys.fetch(None).body == server.body


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"[]", "is not a JSON object"),
        (b'{"issuer":1,"issuer":2}', "names a member twice"),
        (b'{"jwks_uri":"https://acme.example.com/keys"}', "another issuer"),
        (b'{"issuer":"ISSUER/"}', "another issuer"),
        (b'{"issuer":"ISSUER"}', "no jwks_uri"),
        (b'{"issuer":"ISSUER","jwks_uri":7}', "no jwks_uri"),
        (b'{"issuer":"ISSUER","jwks_uri":""}', "no jwks_uri"),
        (b'{"issuer":"ISSUER","jwks_uri":"http://127.0.0.1/%s"}' % (b"x" * 2048), "no jwks_uri"),
        (b'{"issuer":"ISSUER","jwks_uri":"http://[::1/keys"}', "not a URL"),
        (b'{"issuer":"ISSUER","jwks_uri":"http://127.0.0.2/keys"}', "another scheme or host"),
        (b'{"issuer":"ISSUER","jwks_uri":"https://127.0.0.1/keys"}', "another scheme or host"),
        (b'{"issuer":"ISSUER","jwks_uri":"file:///etc/passwd"}', "another scheme or host"),
        (b'{"issuer":"ISSUER","jwks_uri":"http://a:b@127.0.0.1/keys"}', "no user, password"),
    ],
)
def test_a_document_that_may_not_decide_is_refused(server: KeyServer, document: bytes, why: str) -> None:
    server.paths[PATH] = document.replace(b"ISSUER", server.issuer.encode())
    assert why in refusal(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (Behaviour.REDIRECT, "redirects are not followed"),
        (Behaviour.OVERSIZE, "more than 65536 bytes"),
        (Behaviour.HANG, "no whole answer"),
        (Behaviour.DRIP, "no whole answer"),
        (Behaviour.HTML, "another type than JSON"),
        (Behaviour.UNCHANGED, "answered 304"),
    ],
)
def test_a_document_is_fetched_as_strictly_as_a_key_set(
    server: KeyServer, behaviour: Behaviour, why: str
) -> None:
    server.behaviour = behaviour
    assert why in refusal(server)


def test_a_listed_host_may_hold_the_keys(server: KeyServer) -> None:
    tell(server, jwks_uri=server.url.replace("127.0.0.1", "LOCALHOST"))
    assert "another scheme or host" in refusal(server)
    assert source(server, hosts=["Localhost"]).fetch(None).body == server.body


def test_only_https_leaves_this_machine(server: KeyServer) -> None:
    tell(server, jwks_uri="http://keys.example.com/keys")
    with pytest.raises(KeySetError, match="only https leaves"):
        source(server, hosts=["keys.example.com"]).fetch(None)
    with pytest.raises(KeySetError, match="only https leaves"):
        DiscoverySource("http://keys.example.com" + PATH, "x")
