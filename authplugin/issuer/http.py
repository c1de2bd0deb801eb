"""The issuer over HTTP: a bare ASGI application with a table of paths."""

import asyncio
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import msgspec

from authplugin.errors import ConfigurationError
from authplugin.issuer.errors import OAuthCode, OAuthError
from authplugin.issuer.events import MemorySink
from authplugin.issuer.exchange import EXCHANGE, SCOPES, Issuer
from authplugin.issuer.forms import MAX_BODY, parse_form

KEYS_PATH = "/id/keys"
TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 - a path
DISCOVERY_PATH = "/.well-known/openid-configuration"
ROTATE_PATH = "/development/rotate"
EVENTS_PATH = "/development/events"

KEYS_MAX_AGE = 60
"""Seconds for which a fetched key set may be taken for fresh."""

BODY_SECONDS = 10.0
"""How long a client may take to send its body."""

# Each client of the CRM asks in the version it was written for.
_ASSET = re.compile(r"/services/data/v[0-9]{1,3}\.[0-9]/sobjects/Asset/[^/]+")
_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}

_log = logging.getLogger("authplugin.issuer")

Message = dict[str, Any]
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


class _Request:
    """What a handler needs of an ASGI HTTP scope; header names are lower case."""

    def __init__(self, scope: Scope, receive: Receive, body_seconds: float) -> None:
        self.method = str(scope["method"])
        self.path = str(scope["path"])
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope.get("client")
        self.address = client[0] if client else ""
        self._receive = receive
        self._body_seconds = body_seconds

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            OAuthError: over 64 kB, too slow, or cut short.
        """
        chunks = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                more = True
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise OAuthError(OAuthCode.INVALID_REQUEST, "the body is cut short")
                    chunks += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(chunks) > MAX_BODY:
                        raise OAuthError(
                            OAuthCode.INVALID_REQUEST, f"the body has more than {MAX_BODY} bytes", status=413
                        )
        except TimeoutError:
            raise OAuthError(OAuthCode.INVALID_REQUEST, "the body took too long", status=408) from None
        return bytes(chunks)

    async def form(self) -> dict[str, str]:
        """The body as a form; see `parse_form`."""
        return parse_form(self.headers.get("content-type", ""), await self.body())


class _Response(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    headers: Mapping[str, str] = {}


_Handler = Callable[[_Request], Awaitable[_Response]]


def create_app(issuer: Issuer, *, body_seconds: float = BODY_SECONDS) -> Application:
    """The ASGI application (3.0) that serves ``issuer``; ``body_seconds`` bound the reading of one body."""
    doors = _Doors(issuer)
    table: Mapping[str, Mapping[str, _Handler]] = {
        KEYS_PATH: {"GET": doors.get_keys},
        DISCOVERY_PATH: {"GET": doors.get_discovery},
        TOKEN_PATH: {"POST": doors.post_token},
        ROTATE_PATH: {"POST": doors.post_rotate},
        EVENTS_PATH: {"GET": doors.get_events},
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served here")
        request = _Request(scope, receive, body_seconds)
        methods = table.get(request.path)
        if methods is None and _ASSET.fullmatch(request.path):
            methods = {"GET": doors.get_asset}
        response = await _respond(methods, request)
        headers = {"content-type": "application/json;charset=UTF-8", **response.headers}
        headers["content-length"] = str(len(response.body))
        if response.status == 304:  # noqa: PLR2004 - Not Modified says nothing of a body
            del headers["content-type"], headers["content-length"]
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": encoded})
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else response.body})

    return app


async def _respond(methods: Mapping[str, _Handler] | None, request: _Request) -> _Response:
    if methods is None:
        return _json(404, {"error": "not_found"})
    handler = methods.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        return _json(
            405, {"error": "method_not_allowed"}, {"allow": ", ".join(methods).replace("GET", "GET, HEAD")}
        )
    try:
        return await handler(request)
    except OAuthError as error:
        _log.info("%s: %s", request.path, error)
        headers = dict(_NO_STORE)
        if error.status == 401:  # noqa: PLR2004 - Unauthorized names the scheme (RFC 9110 §11.6.1)
            headers["www-authenticate"] = 'Basic realm="issuer", charset="UTF-8"'
        if error.status in {408, 413}:
            headers["connection"] = "close"
        return _json(
            error.status, {"error": error.code.value, "error_description": error.description}, headers
        )


class _Doors:
    """One method a path."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    async def get_keys(self, request: _Request) -> _Response:
        document, etag = self._issuer.keys.publish()
        headers = {"etag": etag, "cache-control": f"public, max-age={KEYS_MAX_AGE}"}
        held = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if etag in held or "*" in held:
            return _Response(304, b"", headers)
        return _Response(200, document, headers)

    async def get_discovery(self, _: _Request) -> _Response:
        url = self._issuer.profile.url
        document = {
            "issuer": url,
            "jwks_uri": url + KEYS_PATH,
            "token_endpoint": url + TOKEN_PATH,
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "grant_types_supported": ["client_credentials", EXCHANGE],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": list(SCOPES),
        }
        return _json(200, document, {"cache-control": f"public, max-age={KEYS_MAX_AGE}"})

    async def post_token(self, request: _Request) -> _Response:
        answer = await self._issuer.answer(await request.form(), request.headers.get("authorization"))
        return _json(200, answer, _NO_STORE)

    async def get_asset(self, request: _Request) -> _Response:
        if not self._is_admitted(request):
            return _unauthorized()
        asset = self._issuer.assets.find(request.path.rpartition("/")[2])
        if asset is None:
            missing = {"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}
            return _json(404, [missing], _NO_STORE)
        record = {
            "Id": asset.long_id,
            "Name": asset.name,
            "SerialNumber": asset.serial_number,
            "AccountId": asset.account_id,
            "ContactId": asset.contact_id,
        }
        return _json(200, record, _NO_STORE)

    async def post_rotate(self, request: _Request) -> _Response:
        if not _is_loopback(request.address):
            return _json(404, {"error": "not_found"})
        body = await request.body()
        form = parse_form(request.headers.get("content-type", ""), body) if body else {}
        if not self._is_admitted(request):
            return _unauthorized()
        try:
            kid = await self._issuer.rotate(withdraw=form.get("withdraw") == "true")
        except ConfigurationError as error:
            _log.error("keys are not rotated: %s", error)
            return _json(500, {"error": "server_error", "error_description": str(error)}, _NO_STORE)
        return _json(200, {"kid": kid}, _NO_STORE)

    async def get_events(self, request: _Request) -> _Response:
        sink = self._issuer.sink
        if not _is_loopback(request.address) or not isinstance(sink, MemorySink):
            return _json(404, {"error": "not_found"})
        if not self._is_admitted(request):
            return _unauthorized()
        return _json(200, {"events": list(sink.events)}, _NO_STORE)

    def _is_admitted(self, request: _Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._issuer.admits(token.strip())


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _unauthorized() -> _Response:
    expired = {"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}
    return _json(401, [expired], {**_NO_STORE, "www-authenticate": 'Bearer realm="issuer"'})


def _json(status: int, value: object, headers: Mapping[str, str] | None = None) -> _Response:
    return _Response(status, msgspec.json.encode(value), headers or {})
