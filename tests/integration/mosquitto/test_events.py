"""What the gate saw goes out as messages: to service accounts that may read it, never to or from devices."""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from authplugin.events import TAKE
from tests.support.mosquitto import scrape
from tests.support.mqtt import Client

from .conftest import ASSET, OTHER, OTHER_SHORT, SERVICE, SERVICE_PASSWORD, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
NOT_AUTHORIZED = 0x87
STORM = 400
READER = '\n[[service_accounts]]\nname = "watch"\nsubscribe = ["assetgate/auth/#"]\n'


def watcher(gated: Gated) -> Client:
    """The service account that may read the events, subscribed; the bridge's password serves for both."""
    client = gated.client()
    assert client.connect("watch-1", "watch", SERVICE_PASSWORD) == 0, gated.broker.log[-2000:]
    assert client.subscribe("assetgate/auth/#") == [1]
    return client


def event(client: Client, kind: str, client_id: str = "") -> dict[str, Any]:
    """The next event of a type, of one client's where a client id is given; others are passed over."""
    while True:
        message = client.messages(1)[0]
        found: dict[str, Any] = json.loads(message.payload)
        assert not message.retain
        assert message.topic == f"assetgate/auth/{found.get('subject', '-')}"
        right = not client_id or found["data"].get("clientId") == client_id
        if found["type"] == f"assetgate.auth.{kind}.v1" and right:
            return found


@pytest.fixture(scope="module")
def told(gate_of: Gates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """A broker with a second service account, which reads events."""
    folder = tmp_path_factory.mktemp("told")
    with gate_of(folder, extra=READER) as gated:
        yield gated


def test_a_session_and_a_refusal_are_told_to_who_may_read_them(told: Gated) -> None:
    with watcher(told) as reader:
        with told.device(suffix=":seen"):
            assert event(reader, "session_started", SHORT + ":seen")["subject"] == ASSET
        assert event(reader, "session_ended", SHORT + ":seen")["subject"] == ASSET
        with told.client() as client:
            assert client.connect(SHORT, "", told.mint.wrong_audience()) == NOT_AUTHORIZED
        denied = event(reader, "denied")
        assert "subject" not in denied
        assert denied["data"]["reason"] == "audience_mismatch"


def test_a_device_neither_reads_nor_writes_events(told: Gated) -> None:
    with told.device(suffix=":nosy") as device, watcher(told) as reader:
        for topic_filter in ("assetgate/auth/#", f"assetgate/auth/{ASSET}", "assetgate/#", "#", "+/auth/+"):
            assert device.subscribe(topic_filter) == [NOT_AUTHORIZED]
        assert device.publish(f"assetgate/auth/{ASSET}", b"{}") == NOT_AUTHORIZED
        assert device.publish("assetgate/auth/-", b"{}", qos=0) is None
        with told.device(suffix=":next"):
            # Had the forgery gone through, it would come before this, and be no JSON of ours.
            assert event(reader, "session_started", SHORT + ":next")["subject"] == ASSET


def test_a_service_account_that_was_not_given_them_gets_none(told: Gated) -> None:
    with told.client() as bridge:
        assert bridge.connect("bridge-7", SERVICE, SERVICE_PASSWORD) == 0
        bridge.subscribe("assetgate/auth/#", "assetgate/heartbeat")
        with watcher(told) as reader, told.device(suffix=":once"):
            event(reader, "session_started", SHORT + ":once")
        assert bridge.publish("assetgate/heartbeat", b"beat") == 0
        assert bridge.messages(1)[0].payload == b"beat"


def test_events_wait_for_a_reader_with_a_session_of_its_own(told: Gated) -> None:
    with told.client() as reader:
        assert reader.connect("watch-2", "watch", SERVICE_PASSWORD, clean=False, expiry=600) == 0
        assert reader.subscribe("assetgate/auth/#") == [1]
        reader.ping()
    with watcher(told) as witness, told.device(suffix=":away"):
        event(witness, "session_started", SHORT + ":away")
    with told.client() as reader:
        assert reader.connect("watch-2", "watch", SERVICE_PASSWORD, clean=False, expiry=600) == 0
        assert event(reader, "session_started", SHORT + ":away")["subject"] == ASSET


@pytest.mark.parametrize("capacity", [20, 220])
def test_a_storm_of_sessions_is_told_whole(gate_of: Gates, tmp_path: Path, capacity: int) -> None:
    extra = f"{READER}\n[events]\ncapacity = {capacity}\n"
    with gate_of(tmp_path, extra=extra) as gated, watcher(gated) as reader:
        token = gated.token()
        for _ in range(STORM):
            with gated.client() as client:
                assert client.connect(SHORT, "", token) == 0
        told = Counter(
            json.loads(message.payload)["type"].split(".")[2] for message in reader.messages(2 * STORM)
        )
        assert told == {"session_started": STORM, "session_ended": STORM}
        assert scrape(gated.metrics_port)["authplugin_events_dropped_total"] == 0


def test_events_come_in_order_when_a_tick_ends_many_sessions(gate_of: Gates, tmp_path: Path) -> None:
    revoked = tmp_path / "revoked.jsonl"
    revoked.write_text("# none yet\n")
    extra = f'{READER}\n[revocation]\nfile = "{revoked}"\n'
    with (
        gate_of(tmp_path, extra=extra) as gated,
        watcher(gated) as reader,
        contextlib.ExitStack() as fleet,
    ):
        many = 2 * TAKE + 50
        for number in range(many):
            fleet.enter_context(gated.device(f"02iAB000000{number:04d}", did="many"))
        token = gated.token(OTHER_SHORT)
        revoked.write_text(json.dumps({"device": "many"}) + "\n")
        numbers, ended = [], 0
        while ended < many:
            # Somebody comes and goes all the time, so that events wait when the sessions are ended.
            with gated.client() as client:
                assert client.connect(OTHER_SHORT, "", token) == 0
            for message in reader.messages(2):
                told = json.loads(message.payload)
                numbers.append(int(told["id"].rpartition("-")[2]))
                ended += told["type"] == "assetgate.auth.session_ended.v1" and told["subject"] != OTHER
        assert numbers == sorted(numbers)
