"""Puts a `TokenSource` to work in a paho client, and in aiomqtt, which stands on paho.

Each connect takes the token of the hour. With the device's key the client proves that it holds it, by
MQTT 5 enhanced authentication (RFC 9431, method ``ace``), and a live connection goes on with the next
token by re-authentication. Paho 2.2 knows no AUTH packets: they are read and queued here, by three of
its private names, which are checked first. While an exchange lasts nothing else is sent: Mosquitto 2.0
ends a connection for that.
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
from authplugin.client.packets import (
    AUTH,
    CONNACK,
    CONNECT,
    CONTINUE,
    DISCONNECT,
    REAUTHENTICATE,
    SUCCESS,
    write_auth,
)
from authplugin.client.renewal import TokenSource

_COMMAND = AUTH << 4
#: What may be sent while an exchange lasts.
_PASSING = frozenset({_COMMAND, CONNECT << 4, DISCONNECT << 4})
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
        # What waits for the end of an exchange; None while there is none. Paho sends from any thread.
        self._held: list[_Waiting] | None = None
        self._sending = threading.RLock()

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
        """Send the next token on the live connection when there is one; whether it was sent.

        Call it now and then: for paho from any thread, for aiomqtt from the event loop's, after
        ``await asyncio.to_thread(tokens.current)``, since it blocks while the issuer is asked. Without a
        key it does nothing: such a token is renewed by connecting again, which paho does by itself when
        the gate ends the connection, and an aiomqtt client when its ``async with`` is left. Where the
        token has ended and the issuer gives no other, nothing is sent: the gate ends the connection, and
        whoever connects again hears why there is no token.
        """
        inner = _inner(client)
        if self._key is None or not inner.is_connected():
            return False
        try:
            fresh = self._tokens.current()
        except Exception:  # noqa: BLE001 - `fetch` raises what it likes, in a loop that reports all the same
            return False
        with self._sending:
            if self._held is not None or (self._sent is not None and fresh.token == self._sent.token):
                return False
            self._sent, self._held = fresh, []
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
            self._drop_held()
            self._held = []

    def _read_auth(self, client: paho.Client) -> None:
        """Have the client hand AUTH packets to `_answer`, and keep what must wait for their end."""
        handle, queue = client._packet_handle, client._packet_queue  # noqa: SLF001 - no public way in

        def handle_auth() -> MQTTErrorCode:
            packet = client._in_packet  # noqa: SLF001 - as above
            kind = packet["command"] >> 4
            if kind == AUTH:
                result = self._answer(client, bytes(packet["packet"]))
                ends = self._succeeded(bytes(packet["packet"]))
            else:
                result = handle()
                ends = kind == CONNACK and result == MQTTErrorCode.MQTT_ERR_SUCCESS
            if ends:
                with self._sending:
                    held, self._held = self._held or [], None
                    for waiting in held:
                        queue(*waiting)
            return result

        def queue_or_hold(
            command: int,
            packet: bytes | bytearray,
            mid: int,
            qos: int,
            info: paho.MQTTMessageInfo | None = None,
        ) -> MQTTErrorCode:
            with self._sending:
                if self._held is None or command & 0xF0 in _PASSING:
                    return queue(command, packet, mid, qos, info)
                self._held.append((command, packet, mid, qos, info))
            return MQTTErrorCode.MQTT_ERR_SUCCESS

        client._packet_handle = handle_auth  # type: ignore[method-assign]  # noqa: SLF001 - as above
        client._packet_queue = queue_or_hold  # type: ignore[method-assign]  # noqa: SLF001 - as above

    @staticmethod
    def _succeeded(body: bytes) -> bool:
        return not body or body[0] == SUCCESS

    def _drop_held(self) -> None:
        """The connection is gone: who waits for a message of QoS 0 is told, all others are sent anew."""
        with self._sending:
            held, self._held = self._held or [], None
        for _, _, _, qos, info in held:
            if info is not None and qos == 0:
                info.rc = MQTTErrorCode.MQTT_ERR_CONN_LOST
                info._set_as_published()  # noqa: SLF001 - as paho does with what it had queued

    def _answer(self, client: paho.Client, body: bytes) -> MQTTErrorCode:
        if not body or body[0] != CONTINUE:
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


_Waiting = tuple[int, bytes | bytearray, int, int, paho.MQTTMessageInfo | None]
"""Arguments of paho's ``_packet_queue``."""


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
