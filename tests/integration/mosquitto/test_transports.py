"""The same gate behind TCP, TLS and WebSocket: connect, takeover, expiry, kick, exchange, shutdown."""

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.links import Transport
from tests.support.mosquitto import scrape
from tests.support.mqtt import Closed, Will

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
