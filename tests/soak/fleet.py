"""A thousand devices and what they do all day: come, publish, renew, expire, misbehave, drop out.

One thread visits them in turn. Each device is what its number says, and does one thing a visit, so that
every kind of end and beginning happens all the time.
"""

import contextlib
import os
import random
import time
from collections import Counter

from authplugin.ace import write_proof, write_token
from authplugin.client.key import make_key, public_jwk, sign
from authplugin.jose.identity import suffix
from authplugin.testing import TokenMint
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt import (
    AUTH,
    CONNACK,
    CONTINUE_AUTHENTICATION,
    RE_AUTHENTICATE,
    Client,
    Closed,
    Packet,
    Will,
    authentication_data,
)

#: The leeway of the issuer is 30 s: a token that ended this long ago lasts another two.
_ALMOST_OVER = 28
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_VISITS = 8


class Device:
    """One device.

    Args:
        number: from 0; chooses asset and habit.
        mint: of its issuer.
        broker: where it connects.
        done: counts what it did.
    """

    def __init__(self, number: int, mint: TokenMint, broker: Mosquitto, done: Counter[str]) -> None:
        self._draw = random.Random(number)
        self._short = "02iC" + "".join(self._draw.choices(_LETTERS, k=11))
        self._asset = self._short + suffix(self._short)
        self._did = f"device-{number}"
        self._habit = _HABITS[number % len(_HABITS)]
        self._mint, self._broker, self._done = mint, broker, done
        self._key = make_key("ES256")
        self._client: Client | None = None
        self._subscribed: Client | None = None
        self._token = b""
        self._visits = number % _VISITS

    def visit(self) -> None:
        """Do the next thing."""
        self._visits += 1
        try:
            getattr(self, self._habit)()
        except (Closed, TimeoutError, OSError) as end:
            self._done[f"ended: {type(end).__name__}"] += 1
            self.leave(politely=False)

    def leave(self, *, politely: bool) -> None:
        """End its connection, if it has one."""
        client, self._client = self._client, None
        if client is not None:
            if politely:
                client.disconnect()
            else:
                client.close()
            self._done["left" if politely else "dropped out"] += 1

    def steady(self) -> None:
        """Publish, and come back with a new token now and then."""
        if self._client is None:
            self._come(self._fresh(), Will(f"assets/{self._asset}/status", b"gone", retain=True))
        self._work()
        if self._visits % _VISITS == 0:
            self.leave(politely=self._draw.random() < 0.5)

    def returning(self) -> None:
        """Come and go each time, with a token that the gate remembers."""
        if self._visits % _VISITS == 0 or not self._token:
            self._token = self._fresh()
        self._come(self._token)
        self._work()
        self.leave(politely=True)

    def expiring(self) -> None:
        """Come with a token that is about to end, and wait for it."""
        if self._client is None:
            self._come(self._fresh(exp=int(time.time()) - _ALMOST_OVER))
            return
        with contextlib.suppress(TimeoutError):
            self._client.expect(CONNACK, 0.001)

    def renewing(self) -> None:
        """Prove its key, and renew on the live connection."""
        token = write_token(self._fresh(cnf={"jwk": public_jwk(self._key)}))
        if self._client is None:
            self._client = self._broker.client(5)
            asked = self._client.begin(self._asset, "ace", token)
        else:
            asked = self._client.authenticate(RE_AUTHENTICATE, "ace", token)
        if self._visits % _VISITS == 0:
            self.leave(politely=False)  # half an exchange
            return
        answer = self._answer(asked)
        self._done["renewed" if answer.kind == AUTH else "proved"] += 1
        self._work()

    def hostile(self) -> None:
        """Be refused in every way, and publish where it may not."""
        bad = (
            self._mint.expired,
            self._mint.wrong_audience,
            self._mint.alg_none,
            self._mint.unknown_issuer,
            lambda: b"x" * 65535,
            lambda: self._fresh(aid=self._short[:-1] + "+"),
        )[self._visits % 6]()
        with self._broker.client(self._draw.choice((4, 5))) as client:
            if client.connect(self._asset, "", bad) == 0:
                raise AssertionError("a bad token came in")
            self._done["refused"] += 1
        if self._client is None:
            self._come(self._fresh())
        if self._client is not None and self._client.publish("assets/another/telemetry") != 0x87:
            raise AssertionError("a foreign topic was taken")
        self._done["refused a topic"] += 1

    def contested(self) -> None:
        """Be taken over by a second connection of its own."""
        first, self._client = self._client, None
        self._come(self._fresh())
        if first is not None:
            first.wait_closed()
            first.close()
            self._done["taken over"] += 1
        self._work()

    def _fresh(self, **changes: object) -> bytes:
        return self._mint.mint(**({"aid": self._short, "did": self._did} | changes))

    def _come(self, token: bytes, will: Will | None = None) -> None:
        self._client = self._broker.client(5)
        code = self._client.connect(self._asset, "", token, will=will, keepalive=600)
        self._done["connected" if code == 0 else f"refused with {code:#x}"] += 1

    def _answer(self, asked: Packet) -> Packet:
        if self._client is None or asked.kind != AUTH:
            raise Closed
        nonce = os.urandom(8)
        signature = sign(self._key, authentication_data(asked.body) + nonce)
        return self._client.authenticate(CONTINUE_AUTHENTICATION, "ace", write_proof(nonce, signature))

    def _work(self) -> None:
        if self._client is None:
            return
        self._client.publish(f"assets/{self._asset}/telemetry", b'{"metrics":{"t":1}}', qos=self._visits % 3)
        # Once a connection, as devices do: 2.0.11 loses 64 bytes when a filter is subscribed to again.
        if self._subscribed is not self._client:
            self._subscribed = self._client
            self._client.subscribe(f"assets/{self._asset}/commands/#", "#")
        self._done["published"] += 1


_HABITS = ("steady", "returning", "steady", "expiring", "renewing", "steady", "hostile", "contested")
