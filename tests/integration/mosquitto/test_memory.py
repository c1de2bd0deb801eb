"""What one client can make the broker keep: large messages that wait, or that are never finished."""

import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.mqtt import PUBLISH, Client, packet, text

from .conftest import ASSET, SERVICE, SERVICE_PASSWORD, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

LARGE = bytes(250_000)
WAITING_BYTES = 200_000_000
UNFINISHED_BYTES = 10_000_000
TELEMETRY = f"assets/{ASSET}/telemetry"


@pytest.fixture
def gated(gate_of: Callable[..., AbstractContextManager[Gated]], tmp_path: Path) -> Iterator[Gated]:
    """A broker that nobody has filled yet."""
    with gate_of(tmp_path) as running_gate:
        yield running_gate


def bridge(gated: Gated) -> Client:
    """The bridge, back at its stored session."""
    client = gated.client()
    assert client.connect("bridge-1", SERVICE, SERVICE_PASSWORD, clean=False, expiry=3600) == 0
    return client


def count(client: Client) -> int:
    """How many messages come until none does for a second."""
    number = 0
    try:
        while True:
            client.messages(1, deadline=1)
            number += 1
    except TimeoutError:
        return number


@pytest.mark.parametrize("version", [4, 5])
def test_what_waits_for_a_bridge_that_is_away_is_bounded_in_bytes_and_no_publisher_is_told(
    gated: Gated, version: int
) -> None:
    with bridge(gated) as first:
        first.subscribe("assets/+/telemetry")
        first.disconnect()
    with gated.device(version=version) as device:
        for _ in range(1000):
            assert device.publish(TELEMETRY, LARGE) == 0
    with bridge(gated) as again:
        assert count(again) == WAITING_BYTES // len(LARGE)
    gated.broker.wait_for("Outgoing messages are being dropped for client bridge-1")


def test_what_a_bridge_that_does_not_answer_is_sent_is_bounded_in_bytes(gated: Gated) -> None:
    with bridge(gated) as slow, gated.device() as device:
        slow.subscribe("assets/+/telemetry")
        for _ in range(1000):
            device.publish(TELEMETRY, LARGE)
        # 2.1 hands over a window more before it counts what waits.
        least, most = (WAITING_BYTES + n * UNFINISHED_BYTES for n in (1, 2))
        assert least <= count(slow) * len(LARGE) <= most


@pytest.mark.parametrize("version", [4, 5])
def test_what_a_device_begins_to_publish_and_never_finishes_is_bounded_in_bytes(
    gated: Gated, version: int
) -> None:
    def kept() -> int:
        return int(Path(f"/proc/{gated.broker.pid}/statm").read_text().split()[1]) * 4096

    with gated.device(version=version) as device:
        before = kept()
        for number in range(1, 1001):
            body = text(TELEMETRY) + struct.pack("!H", number) + (b"\0" if version == 5 else b"")
            device.send(packet(PUBLISH, 2 << 1, body + LARGE))
        device.ping()
        assert kept() - before < 5 * UNFINISHED_BYTES
