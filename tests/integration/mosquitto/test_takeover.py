"""Whose session it is: what another's token, a chosen device id or a remembered token must not reach."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from authplugin.brokers.mosquitto.build import find_interpreter
from authplugin.testing import TokenMint
from tests.support.mosquitto import Mosquitto, running, scrape
from tests.support.mqtt import Closed
from tests.support.ports import free_port

from .conftest import (
    ASSET,
    DEVICE,
    OTHER,
    OTHER_SHORT,
    SERVICE,
    SHORT,
    Files,
    Gated,
    connect_until_ready,
    write_gate,
)

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])
ALMOST_OVER = 28


@pytest.fixture(scope="module")
def devices(gate_of: Gates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """A broker whose issuer lets device ids be client ids."""
    with gate_of(tmp_path_factory.mktemp("devices"), issuer="did_as_client_id = true") as gated:
        yield gated


@VERSIONS
@pytest.mark.parametrize("client_id", [SHORT, ASSET, SHORT + ":mine", ASSET + ":mine"])
def test_a_token_of_another_asset_disconnects_nobody(gated: Gated, client_id: str, version: int) -> None:
    token = gated.token(OTHER_SHORT)
    with gated.client(version) as mine:
        assert mine.connect(client_id, "", gated.token()) == 0
        reason = gated.refusal(lambda client: client.connect(client_id, "", token), version=version)
        assert reason == "client_id_mismatch"
        mine.ping()
        assert mine.publish(f"assets/{ASSET}/telemetry") == 0


@pytest.mark.parametrize("did", [SHORT, ASSET, ASSET + ":mine", SERVICE, "bridge-1"])
def test_a_device_id_chosen_like_anothers_client_id_takes_nothing_over(gated: Gated, did: str) -> None:
    # A device chooses its own id at registration: here it chose a session that it would like to have.
    token = gated.token(OTHER_SHORT, did=did)
    with gated.device(suffix=":mine") as mine, gated.service() as bridge:
        assert gated.refusal(lambda client: client.connect(did, "", token)) == "client_id_mismatch"
        mine.ping()
        bridge.ping()


@pytest.mark.parametrize("did", [SHORT, ASSET, ASSET + ":mine", OTHER + ":x", "a+b", "#", "a/b"])
def test_where_device_ids_are_client_ids_none_that_could_be_an_assets_is(devices: Gated, did: str) -> None:
    token = devices.token(OTHER_SHORT, did=did)
    with devices.device(suffix=":mine") as mine:
        with devices.client() as client:
            code = client.connect(did, "", token)
        # Its own asset's id with a suffix it may use in any case.
        assert (code == 0) == did.startswith(OTHER)
        mine.ping()
    with devices.client() as client:
        assert client.connect(DEVICE, "", devices.token()) == 0


def test_a_remembered_token_opens_no_other_client_id_user_name_or_asset(gated: Gated) -> None:
    token = gated.token()
    for _ in range(2):
        with gated.client() as client:
            assert client.connect(SHORT, "", token) == 0
    refusals = {
        gated.refusal(lambda client: client.connect(OTHER, "", token)),
        gated.refusal(lambda client: client.connect(SHORT, OTHER, token)),
        gated.refusal(lambda client: client.connect("bridge-1", "", token)),
    }
    assert refusals == {"client_id_mismatch", "username_mismatch"}


def test_a_remembered_token_is_refused_from_the_second_it_ends(gated: Gated) -> None:
    token = gated.token(exp=int(time.time()) - ALMOST_OVER)
    with gated.client() as client:
        assert client.connect(SHORT + ":short", "", token) == 0
    before = gated.decisions(reason="expired")
    end = time.monotonic() + 10
    while gated.decisions(reason="expired") == before:
        with gated.client() as client:
            client.connect(SHORT + ":short", "", token)
        assert time.monotonic() < end


def test_refused_attempts_on_a_live_sessions_client_id_change_nothing_about_it(gated: Gated) -> None:
    # The broker tells plugins of the end of connections that were never let in, too.
    ended = int(time.time()) - ALMOST_OVER
    token = gated.mint.expired()
    with gated.device(suffix=":live", exp=ended) as live:
        sessions = scrape(gated.metrics_port)["authplugin_sessions"]
        for _ in range(20):
            with gated.client() as client:
                assert client.connect(SHORT + ":live", "", token) == 0x87
        assert scrape(gated.metrics_port)["authplugin_sessions"] == sessions
        # Still known, so still ended with its token.
        assert live.wait_closed() == 0x98


@VERSIONS
@pytest.mark.parametrize(
    ("client_id", "username"),
    [(b"a\0b", b""), (SHORT.encode() + b"\0:x", b""), (SHORT.encode(), b"a\0b"), (b"\xff\xfe", b"")],
)
def test_nul_and_broken_text_in_client_id_or_user_name_end_the_connection_or_are_refused(
    gated: Gated, version: int, client_id: bytes, username: bytes
) -> None:
    with gated.client(version) as client:
        try:
            code = client.connect(client_id, username, gated.token())
        except Closed:
            return
        # In 3.1 the broker itself takes a broken user name for none: the token alone says who it is.
        assert code != 0 or (version == 3 and username)


@pytest.mark.parametrize("version", [3, 4])
def test_below_version_5_a_password_without_a_user_name_ends_the_connection(
    gated: Gated, version: int
) -> None:
    # 3.1.1 forbids it, so devices send an empty user name.
    with gated.client(version) as client, pytest.raises(Closed):
        client.connect(SHORT, None, gated.token())


@VERSIONS
def test_a_second_connect_on_one_connection_changes_no_identity(gated: Gated, version: int) -> None:
    with gated.client(version) as client:
        assert client.connect(SHORT + ":twice", "", gated.token()) == 0
        with pytest.raises(Closed):
            client.connect(OTHER, "", gated.token(OTHER_SHORT))


def test_an_asset_that_is_called_like_a_service_account_is_refused(files: Files, mint: TokenMint) -> None:
    keys = files.folder / "keys.json"
    keys.write_text(json.dumps(mint.jwks()))
    write_gate(files, mint, f'jwks_file = "{keys}"\nid_form = "opaque"', free_port())
    lines = Files(files.folder, files.plugin, find_interpreter()).stanza()
    with running(Mosquitto(files.folder, lines)) as broker:
        connect_until_ready(broker, "machine-1", mint.mint(aid="machine-1")).close()
        for username in ("", None):
            with broker.client(5) as client:
                assert client.connect(SERVICE, username, mint.mint(aid=SERVICE)) == 0x87
        broker.wait_for("asset_unsafe")
        for asset in ("a/b", "+", "#", "$SYS", "a:b", "a b", "%u"):
            with broker.client(5) as client:
                assert client.connect(asset, "", mint.mint(aid=asset)) == 0x87
