"""The shipped device side in real clients against the real gate: proof, renewal, reconnection."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiomqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from authplugin.client import (
    Credentials,
    DeviceKey,
    Login,
    TokenSource,
    make_key,
    read_credentials,
)
from authplugin.client.key import public_jwk
from authplugin.client.paho import Authenticator
from authplugin.jose.jwk import thumbprint
from tests.integration.mosquitto.conftest import ASSET, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

SECONDS = 20.0
ALMOST_OVER = 28
"""Seconds after `exp` at which a token still opens: the gate's leeway of 30, less two."""


class Press:
    """A device: its key, its tokens, and a paho client that waits for what it wants to see."""

    def __init__(self, gated: Gated, *, key: DeviceKey | None = None, suffix: str = "") -> None:
        self.gated = gated
        self.key = key
        self.cnf: dict[str, object] | None = {"jwk": public_jwk(key)} if key is not None else None
        self.claims: dict[str, object] = {}
        self.fetched: list[str] = []
        self.tokens = TokenSource(self.fetch)
        self.authenticator = Authenticator(self.tokens, key)
        self.codes: list[int] = []
        self.changed = threading.Condition()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=ASSET + suffix,
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        self.client.reconnect_delay_set(1, 1)
        self.authenticator.attach(self.client)
        self.client.on_connect = lambda _c, _u, _f, code, _p: self._note(code.value)

    def fetch(self) -> Credentials:
        record = f"05bAB{len(self.fetched):010d}"  # no two tokens are the same
        token = self.gated.token(SHORT, cnf=self.cnf, id=record, **self.claims).decode()
        self.fetched.append(token)
        return read_credentials(token)

    def _note(self, code: int) -> None:
        with self.changed:
            self.codes.append(code)
            self.changed.notify_all()

    def connected(self, times: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.codes) >= times, SECONDS), self.gated.broker.log[
                -2000:
            ]

    def publish(self) -> None:
        self.client.publish(Login.of(self.tokens.current()).topics.telemetry(), "{}", qos=1).wait_for_publish(
            SECONDS
        )


@contextmanager
def running(press: Press) -> Iterator[Press]:
    press.client.connect("127.0.0.1", press.gated.broker.port, properties=press.authenticator.properties)
    press.client.loop_start()
    try:
        press.connected(1)
        yield press
    finally:
        press.client.disconnect()
        press.client.loop_stop()


def until(condition: Callable[[], bool], gated: Gated) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, gated.broker.log[-2000:]
        time.sleep(0.02)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_paho_proves_its_key_and_publishes(gated: Gated, algorithm: str) -> None:
    with running(Press(gated, key=make_key(algorithm))) as press:
        assert press.codes == [0]
        press.publish()


def test_a_key_known_by_its_thumbprint_is_shown(gated: Gated) -> None:
    key = make_key()
    press = Press(gated, key=key)
    press.cnf = {"jkt": thumbprint(public_jwk(key))}
    with running(press):
        assert press.codes == [0]
        press.publish()


def test_a_stranger_with_the_token_but_not_the_key_stays_outside(gated: Gated) -> None:
    press = Press(gated, key=make_key())
    press.cnf = {"jwk": public_jwk(make_key())}
    with running(press):
        assert press.codes[0] == 0x87


def test_paho_goes_on_with_the_next_token_without_a_new_connection(gated: Gated) -> None:
    press = Press(gated, key=make_key(), suffix=":renews")
    press.claims["exp"] = int(time.time()) - ALMOST_OVER + 2
    with running(press):
        assert press.codes == [0]
        press.claims.clear()
        assert press.authenticator.renew_when_due(press.client)
        press.publish()  # waits for the exchange: the broker would end the connection for it
        assert len(press.fetched) == 2
        assert not press.authenticator.renew_when_due(press.client)
        # Beyond the end of the first token:
        witness = Press(gated, key=make_key(), suffix=":lapses")
        witness.claims["exp"] = int(time.time()) - ALMOST_OVER + 2
        with running(witness):
            witness.claims.clear()
            witness.connected(2)
        press.publish()
        assert press.codes == [0]


def test_without_a_key_paho_comes_back_by_itself_with_the_next_token(gated: Gated) -> None:
    press = Press(gated, suffix=":bearer")
    press.claims["exp"] = int(time.time()) - ALMOST_OVER + 2
    with running(press):
        assert press.codes == [0]
        assert not press.authenticator.renew_when_due(press.client)
        press.claims.clear()
        press.connected(2)
        assert press.codes == [0, 0]
        assert len(press.fetched) == 2
        press.publish()


def test_an_issuer_that_is_away_keeps_paho_trying(gated: Gated) -> None:
    press = Press(gated, suffix=":away")
    fetch, failures = press.fetch, iter(range(1))

    def fail_once() -> Credentials:
        if next(failures, None) is not None:
            raise RuntimeError("the issuer is away")
        return fetch()

    tokens = TokenSource(fail_once)
    press.authenticator = Authenticator(tokens)
    press.authenticator.attach(press.client)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="away"):
            press.client.connect("127.0.0.1", gated.broker.port)
    time.sleep(tokens.wait_seconds())
    with running(press):
        assert press.codes == [0]


def test_a_loop_that_renews_goes_on_when_the_token_has_ended_and_the_issuer_is_away(gated: Gated) -> None:
    press = Press(gated, key=make_key(), suffix=":ended")
    press.claims["exp"] = int(time.time()) - ALMOST_OVER + 4
    fetch, asked = press.fetch, itertools.count()

    def fetch_once() -> Credentials:
        if next(asked):
            raise RuntimeError("the issuer is away")
        return fetch()

    tokens = TokenSource(fetch_once)
    press.authenticator = Authenticator(tokens, press.key)
    press.authenticator.attach(press.client)
    with running(press):
        assert press.codes == [0]
        for _ in range(20):
            assert not press.authenticator.renew_when_due(press.client)
            press.client.publish(f"assets/{ASSET}/telemetry", "{}", qos=1).wait_for_publish(SECONDS)
        assert next(asked) == 2


def test_aiomqtt_proves_its_key_and_goes_on_with_the_next_token(gated: Gated) -> None:
    key = make_key()
    press = Press(gated, key=key)

    async def live() -> None:
        authenticator = Authenticator(press.tokens, key)
        client = aiomqtt.Client(
            "127.0.0.1",
            gated.broker.port,
            identifier=f"{ASSET}:async",
            protocol=aiomqtt.ProtocolVersion.V5,
            properties=authenticator.properties,
        )
        authenticator.attach(client)
        async with client:
            await client.publish(f"assets/{ASSET}/telemetry", b"{}", qos=1)
            assert not authenticator.renew_when_due(client)
            press.tokens.drop()
            await asyncio.to_thread(press.tokens.current)
            assert authenticator.renew_when_due(client)
            await client.publish(f"assets/{ASSET}/telemetry", b"{}", qos=1)

    asyncio.run(live())
    assert len(press.fetched) == 2


def test_what_is_no_client_is_refused_when_attached(gated: Gated) -> None:
    with pytest.raises(TypeError, match="is not a client of paho or aiomqtt"):
        Press(gated).authenticator.attach(object())
