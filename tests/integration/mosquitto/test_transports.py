"""The same gate behind TCP, TLS and WebSocket: connect, takeover, expiry, kick, exchange, shutdown."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from authplugin.ace import write_proof, write_token
from authplugin.client.key import DeviceKey, make_key, public_jwk, sign
from tests.support.links import Transport
from tests.support.mosquitto import scrape
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

from .conftest import ASSET, OTHER, OTHER_SHORT, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
TRANSPORTS = pytest.mark.parametrize("transport", list(Transport))
VERSIONS = pytest.mark.parametrize("version", [4, 5])
ALMOST_OVER = 28


@TRANSPORTS
@VERSIONS
def test_a_good_token_comes_in_and_stays_on_its_topics(
    gated: Gated, transport: Transport, version: int
) -> None:
    with gated.service() as bridge, gated.device(version=version, transport=transport) as client:
        bridge.subscribe("assets/#")
        client.publish(f"assets/{OTHER}/events/x", b"forged")
        assert client.publish(f"assets/{ASSET}/events/x", b"mine") == 0
        fresh = next(message for message in iter(lambda: bridge.messages(1)[0], None) if not message.retain)
        assert (fresh.topic, fresh.payload) == (f"assets/{ASSET}/events/x", b"mine")
        assert client.subscribe(f"assets/{ASSET}/commands/#", "#") == [1, 0x87 if version == 5 else 0x80]


@TRANSPORTS
@VERSIONS
@pytest.mark.parametrize("bad", ["expired", "forged", "wrong_audience", "alg_none"])
def test_a_bad_token_is_refused(gated: Gated, transport: Transport, version: int, bad: str) -> None:
    token = getattr(gated.mint, bad)()
    reason = gated.refusal(
        lambda client: client.connect(SHORT, "", token), version=version, transport=transport
    )
    assert reason in {"expired", "signature_invalid", "audience_mismatch", "alg_not_allowed"}


@TRANSPORTS
@pytest.mark.parametrize("password", [None, b"", b"x" * 65535, b"\0\0\0", b"\xff\xfe"])
def test_a_password_that_is_no_token_is_refused(
    gated: Gated, transport: Transport, password: bytes | None
) -> None:
    reason = gated.refusal(lambda client: client.connect(SHORT, "", password), transport=transport)
    assert reason in {"malformed", "too_long"}


@TRANSPORTS
def test_nobody_takes_over_a_session_with_another_assets_token(gated: Gated, transport: Transport) -> None:
    with gated.device(suffix=":mine", transport=transport) as mine:
        token = gated.token(OTHER_SHORT)
        reason = gated.refusal(lambda client: client.connect(SHORT + ":mine", "", token), transport=transport)
        assert reason == "client_id_mismatch"
        mine.ping()


@TRANSPORTS
@pytest.mark.parametrize("other", list(Transport))
def test_a_device_takes_its_own_session_over_from_any_listener(
    gated: Gated, transport: Transport, other: Transport
) -> None:
    suffix = f":{transport}-{other}"
    with (
        gated.device(suffix=suffix, transport=transport) as first,
        gated.device(suffix=suffix, transport=other) as second,
    ):
        first.wait_closed()
        second.ping()
        assert second.publish(f"assets/{ASSET}/telemetry") == 0


@TRANSPORTS
@VERSIONS
def test_a_session_ends_with_its_token_and_its_will_is_not_sent(
    gated: Gated, transport: Transport, version: int
) -> None:
    ended = int(time.time()) - ALMOST_OVER
    will = Will(f"assets/{ASSET}/events/will", b"expired")
    with gated.service() as bridge, gated.client(version, transport) as client:
        bridge.subscribe(f"assets/{ASSET}/events/#")
        assert client.connect(SHORT + ":ends", "", gated.token(exp=ended), will=will) == 0
        assert client.wait_closed() in ({0x98, None} if version == 5 else {None})
        with gated.device(suffix=":good") as good:
            good.publish(f"assets/{ASSET}/events/after", b"after")
        assert bridge.messages(1)[0].payload == b"after"


@pytest.fixture(scope="module")
def revoking(gate_of: Gates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """A broker with a file of revocations, and with little patience for half an exchange."""
    folder = tmp_path_factory.mktemp("revoking")
    (folder / "revoked.jsonl").write_text("# none\n")
    with gate_of(
        folder, extra='\n[revocation]\nfile = "revoked.jsonl"\n', mosquitto="exchange_s = 1.0"
    ) as gated:
        yield gated


@TRANSPORTS
@VERSIONS
def test_a_revoked_session_is_disconnected_its_will_unsent_and_its_token_refused(
    revoking: Gated, transport: Transport, version: int
) -> None:
    did = f"lost-{transport}-{version}"
    token = revoking.token(did=did)
    will = Will(f"assets/{ASSET}/events/will", b"revoked")
    with (
        revoking.service() as bridge,
        revoking.device(suffix=":other", transport=transport) as other,
        revoking.client(version, transport) as client,
    ):
        bridge.subscribe(f"assets/{ASSET}/events/#")
        assert client.connect(SHORT + ":lost", "", token, will=will) == 0
        with (revoking.broker.folder / "revoked.jsonl").open("a") as file:
            file.write(json.dumps({"device": did}) + "\n")
        client.wait_closed()
        assert other.publish(f"assets/{ASSET}/events/after", b"after") == 0
        assert bridge.messages(1)[0].payload == b"after"
    reason = revoking.refusal(
        lambda client: client.connect(SHORT + ":lost", "", token), version=version, transport=transport
    )
    assert reason == "revoked"


class Exchange:
    """A device's side of the RFC 9431 exchange on one connection."""

    def __init__(self, gated: Gated, client: Client, suffix: str) -> None:
        self._client = client
        self._key = make_key("ES256")
        self._token = gated.token(cnf={"jwk": public_jwk(self._key)})
        self._client_id = SHORT + suffix

    def begin(self) -> Packet:
        return self._client.begin(self._client_id, "ace", write_token(self._token), keepalive=0)

    def answer(self, asked: Packet, key: DeviceKey | None = None) -> Packet:
        nonce = os.urandom(8)
        signature = sign(key or self._key, authentication_data(asked.body) + nonce)
        return self._client.authenticate(CONTINUE_AUTHENTICATION, "ace", write_proof(nonce, signature))

    def renew(self) -> Packet:
        return self._client.authenticate(RE_AUTHENTICATE, "ace", write_token(self._token))


@TRANSPORTS
def test_an_exchange_lets_the_holder_of_the_key_in_and_renews(gated: Gated, transport: Transport) -> None:
    with gated.client(5, transport) as client:
        device = Exchange(gated, client, ":proof")
        asked = device.begin()
        assert (asked.kind, asked.body[0]) == (AUTH, CONTINUE_AUTHENTICATION)
        done = device.answer(asked)
        assert (done.kind, done.body[1]) == (CONNACK, 0)
        again = device.renew()
        assert (again.kind, again.body[0]) == (AUTH, CONTINUE_AUTHENTICATION)
        renewed = device.answer(again)
        assert (renewed.kind, renewed.body[0] if renewed.body else 0) == (AUTH, 0)
        assert client.publish(f"assets/{ASSET}/telemetry") == 0


@TRANSPORTS
def test_an_exchange_refuses_another_key(gated: Gated, transport: Transport) -> None:
    with gated.client(5, transport) as client:
        device = Exchange(gated, client, ":proof")
        done = device.answer(device.begin(), make_key("ES256"))
        assert (done.kind, done.body[1]) == (CONNACK, 0x87)


@TRANSPORTS
def test_half_an_exchange_is_cut_whatever_its_keepalive(revoking: Gated, transport: Transport) -> None:
    with revoking.client(5, transport) as client, revoking.device(suffix=":live") as live:
        assert Exchange(revoking, client, ":half").begin().kind == AUTH
        client.wait_closed()
        live.ping()


@TRANSPORTS
def test_a_connection_that_ends_leaves_no_session_behind(
    gate_of: Gates, tmp_path: Path, transport: Transport
) -> None:
    def wait_sessions(count: int) -> None:
        end = time.monotonic() + 10
        while scrape(gated.metrics_port)["authplugin_sessions"] != count:
            assert time.monotonic() < end, scrape(gated.metrics_port)
            time.sleep(0.02)

    with gate_of(tmp_path) as gated:
        wait_sessions(0)
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(gated.device(suffix=f":{n}", transport=transport)) for n in range(10)
            ]
            wait_sessions(10)
            clients[0].disconnect()
            wait_sessions(9)
        wait_sessions(0)


@TRANSPORTS
def test_sighup_keeps_a_good_session(gated: Gated, transport: Transport) -> None:
    with gated.device(suffix=":hup", transport=transport) as client:
        before = len(gated.broker.log)
        gated.broker.reload()
        gated.broker.wait_for("Reloading config", after=before)
        client.ping()
        assert client.publish(f"assets/{ASSET}/telemetry") == 0


@TRANSPORTS
def test_the_broker_ends_cleanly_with_clients_connected(
    gate_of: Gates, tmp_path: Path, transport: Transport
) -> None:
    with (
        gate_of(tmp_path) as gated,
        gated.device(transport=transport) as one,
        gated.device(suffix=":2", transport=transport),
    ):
        assert gated.broker.stop() == 0
        one.wait_closed()


@TRANSPORTS
def test_publishing_before_connecting_closes_the_connection(gated: Gated, transport: Transport) -> None:
    with gated.client(4, transport) as client:
        client.send(b"\x30\x05\0\x03a/bx")
        with pytest.raises(Closed):
            client.receive()
