"""Against a real HTTP server that answers as issuers and broken proxies do."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs

import jwt
import pytest

from authplugin.client import (
    ClientCredentials,
    ExchangeError,
    Registration,
    get_access_token,
    make_key,
    register,
)
from authplugin.client.exchange import MAX_ANSWER
from tests.support.mints import mint

TOKEN = mint().mint().decode()
JWT = "urn:ietf:params:oauth:token-type:jwt"
GOOD = {"access_token": TOKEN, "issued_token_type": JWT, "token_type": "Bearer", "expires_in": 518400}
KEY = make_key()
REGISTRATION = Registration("press-7", KEY, "Press 07", {"SerialNumber": "PL-7"}, {"Site": "Porto"})


class Endpoint(http.server.BaseHTTPRequestHandler):
    answer: tuple[int, bytes] = (200, b"")
    asked: dict[str, list[str]]
    path_asked: str = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked = parse_qs(body.decode(), strict_parsing=True)
        type(self).path_asked = self.path
        status, answer = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing: a token must not be printed by a test either."""


@contextlib.contextmanager
def answering(status: int, answer: object) -> Iterator[tuple[str, type[Endpoint]]]:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    handler = type("Answering", (Endpoint,), {"answer": (status, body)})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
            thread.join()


def test_a_device_trades_its_signed_word_for_an_asset_token() -> None:
    with answering(200, GOOD) as (url, endpoint):
        found = register(f"{url}/org/", "subject", REGISTRATION, extra={"validity": "60"})
    assert (found.token, found.asset_id) == (TOKEN, "02iAB00000CdEfGYAV")
    assert endpoint.path_asked == "/org/services/oauth2/token"
    asked = {name: value for name, (value,) in endpoint.asked.items()}
    actor = jwt.decode(asked.pop("actor_token"), KEY.public_key(), algorithms=["ES256"])
    assert asked == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": "subject",
        "actor_token_type": JWT,
        "validity": "60",
    }
    assert actor.pop("cnf")["jwk"]["kty"] == "EC"
    assert actor == {
        "did": "press-7",
        "Name": "Press 07",
        "Asset": {"SerialNumber": "PL-7"},
        "Site": "Porto",
    }


def test_an_application_gets_an_access_token() -> None:
    with answering(200, {"access_token": "a", "id_token": "i"}) as (url, endpoint):
        answer = get_access_token(url, ClientCredentials("registrar", "s3cret"), scope="openid")
    assert answer == {"access_token": "a", "id_token": "i"}
    assert {name: value for name, (value,) in endpoint.asked.items()} == {
        "grant_type": "client_credentials",
        "client_id": "registrar",
        "client_secret": "s3cret",
        "scope": "openid",
    }


def test_the_issuers_error_is_told_with_its_code() -> None:
    answer = {"error": "invalid_grant", "error_description": "the subject token has expired"}
    with answering(400, answer) as (url, _), pytest.raises(ExchangeError, match="has expired") as refused:
        register(url, "subject-secret", REGISTRATION)
    assert refused.value.code == "invalid_grant"
    assert "subject-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "answer", "says"),
    [
        (200, b"<html>", "no JSON object"),
        (200, b"[1]", "no JSON object"),
        (502, b"", "502 and no JSON"),
        (302, b"", "302"),
        (200, {"access_token": TOKEN}, "without an asset token"),
        (200, {**GOOD, "access_token": 7}, "without an asset token"),
        (200, {**GOOD, "access_token": "a.b.c"}, "not base64url"),
        (200, b'{"x": "' + b"x" * MAX_ANSWER + b'"}', "no JSON object"),
    ],
)
def test_an_answer_that_is_none_is_an_error_that_shows_no_token(
    status: int, answer: object, says: str
) -> None:
    with answering(status, answer) as (url, _), pytest.raises(ExchangeError, match=says) as refused:
        register(url, "subject", REGISTRATION)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://issuer.example.com", "ftp://127.0.0.1", "issuer", "http://[::1", "https://"]
)
def test_nothing_is_sent_but_over_https_or_to_this_machine(url: str) -> None:
    with pytest.raises(ExchangeError, match="https"):
        register(url, "subject", REGISTRATION)


def test_an_issuer_that_is_away_is_an_error() -> None:
    with answering(200, GOOD) as (url, _):
        gone = url
    with pytest.raises(ExchangeError, match="did not answer"):
        register(gone, "subject", REGISTRATION)


def test_no_representation_shows_secret_or_key() -> None:
    text = repr(ClientCredentials("registrar", "s3cret")) + repr(REGISTRATION)
    assert "s3cret" not in text
    assert "PrivateKey" not in text
