"""Those who try to get in, or further than their token goes: every attempt is made for real.

The genuine but unfit tokens (expired, for another audience, an ID token) come through the issuer's front
door; the forged ones are made here, with no key of anyone's.
"""

import asyncio
import base64
import http.client
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from authplugin.client import ClientCredentials, get_access_token, register
from authplugin.errors import Reason
from authplugin.testing import TokenMint
from deploy.demo.fleet import Device

_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt.

    Attributes:
        name: what is tried, for people.
        expected: the reason by which the gate must refuse it.
        at: where it must be refused: ``CONNECT``, ``PUBLISH`` or ``SUBSCRIBE``.
        topic: what is published to or subscribed to once in.
    """

    name: str
    expected: Reason
    at: str
    client_id: str
    token: bytes = field(repr=False)
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker answered: its packet and code, and whether that is a refusal where one was due."""

    attempt: Attempt
    packet: str
    code: int
    text: str
    refused: bool


class Hostile:
    """Makes the attempts.

    Args:
        issuer: its URL; must allow development claims.
        client: the application that registers devices.
        broker: host and port.
        audience: what the gate requires in ``aud``.
    """

    def __init__(
        self, *, issuer: str, client: ClientCredentials, broker: tuple[str, int], audience: str
    ) -> None:
        self._issuer = issuer
        self._client = client
        self._broker = broker
        self._audience = audience

    async def attempt(self, attacker: Device, victim: Device) -> AsyncIterator[Answer]:
        """Make every attempt, one after the other.

        Args:
            attacker: a genuine device, gone bad.
            victim: whose asset it is after.
        """
        for attempt in await asyncio.to_thread(self._prepare, attacker, victim):
            yield await asyncio.to_thread(self._make, attempt)

    def _prepare(self, attacker: Device, victim: Device) -> list[Attempt]:
        answer = get_access_token(self._issuer, self._client, scope="openid")
        access_token = str(answer["access_token"])
        keys = _get_json(self._issuer, "/id/keys")["keys"]
        (key, *_) = [key for key in keys if key["kid"] == _kid(attacker.token)]
        pem = PyJWK(key).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        mint = TokenMint(self._issuer, self._audience, kid=key["kid"])
        aim = {"aid": victim.asset_id, "did": victim.registration.device_id}
        good = attacker.token.encode()
        own, other = attacker.asset_id, victim.asset_id

        def genuine(**extra: str) -> bytes:
            return register(self._issuer, access_token, attacker.registration, extra=extra).token.encode()

        forged: list[tuple[str, Reason, Callable[[], bytes]]] = [
            ("a token that ended", Reason.EXPIRED, lambda: genuine(validity="-120")),
            (
                "a token for another audience",
                Reason.AUDIENCE_MISMATCH,
                lambda: genuine(audience="https://elsewhere.example.com"),
            ),
            (
                "signed by a key nobody published",
                Reason.KEY_UNKNOWN,
                lambda: mint.sign(mint.claims(**aim), header=mint.header({"kid": "Stranger"})),
            ),
            (
                "signed by a stranger under the issuer's kid",
                Reason.SIGNATURE_INVALID,
                lambda: mint.mint(**aim),
            ),
            ("alg: none", Reason.ALG_NOT_ALLOWED, mint.alg_none),
            ("HS256 with the public key as secret", Reason.ALG_NOT_ALLOWED, lambda: mint.hmac(pem)),
            (
                "an ID token of the same issuer",
                Reason.NOT_ASSET_TOKEN,
                lambda: str(answer["id_token"]).encode(),
            ),
            ("no token at all: garbage", Reason.MALFORMED, lambda: b"correct horse battery staple"),
        ]
        attempts = [Attempt(name, reason, "CONNECT", other, forge()) for name, reason, forge in forged]
        attempts += [
            Attempt(
                "a good token, someone else's client id", Reason.CLIENT_ID_MISMATCH, "CONNECT", other, good
            ),
            Attempt(
                "publish into another asset's telemetry",
                Reason.TOPIC_DENIED,
                "PUBLISH",
                f"{own}:bad-1",
                good,
                f"assets/{other}/telemetry",
            ),
            Attempt(
                "publish under the id's form of 15 characters",
                Reason.TOPIC_ID_FORM,
                "PUBLISH",
                f"{own}:bad-2",
                good,
                f"assets/{own[:15]}/telemetry",
            ),
            Attempt(
                "subscribe to another asset's commands",
                Reason.TOPIC_DENIED,
                "SUBSCRIBE",
                f"{own}:bad-3",
                good,
                f"assets/{other}/commands/#",
            ),
            Attempt("subscribe to everything", Reason.TOPIC_DENIED, "SUBSCRIBE", f"{own}:bad-4", good, "#"),
        ]
        return attempts

    def _make(self, attempt: Attempt) -> Answer:
        with Line(self._broker, attempt.client_id, attempt.token) as line:
            connected = line.wait("CONNACK")
            if attempt.at == "CONNECT" or connected.is_failure:
                packet, code = "CONNACK", connected
            elif attempt.at == "PUBLISH":
                line.client.publish(attempt.topic, b'{"metrics":{"temperature":200}}', qos=1)
                packet, code = "PUBACK", line.wait("PUBACK")
            else:
                line.client.subscribe(attempt.topic, qos=1)
                packet, code = "SUBACK", line.wait("SUBACK")
        asked = {"CONNECT": "CONNACK", "PUBLISH": "PUBACK", "SUBSCRIBE": "SUBACK"}[attempt.at]
        refused = code.is_failure and packet == asked
        return Answer(attempt, packet, code.value, code.getName(), refused)


class Line:
    """One MQTT 5 connection whose acknowledgements can be waited for."""

    def __init__(self, broker: tuple[str, int], client_id: str, token: bytes) -> None:
        self._answers: dict[str, ReasonCode] = {}
        self._changed = threading.Condition()
        self._broker = broker
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self.client.username_pw_set("", token.decode("ascii"))
        self.client.on_connect = lambda _c, _u, _f, code, _p: self._note("CONNACK", code)
        self.client.on_publish = lambda _c, _u, _m, code, _p: self._note("PUBACK", code)
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: self._note("SUBACK", codes[0])

    def __enter__(self) -> Self:
        self.client.connect(*self._broker)
        self.client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def wait(self, packet: str) -> ReasonCode:
        """The code of that acknowledgement.

        Raises:
            TimeoutError: it did not come.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: packet in self._answers, _TIMEOUT_SECONDS):
                raise TimeoutError(f"the broker sent no {packet} within {_TIMEOUT_SECONDS:.0f} s")
            return self._answers[packet]

    def _note(self, packet: str, code: ReasonCode) -> None:
        with self._changed:
            self._answers[packet] = code
            self._changed.notify_all()


def _kid(token: str) -> str:
    header = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


def _get_json(issuer: str, path: str) -> dict[str, list[dict[str, str]]]:
    url = urlsplit(issuer)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", url.path + path)
        decoded = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return dict(decoded)
