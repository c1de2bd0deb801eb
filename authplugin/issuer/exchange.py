"""The token endpoint's two grants: client credentials, and the exchange for an asset token.

An exchange registers the asset, signs, publishes the event and only then answers, so that nobody
holds a token that the stream was not told of.
"""

import asyncio
import hashlib
import hmac
import logging
import random
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from authplugin.clock import Clock, SystemClock
from authplugin.issuer.access import ACCESS_SECONDS, is_access_token, make_access_token, make_id_token
from authplugin.issuer.actor import Actor, AssetFields, read_actor
from authplugin.issuer.assets import Asset, AssetRegister, make_record_id
from authplugin.issuer.errors import OAuthCode, OAuthError
from authplugin.issuer.events import AssetTokenEvent, EventSink, PublishError
from authplugin.issuer.forms import read_client, require
from authplugin.issuer.keyring import KeyRing
from authplugin.jose.identity import suffix

VALIDITY_SECONDS = 518400
"""How long an asset token lives unless set otherwise: six days."""

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a word, not a secret
JWT = "urn:ietf:params:oauth:token-type:jwt"
SCOPES = ("api", "openid")

_MAX_VALIDITY = 10 * 365 * 86400

_log = logging.getLogger("authplugin.issuer")


class IssuerProfile(msgspec.Struct, frozen=True):
    """The application at the issuer: what its tokens say, and who may ask.

    Attributes:
        url: ``iss``; also the base of every address.
        audiences: ``aud`` of asset tokens.
        client_id: the one client's name.
        client_secret_digest: SHA-256 of its secret; the secret itself is not kept.
        validity: lifetime of asset tokens in seconds.
        development_claims: let a request choose ``validity`` and ``audience`` of its token.
        accept_unsigned_actors: let actor tokens without a key to bind be unsigned.
    """

    url: str
    audiences: tuple[str, ...]
    client_id: str
    client_secret_digest: bytes
    validity: int = VALIDITY_SECONDS
    development_claims: bool = False
    accept_unsigned_actors: bool = False

    def __repr__(self) -> str:
        """Without the digest: a weak secret could be guessed from it."""
        return f"IssuerProfile({self.url!r}, client {self.client_id!r})"


class Issuer:
    """One issuer: its keys, its assets and its answers to token requests."""

    def __init__(
        self,
        profile: IssuerProfile,
        keys: KeyRing,
        sink: EventSink,
        *,
        clock: Clock | None = None,
        source: random.Random | None = None,
    ) -> None:
        """Begin with no assets.

        Args:
            profile: what it is.
            keys: what it signs with.
            sink: where its events go.
            clock: what tokens are dated by; None for the machine's.
            source: where record ids come from; None for the system's randomness.
        """
        self.profile = profile
        self.keys = keys
        self.sink = sink
        self._clock = clock or SystemClock()
        self._source = source or secrets.SystemRandom()
        self.assets = AssetRegister(self._source)
        self._organisation = self._long_id("00D")
        self._user = self._long_id("005")
        self._application = self._long_id("0H4")
        self._replay = 0
        self._rotation = asyncio.Lock()

    async def answer(self, form: Mapping[str, str], authorization: str | None) -> dict[str, object]:
        """Answer a token request (RFC 6749 §5.1, RFC 8693 §2.2.1).

        Args:
            form: its parameters.
            authorization: its Authorization header, None without one.

        Raises:
            OAuthError: what to answer instead.
        """
        grant = require(form, "grant_type")
        client = read_client(form, authorization)
        if client is not None and not self._knows(*client):
            raise OAuthError(OAuthCode.INVALID_CLIENT, "no such client, or not its secret")
        if grant == EXCHANGE:
            return await self._exchange(form)
        if grant != "client_credentials":
            raise OAuthError(
                OAuthCode.UNSUPPORTED_GRANT_TYPE, "expected client_credentials or the token exchange's URN"
            )
        if client is None:
            raise OAuthError(OAuthCode.INVALID_CLIENT, "client_id and client_secret are missing")
        return self._grant_access(form)

    def admits(self, access_token: str) -> bool:
        """Whether that is an access token of this issuer, still valid."""
        return is_access_token(self.keys, access_token, issuer=self.profile.url, now=self._clock.now())

    async def rotate(self, *, withdraw: bool = False) -> str:
        """Sign with a new key from now on; see `KeyRing.rotate`. Made off the event loop, one at a time."""
        async with self._rotation:
            kid = await asyncio.to_thread(self.keys.rotate, withdraw=withdraw)
        _log.info("signing with key %s", kid)
        return kid

    def _knows(self, client_id: str, secret: str) -> bool:
        # Both comparisons are made, each in constant time: the time taken tells nothing.
        name = hmac.compare_digest(client_id.encode(), self.profile.client_id.encode())
        digest = hashlib.sha256(secret.encode()).digest()
        return hmac.compare_digest(digest, self.profile.client_secret_digest) and name

    def _grant_access(self, form: Mapping[str, str]) -> dict[str, object]:
        asked = form.get("scope", "api").split()
        granted = [scope for scope in SCOPES if scope in asked or scope == "api"]
        now, issuer, client_id = int(self._clock.now()), self.profile.url, self.profile.client_id
        scope = " ".join(granted)
        access = make_access_token(
            self.keys,
            issuer=issuer,
            client_id=client_id,
            user=self._user,
            scope=scope,
            now=now,
            token_id=self._uuid(),
        )
        answer: dict[str, object] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "scope": scope,
        }
        if "openid" in granted:
            subject = f"{issuer}/id/{self._organisation}/{self._user}"
            answer["id_token"] = make_id_token(
                self.keys, issuer=issuer, client_id=client_id, subject=subject, now=now, access=access
            )
        return answer

    async def _exchange(self, form: Mapping[str, str]) -> dict[str, object]:
        _expect(form, "subject_token_type", ACCESS_TOKEN)
        if "requested_token_type" in form:
            _expect(form, "requested_token_type", JWT)
        if not self.admits(require(form, "subject_token")):
            raise OAuthError(OAuthCode.INVALID_GRANT, "subject_token is no valid access token of this issuer")
        actor = self._read_actor(form)
        validity, audiences = self._read_wishes(form)
        name = None if actor is None else actor.name
        device_id = None if actor is None else actor.device_id
        asset = self.assets.register(
            AssetFields() if actor is None else actor.asset, device_id=device_id, name=name
        )
        now = int(self._clock.now())
        expires = now + validity
        claims: dict[str, object] = {
            "aud": list(audiences),
            # A token that ended before now began before that.
            "nbf": now if validity > 0 else expires - self.profile.validity,
            "iss": self.profile.url,
        }
        if actor is not None and actor.jwk is not None:
            claims["cnf"] = {"jwk": actor.jwk}
        record_id = make_record_id("05b", self._source)
        claims |= {"id": record_id, "exp": expires, "aid": asset.id}
        if actor is not None:
            claims["did"] = actor.device_id
        token = self.keys.sign(claims)
        try:
            await self.sink.publish(self._event(actor, asset, expires))
        except PublishError as error:
            _log.error("asset token %s is withheld: its event was not published: %s", record_id, error)
            raise OAuthError(
                OAuthCode.TEMPORARILY_UNAVAILABLE, "the event of this exchange could not be published"
            ) from None
        _log.info("asset token %s for asset %s, device %r", record_id, asset.long_id, device_id)
        return {
            "access_token": token,
            "issued_token_type": JWT,
            "token_type": "Bearer",
            "expires_in": max(0, validity),
        }

    def _read_actor(self, form: Mapping[str, str]) -> Actor | None:
        if "actor_token" not in form:
            if "actor_token_type" in form:
                raise OAuthError(OAuthCode.INVALID_REQUEST, "actor_token_type without actor_token")
            return None
        _expect(form, "actor_token_type", JWT)
        return read_actor(
            form["actor_token"].encode(),
            now=self._clock.now(),
            accept_unsigned=self.profile.accept_unsigned_actors,
        )

    def _read_wishes(self, form: Mapping[str, str]) -> tuple[int, tuple[str, ...]]:
        """Lifetime and audiences: the profile's, or what a development request wants."""
        wishes = form.keys() & {"validity", "audience"}
        if wishes and not self.profile.development_claims:
            names = " and ".join(sorted(wishes))
            raise OAuthError(OAuthCode.INVALID_REQUEST, f"{names}: only with --development-claims")
        audiences = (form["audience"],) if "audience" in form else self.profile.audiences
        text = form.get("validity", str(self.profile.validity))
        try:
            validity = int(text) if len(text) <= len(str(-_MAX_VALIDITY)) else _MAX_VALIDITY + 1
        except ValueError:
            validity = _MAX_VALIDITY + 1
        if abs(validity) > _MAX_VALIDITY:
            raise OAuthError(
                OAuthCode.INVALID_REQUEST, "validity is not a number of seconds within ten years"
            )
        return validity, audiences

    def _event(self, actor: Actor | None, asset: Asset, expires: int) -> AssetTokenEvent:
        # Grows over restarts too, though nothing is kept: the clock is ahead of any count of exchanges.
        self._replay = max(self._replay + 1, int(self._clock.now() * 1000))
        jwk = None if actor is None or actor.jwk is None else msgspec.json.encode(actor.jwk).decode()
        return AssetTokenEvent(
            actor_token_payload=None if actor is None else actor.payload,
            asset_id=asset.long_id,
            asset_name=asset.name,
            asset_serial_number=asset.serial_number,
            connected_app_id=self._application,
            user_id=self._user,
            device_id=None if actor is None else actor.device_id,
            device_key=jwk,
            event_uuid=self._uuid(),
            expiration=datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            name=None if actor is None else actor.name,
            replay_id=str(self._replay),
        )

    def _long_id(self, prefix: str) -> str:
        record_id = make_record_id(prefix, self._source)
        return record_id + suffix(record_id)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._source.getrandbits(128), version=4))


def _expect(form: Mapping[str, str], name: str, value: str) -> None:
    if require(form, name) != value:
        raise OAuthError(OAuthCode.INVALID_REQUEST, f"{name} is not {value}")
