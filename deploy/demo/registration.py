"""A device gets its asset token: the token exchange of RFC 8693 at the issuer, as firmware does it."""

import base64
import http.client
import json
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from authplugin.jose.identity import IdForm, canonical_asset_id

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_TIMEOUT_SECONDS = 20.0


class RegistrationError(Exception):
    """Raised when the issuer gives no token; the text is the issuer's error, never a token."""


@dataclass(frozen=True, slots=True)
class Client:
    """The application that registers devices: OAuth 2.0 client credentials."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device is before it is registered.

    Attributes:
        device_id: ``did``: its own choice.
        serial: serial number of the asset it is part of.
        name: of that asset.
        attributes: custom attributes of the actor token.
    """

    device_id: str
    serial: str
    name: str
    attributes: dict[str, str]
    account_id: str
    key: RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Registered:
    """A device with its token.

    Attributes:
        asset_id: the form of 18 characters.
        expires_in: seconds, as the issuer said.
    """

    identity: Identity
    asset_id: str
    expires_in: int
    token: str = field(repr=False)


def make_key() -> RSAPrivateKey:
    """A device's own key: RSA of 2048 bits, as in the vendor's sample; about 0.1 s."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def get_access_token(issuer: str, client: Client, scope: str | None = None) -> dict[str, object]:
    """The ``client_credentials`` grant.

    Returns:
        The issuer's answer: ``access_token``, and ``id_token`` when ``scope`` is ``openid``.
    """
    form = {"grant_type": "client_credentials", "client_id": client.id, "client_secret": client.secret}
    return _post(issuer, form | ({"scope": scope} if scope else {}))


def exchange(issuer: str, access_token: str, identity: Identity, **extra: str) -> Registered:
    """Trade an access token and the device's own signed word for an asset token.

    Args:
        issuer: its URL.
        access_token: the subject token.
        identity: who the device says it is; its key signs the actor token and is bound to the asset token.
        extra: further form parameters.

    Raises:
        RegistrationError: the issuer refused.
    """
    public = RSAAlgorithm.to_jwk(identity.key.public_key(), as_dict=True)
    actor = {
        "did": identity.device_id,
        "Name": identity.name,
        "Asset": {"Name": identity.name, "SerialNumber": identity.serial, "AccountId": identity.account_id},
        **identity.attributes,
        "cnf": {"jwk": {"kty": "RSA", "kid": "devicekey", "n": public["n"], "e": public["e"]}},
    }
    answer = _post(
        issuer,
        {
            "grant_type": _EXCHANGE,
            "subject_token_type": _ACCESS_TOKEN,
            "subject_token": access_token,
            "actor_token_type": _JWT,
            "actor_token": jwt.encode(actor, identity.key, algorithm="RS256"),
        }
        | extra,
    )
    token, expires_in = answer.get("access_token"), answer.get("expires_in")
    if (
        not isinstance(token, str)
        or not isinstance(expires_in, int)
        or answer.get("issued_token_type") != _JWT
    ):
        raise RegistrationError("the issuer answered 200 without an asset token")
    return Registered(
        identity, canonical_asset_id(str(claims(token)["aid"]), IdForm.SALESFORCE), expires_in, token
    )


def claims(token: str) -> dict[str, object]:
    """Read a token's payload without verifying it, as a device does with its own."""
    payload = token.split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if not isinstance(decoded, dict):
        raise RegistrationError("the token's payload is no object")
    return decoded


def _post(issuer: str, form: dict[str, str]) -> dict[str, object]:
    url = urlsplit(issuer)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(
            "POST",
            f"{url.path}/services/oauth2/token",
            body=urlencode(form),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise RegistrationError(f"{response.status} {answer.get('error')}: {answer.get('error_description')}")
    if not isinstance(answer, dict):
        raise RegistrationError("the issuer's answer is no object")
    return answer
