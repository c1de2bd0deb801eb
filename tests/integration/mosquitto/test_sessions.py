"""How sessions end and how they last: expiry, takeover, SIGHUP, restart."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from authplugin.jose.identity import suffix
from authplugin.testing import Behaviour
from tests.support.mosquitto import scrape
from tests.support.mqtt import Will

from .conftest import ASSET, DEVICE, OTHER, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
#: The leeway is 30 s: a token that ended this long ago has this much less of it left.
ALMOST_OVER = 28


def _wait_sessions(gated: Gated, count: int) -> None:
    end = time.monotonic() + 10
    while scrape(gated.metrics_port)["authplugin_sessions"] != count:
        assert time.monotonic() < end, scrape(gated.metrics_port)
        time.sleep(0.02)


def test_a_session_ends_when_its_token_does(gated: Gated) -> None:
    ended = int(time.time()) - ALMOST_OVER
    will = Will(f"assets/{ASSET}/status", b"expired")
    with gated.service() as bridge, gated.client(5) as five, gated.client(4) as four:
        bridge.subscribe(f"assets/{ASSET}/events/#", f"assets/{ASSET}/status")
        assert five.connect(SHORT + ":5", "", gated.token(exp=ended), will=will) == 0
        assert four.connect(SHORT + ":4", "", gated.token(exp=ended)) == 0
        with gated.device(suffix=":good") as good:
            assert five.publish(f"assets/{ASSET}/telemetry") == 0
            assert five.wait_closed() == 0x98
            assert four.wait_closed() is None
            # The right to speak ended with the token, so the will is not sent.
            assert good.publish(f"assets/{ASSET}/events/after", b"after") == 0
            message = next(m for m in iter(lambda: bridge.messages(1)[0], None) if not m.retain)
            assert message.payload == b"after"
    gated.broker.wait_for(f"disconnecting client '{SHORT}:5': expired")
    assert scrape(gated.metrics_port)['authplugin_sessions_ended_total{reason="expired"}'] == 2


def test_a_client_that_comes_back_takes_its_session_over_and_keeps_it(gated: Gated) -> None:
    with gated.device(suffix=":over") as first, gated.device(suffix=":over") as second:
        first.wait_closed()
        second.ping()
        gated.broker.reload()
        second.ping()
        assert second.publish(f"assets/{ASSET}/telemetry") == 0
        assert second.subscribe(f"assets/{ASSET}/commands/#") == [1]


def test_a_session_taken_over_by_a_longer_token_lives_on_when_the_first_one_ends(gated: Gated) -> None:
    ended = int(time.time()) - ALMOST_OVER
    with gated.device(suffix=":again", exp=ended) as first, gated.device(suffix=":again") as second:
        first.wait_closed()
        with gated.device(suffix=":witness", exp=ended) as witness:
            witness.wait_closed()
        second.ping()


def test_nobody_takes_over_a_session_with_another_assets_token(gated: Gated) -> None:
    with gated.device(suffix=":mine") as mine:
        token = gated.token("02iAB00000CdEfH")
        for client_id in (SHORT + ":mine", ASSET + ":mine"):
            reason = gated.refusal(lambda client, name=client_id: client.connect(name, "", token))  # type: ignore[misc]
            assert reason == "client_id_mismatch"
        mine.ping()


def test_one_token_holds_a_bounded_number_of_sessions_and_its_bare_asset_id_always_comes_in(
    gate_of: Gates, tmp_path: Path
) -> None:
    with gate_of(tmp_path) as gated, ExitStack() as stack:
        token = gated.token()

        def connect(client_id: str) -> int:
            return stack.enter_context(gated.client(5)).connect(client_id, "", token)

        assert [connect(f"{SHORT}:{n}") for n in range(20)] == [0] * 16 + [0x87] * 4
        assert gated.decisions(outcome="refused", reason="throttled") == 4
        gated.broker.wait_for("throttled .the asset has 16 sessions already")
        assert connect(f"{SHORT}:3") == 0  # taken over
        assert connect(SHORT) == 0
        gated.broker.reload()
        _wait_sessions(gated, 17)


def test_one_token_leaves_a_bounded_number_of_stored_sessions(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated:
        token = gated.token()

        def store(client_id: str) -> int:
            with gated.client(5) as client:
                code = client.connect(client_id, "", token, clean=False, expiry=86_400)
                if code == 0:
                    client.disconnect()
                    _wait_sessions(gated, 0)
                return code

        assert [store(f"{SHORT}:{n}") for n in range(102)] == [0] * 100 + [0x87] * 2
        gated.broker.wait_for("throttled .too many new client ids of the asset from there")
        assert [store(f"{SHORT}:99"), store(SHORT)] == [0, 0]


def test_a_connection_that_ends_leaves_no_session_behind(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated:
        _wait_sessions(gated, 0)
        with ExitStack() as stack:
            clients = [stack.enter_context(gated.device(f"02iAB000000{n:04d}")) for n in range(50)]
            _wait_sessions(gated, 50)
            for client in clients[:25]:
                client.disconnect()
            _wait_sessions(gated, 25)
        _wait_sessions(gated, 0)


def test_sighup_keeps_good_sessions_and_drops_bad_ones_while_the_issuer_is_away(
    gate_of: Gates, tmp_path: Path
) -> None:
    with gate_of(tmp_path, extra="\n[cache]\nttl_s = 1\n") as gated, ExitStack() as stack:
        clients = []
        for n in range(1000):
            short = f"02iAB000000{n // 10:04d}"
            client = stack.enter_context(gated.client(5))
            username = ("", short, short + suffix(short), f"device-{n}")[n % 4]
            token = gated.token(short, did=f"device-{n}")
            assert client.connect(f"{short}:{n}", username, token) == 0
            clients.append(client)
        asset = "02iAB0000000000"
        asset += suffix(asset)
        service = stack.enter_context(gated.service())
        _wait_sessions(gated, 1000)
        gated.keys.behaviour = Behaviour.HANG
        refused = gated.decisions(outcome="refused")
        before = len(gated.broker.log)
        gated.broker.reload()
        gated.broker.wait_for("Reloading config", after=before)
        for client in clients:
            client.ping()
        service.ping()
        assert clients[0].publish(f"assets/{asset}/telemetry") == 0
        assert clients[1].publish(f"assets/{OTHER}/telemetry") == 0x87
        _wait_sessions(gated, 1000)
        assert gated.decisions(outcome="refused") == refused + 1


def test_sighup_drops_a_session_whose_password_file_entry_is_gone(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated, gated.service() as service, gated.device() as device:
        (tmp_path / "passwords").write_text("")
        gated.broker.reload()
        service.wait_closed()
        # The gate says so, too: it would not start like this, so nobody is let in until it is right.
        gated.broker.wait_for("nobody comes in until this is right: .*password_file.*bridge")
        device.wait_closed()


def reloads(gated: Gated) -> tuple[float, float, bool]:
    """What the metrics say of configurations read anew: how many were bad, how many good, and the last."""
    seen = scrape(gated.metrics_port)
    count = {
        outcome: seen[f'authplugin_config_reloads_total{{outcome="{outcome}"}}']
        for outcome in ("bad", "good")
    }
    return count["bad"], count["good"], seen["authplugin_config_last_reload_successful"] == 1


def test_sighup_with_an_acl_file_that_opens_more_shuts_the_gate_until_it_is_right(
    gate_of: Gates, tmp_path: Path
) -> None:
    with gate_of(tmp_path, mosquitto="watch_s = 0") as gated, gated.device() as device:
        good = (tmp_path / "acl").read_text()
        (tmp_path / "acl").write_text(good + "pattern readwrite assets/#\n")
        gated.broker.reload()
        gated.broker.wait_for("nobody comes in until this is right: .*pattern readwrite assets/#")
        device.wait_closed()
        token = gated.token()
        assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "internal"
        assert reloads(gated) == (1, 0, False)
        (tmp_path / "acl").write_text(good)
        before = len(gated.broker.log)
        gated.broker.reload()
        gated.broker.wait_for("Reloading config", after=before)
        with gated.device() as again:
            again.ping()
        assert reloads(gated) == (1, 1, True)


def test_a_stored_session_gets_nothing_before_its_client_is_judged_again(
    gate_of: Gates, tmp_path: Path
) -> None:
    with gate_of(tmp_path) as gated:
        with gated.client() as client:
            assert client.connect(SHORT + ":kept", "", gated.token(), clean=False, expiry=3600) == 0
            assert client.subscribe(f"assets/{ASSET}/commands/#") == [1]
        gated.broker.stop()
        gated.broker.start()
        token = gated.mint.expired()
        deadline = time.monotonic() + 10
        while gated.decisions(reason="expired") == 0:
            with gated.client() as client:
                assert client.connect(SHORT + ":kept", "", token, clean=False, expiry=3600) == 0x87
            assert time.monotonic() < deadline
        with gated.client() as client:
            assert client.connect(SHORT + ":kept", "", gated.token(), clean=False, expiry=3600) == 0
            assert client.subscribe(f"assets/{OTHER}/commands/#") == [0x87]


def test_the_broker_ends_cleanly_and_at_once_with_clients_connected(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated, gated.device(), gated.device(suffix=":2"):
        assert gated.broker.stop() == 0


def test_the_device_id_is_no_client_id_unless_the_issuer_says_so(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated:
        token = gated.token()
        assert gated.refusal(lambda client: client.connect(DEVICE, "", token)) == "client_id_mismatch"
        gated.broker.stop()
        config = tmp_path / "gate.toml"
        allowed = config.read_text().replace(
            "[[service_accounts]]", "did_as_client_id = true\n[[service_accounts]]", 1
        )
        config.write_text(allowed)
        gated.broker.start()
        end = time.monotonic() + 10
        while True:
            with gated.client() as client:
                if client.connect(DEVICE, "", token) == 0:
                    break
            assert time.monotonic() < end, gated.broker.log[-2000:]


def test_descriptors_do_not_grow_with_refused_clients(gated: Gated) -> None:
    def count() -> int:
        return len(list(Path(f"/proc/{gated.broker.pid}/fd").iterdir()))

    token = gated.mint.expired()
    gated.refusal(lambda client: client.connect(SHORT, "", token))
    before = count()
    for _ in range(200):
        with gated.client() as client:
            client.connect(SHORT, "", token)
    end = time.monotonic() + 10
    while count() > before + 2:
        assert time.monotonic() < end
        time.sleep(0.02)
