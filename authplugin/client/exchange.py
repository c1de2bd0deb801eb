"""A device gets its asset token at the issuer: the token exchange of RFC 8693, as firmware does it."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from authplugin.client.credentials import Credentials, read_credentials
from authplugin.client.key import DeviceKey, write_actor_token
from authplugin.jose.identity import IdForm

PATH = "/services/oauth2/token"
"""The token endpoint, below the issuer's URL."""

TIMEOUT_SECONDS = 20.0
MAX_ANSWER = 65_536
"""Bytes of an answer that are read."""

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LONGEST_SHOWN = 200


class ExchangeError(Exception):
    """Raised when the issuer gives no token; the text is the issuer's error, never a token.

    Attributes:
        code: the error of RFC 6749 §5.2, such as ``invalid_grant``; empty when the issuer did not
            answer, or not as an issuer does.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The application that may register devices (RFC 6749 §2.3.1)."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Registration:
    """What a device says of itself, and the key it wants bound.

    Attributes:
        device_id: ``did``: its own choice, 1 to 128 printable characters.
        key: signs the actor token, and is bound to the asset token.
        name: ``Name``: of the token record.
        asset: fields of the asset record to find or make: ``Id``, ``Name``, ``SerialNumber``,
            ``AccountId``, ``ContactId``.
        attributes: custom attributes, as further claims.
    """

    device_id: str
    key: DeviceKey = field(repr=False)
    name: str | None = None
    asset: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, object] = field(default_factory=dict)

    def claims(self) -> dict[str, object]:
        """The actor token's claims, but for ``cnf``."""
        claims: dict[str, object] = {**self.attributes, "did": self.device_id}
        if self.name is not None:
            claims["Name"] = self.name
        if self.asset:
            claims["Asset"] = dict(self.asset)
        return claims


def register(
    issuer: str,
    access_token: str,
    registration: Registration,
    *,
    form: IdForm = IdForm.SALESFORCE,
    extra: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Credentials:
    """Trade an access token and the device's own signed word for an asset token.

    Calling it again renews the token.

    Args:
        issuer: its URL; https, or http to this machine.
        access_token: the subject token: of whoever may register devices.
        registration: who the device says it is.
        form: how the issuer writes asset ids.
        extra: further form parameters.
        context: TLS; None for the machine's own trust.
        timeout: seconds for each step of the network.

    Raises:
        ExchangeError: the issuer gave none.
    """
    answer = _post(
        issuer,
        {
            "grant_type": _EXCHANGE,
            "subject_token_type": _ACCESS_TOKEN,
            "subject_token": access_token,
            "actor_token_type": _JWT,
            "actor_token": write_actor_token(registration.claims(), registration.key),
        }
        | dict(extra or {}),
        context,
        timeout,
    )
    token = answer.get("access_token")
    if not isinstance(token, str) or answer.get("issued_token_type") != _JWT:
        raise ExchangeError("the issuer answered 200 without an asset token")
    try:
        return read_credentials(token, form)
    except ValueError as error:
        raise ExchangeError(f"the issuer's answer: {error}") from None


def get_access_token(
    issuer: str,
    client: ClientCredentials,
    *,
    scope: str | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> dict[str, object]:
    """The ``client_credentials`` grant (RFC 6749 §4.4) at the same endpoint.

    Returns:
        The issuer's answer: ``access_token``, and ``id_token`` when ``scope`` asks for ``openid``.

    Raises:
        ExchangeError: the issuer gave none.
    """
    form = {"grant_type": "client_credentials", "client_id": client.id, "client_secret": client.secret}
    answer = _post(issuer, form | ({"scope": scope} if scope else {}), context, timeout)
    if not isinstance(answer.get("access_token"), str):
        raise ExchangeError("the issuer answered 200 without an access token")
    return answer


def _post(
    issuer: str, form: Mapping[str, str], context: ssl.SSLContext | None, timeout: float
) -> dict[str, object]:
    connection = _connection(issuer, context, timeout)
    path = urlsplit(issuer).path.removesuffix("/") + PATH
    head = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    try:
        connection.request("POST", path, body=urlencode(form), headers=head)
        with connection.getresponse() as response:
            status, body = response.status, response.read(MAX_ANSWER + 1)
    except (OSError, http.client.HTTPException) as error:
        raise ExchangeError(f"the issuer did not answer: {type(error).__name__}") from None
    finally:
        connection.close()
    try:
        answer = json.loads(body) if len(body) <= MAX_ANSWER else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ExchangeError(f"the issuer answered {status} and no JSON object")
    if status != http.client.OK:
        code, text = str(answer.get("error")), str(answer.get("error_description", ""))
        raise ExchangeError(f"{status} {code}: {text}"[:_LONGEST_SHOWN], code)
    return answer


def _connection(issuer: str, context: ssl.SSLContext | None, timeout: float) -> http.client.HTTPConnection:
    """A connection to the issuer; redirects are not followed, so no token goes elsewhere."""
    try:
        url = urlsplit(issuer)
        host, port = url.hostname, url.port
    except ValueError:
        host = None
    if host and url.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    if host in _LOOPBACK and url.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    raise ExchangeError("an issuer's URL is https, or http to this machine")
