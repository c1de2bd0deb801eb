import asyncio
import hashlib
from collections.abc import Iterable
from typing import Any

import pytest

from authplugin.issuer import Issuer, IssuerProfile, KeyRing, MemorySink, create_app

FORM = [(b"content-type", b"application/x-www-form-urlencoded")]
CREDENTIALS = b"grant_type=client_credentials&client_id=demo&client_secret=s"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    profile = IssuerProfile("http://127.0.0.1:1", ("a",), "demo", hashlib.sha256(b"s").digest())
    return Issuer(profile, KeyRing(), MemorySink())


def ask(
    issuer: Issuer,
    method: str,
    path: str,
    *,
    messages: Iterable[dict[str, Any]] = (),
    headers: Iterable[tuple[bytes, bytes]] = (),
    address: str | None = "127.0.0.1",
) -> tuple[int, bytes]:
    """One request to the application itself; when ``messages`` end, the client sends no more."""
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": list(headers),
        "client": None if address is None else (address, 1),
    }
    waiting = iter(messages)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        for message in waiting:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(create_app(issuer, body_seconds=0.05)(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def body(*chunks: bytes) -> list[dict[str, Any]]:
    last = len(chunks) - 1
    return [
        {"type": "http.request", "body": chunk, "more_body": number < last}
        for number, chunk in enumerate(chunks)
    ]


def test_a_body_may_come_in_pieces(issuer: Issuer) -> None:
    pieces = body(CREDENTIALS[:10], b"", CREDENTIALS[10:])
    assert ask(issuer, "POST", "/services/oauth2/token", messages=pieces, headers=FORM)[0] == 200


def test_a_body_that_never_ends_is_given_up(issuer: Issuer) -> None:
    pieces = body(CREDENTIALS, b"")[:1]
    status, text = ask(issuer, "POST", "/services/oauth2/token", messages=pieces, headers=FORM)
    assert status == 408
    assert b"invalid_request" in text


def test_a_body_over_64_kb_is_given_up_where_it_passes_the_bound(issuer: Issuer) -> None:
    pieces = body(b"a=", b"b" * 65_535, b"never read")[:2]
    assert ask(issuer, "POST", "/services/oauth2/token", messages=pieces, headers=FORM)[0] == 413


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", None])
def test_development_doors_are_not_there_for_other_machines(issuer: Issuer, address: str | None) -> None:
    answer = asyncio.run(
        issuer.answer(dict(pair.split("=") for pair in CREDENTIALS.decode().split("&")), None)
    )
    headers = [(b"authorization", f"Bearer {answer['access_token']}".encode())]
    for method, path in (("POST", "/development/rotate"), ("GET", "/development/events")):
        assert ask(issuer, method, path, headers=headers, address=address)[0] == 404
    assert ask(issuer, "GET", "/development/events", headers=headers)[0] == 200
    assert ask(issuer, "GET", "/development/events", headers=headers, address="::1")[0] == 200


def test_only_http_is_served(issuer: Issuer) -> None:
    async def never() -> dict[str, Any]:
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    with pytest.raises(ValueError, match="websocket"):
        asyncio.run(create_app(issuer)({"type": "websocket"}, never, send))
