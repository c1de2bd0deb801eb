"""Puts a `TokenSource` to work in a paho client, and in aiomqtt, which stands on paho.

Each connect takes the token of the hour. With the device's key the client proves that it holds it, by
MQTT 5 enhanced authentication (RFC 9431, method ``ace``), and a live connection goes on with the next
token by re-authentication. Paho 2.2 knows no AUTH packets: they are read and queued here, by three of
its private names, which are checked first.
"""

import os
import threading
from collections.abc import Callable

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from authplugin.ace import METHOD, NONCE_BYTES, parse_challenge, signed_text, write_proof, write_token
from authplugin.client.credentials import Credentials
from authplugin.client.key import DeviceKey, public_jwk, sign
from authplugin.client.login import Login
from authplugin.client.packets import AUTH, CONTINUE, REAUTHENTICATE, SUCCESS, write_auth
from authplugin.client.renewal import TokenSource

_COMMAND = AUTH << 4
_NEEDED = ("_packet_handle", "_packet_queue", "_in_packet")


def answer_challenge(
    challenge: bytes, credentials: Credentials, key: DeviceKey, *, nonce: Callable[[int], bytes] = os.urandom
) -> bytes:
    """The Authentication Data that answers the broker's (RFC 9431 §2.2.4.2).

    Args:
        challenge: Authentication Data of the broker's AUTH.
        credentials: of the token that was sent.
        key: the one the token is bound to.
        nonce: that many fresh random bytes.

    Raises:
        ValueError: the challenge is not 8 bytes long.
    """
    own = nonce(NONCE_BYTES)
    signature = sign(key, signed_text(parse_challenge(challenge), own))
    return write_proof(own, signature, public_jwk(key) if credentials.shows_key else None)


class Authenticator:
    """Gives one client its token at each connect, and renews it on a live connection.

    Attributes:
        properties: of CONNECT: give them to ``connect(properties=...)`` of paho, or to aiomqtt's
            constructor. Empty without a key.

    Args:
        tokens: where the token comes from.
        key: the device's, when the token is bound to one and the gate is to see that.
    """

    def __init__(self, tokens: TokenSource, key: DeviceKey | None = None) -> None:
        self.properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's own
        self._tokens = tokens
        self._key = key
        # The token that was sent last: a challenge is for that one.
        self._sent: Credentials | None = None
        self._pending = threading.Lock()

    def attach(self, client: object) -> None:
        """Attach to a paho client, or to an aiomqtt client, before it connects.

        Raises:
            TypeError: it is neither, or of a version whose inner names are others.
        """
        inner = _inner(client)
        missing = [name for name in _NEEDED if not hasattr(inner, name)]
        if self._key is not None and missing:
            raise TypeError(
                f"this paho has no {missing[0]}; enhanced authentication was written for paho 2.2"
            )
        inner.on_pre_connect = self._prepare
        if self._key is not None:
            self._read_auth(inner)

    def renew_when_due(self, client: object) -> bool:
        """Send the next token on the live connection when it is due; whether it was sent.

        Call it now and then, in paho's case from any thread. It blocks while the issuer is asked. Without
        a key it does nothing: such a token is renewed by connecting again, which paho does by itself
        when the gate ends the connection, and an aiomqtt client when its ``async with`` is left.
        """
        inner = _inner(client)
        if self._key is None or self._tokens.wait_seconds() > 0 or not inner.is_connected():
            return False
        with self._pending:
            fresh = self._tokens.current()
            if self._sent is not None and fresh.token == self._sent.token:
                return False  # the issuer had none; the next try comes later
            self._sent = fresh
            _queue(inner, write_auth(REAUTHENTICATE, METHOD, write_token(fresh.token.encode())))
        return True

    def _prepare(self, client: paho.Client, _: object) -> None:
        """Called by paho before each connect."""
        try:
            credentials = self._tokens.current()
        except Exception as error:
            # Paho takes an OSError for a connection that failed, and tries again later.
            raise ConnectionError(f"no token to connect with: {error}") from error
        self._sent = credentials
        if self._key is None:
            login = Login.of(credentials)
            client.username_pw_set(login.username, login.password)
        else:
            client.username_pw_set(None)
            self.properties.AuthenticationMethod = METHOD
            self.properties.AuthenticationData = write_token(credentials.token.encode())

    def _read_auth(self, client: paho.Client) -> None:
        """Have the client hand AUTH packets to `_answer` instead of ending the connection."""
        handle = client._packet_handle  # noqa: SLF001 - paho has no public way in

        def handle_auth() -> MQTTErrorCode:
            packet = client._in_packet  # noqa: SLF001 - as above
            if packet["command"] & 0xF0 != _COMMAND:
                return handle()
            return self._answer(client, bytes(packet["packet"]))

        client._packet_handle = handle_auth  # type: ignore[method-assign]  # noqa: SLF001 - as above

    def _answer(self, client: paho.Client, body: bytes) -> MQTTErrorCode:
        reason = body[0] if body else SUCCESS
        if reason != CONTINUE:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        properties = Properties(PacketTypes.AUTH)  # type: ignore[no-untyped-call] # paho's own
        try:
            properties.unpack(body[1:])  # type: ignore[no-untyped-call] # paho's own
            challenge = getattr(properties, "AuthenticationData", b"")
            if self._key is None or self._sent is None:
                return MQTTErrorCode.MQTT_ERR_PROTOCOL
            answer = answer_challenge(challenge, self._sent, self._key)
        except (MQTTException, ValueError):
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return _queue(client, write_auth(CONTINUE, METHOD, answer))


def _inner(client: object) -> paho.Client:
    """The paho client that does the work.

    Raises:
        TypeError: there is none.
    """
    inner = getattr(client, "_client", client)
    if not isinstance(inner, paho.Client):
        raise TypeError(f"{type(client).__name__} is not a client of paho or aiomqtt")
    return inner


def _queue(client: paho.Client, packet: bytes) -> MQTTErrorCode:
    return client._packet_queue(_COMMAND, packet, 0, 0)  # noqa: SLF001 - paho has no public way in
