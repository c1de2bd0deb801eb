"""The demo's devices against the real issuer and the real gate in a real Mosquitto."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import pytest

from authplugin.client import ClientCredentials, ExchangeError, get_access_token, register
from deploy.demo import installation
from deploy.demo.fleet import Device, Fleet
from deploy.demo.hostile import Answer, Hostile
from deploy.demo.installation import AUDIENCE, BRIDGE, Installation
from deploy.demo.machine import Fault
from deploy.demo.metrics import scrape
from deploy.demo.processes import Supervisor
from deploy.demo.status import refusals
from tests.support.contracts import holds
from tests.support.issuer import SECRET, run_issuer

pytestmark = pytest.mark.needs("mosquitto", "cc")

CLIENT = ClientCredentials("demo", SECRET)
SECONDS = 20.0


@dataclass
class Place:
    """A gate in a broker, and an issuer beside it."""

    issuer: str
    port: int
    metrics: str
    password: str

    @property
    def broker(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def fleet(self, size: int, *faults: Fault, fault_after: float = 2.0) -> Fleet:
        return Fleet(
            issuer=self.issuer,
            client=CLIENT,
            broker=self.broker,
            faults=faults,
            size=size,
            fault_after=fault_after,
        )

    def listener(self) -> aiomqtt.Client:
        """The service account that may hear every device."""
        return aiomqtt.Client(*self.broker, username=BRIDGE, password=self.password, identifier="listener")


Told = Callable[[Callable[[Place], Coroutine[object, object, None]]], None]


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_issuer(tmp_path_factory.mktemp("issuer"), "--development-claims") as running:
        yield running.url


@asynccontextmanager
async def standing(root: Path, issuer: str) -> AsyncIterator[Place]:
    place = Installation(root, rules=root / "rules.yaml")
    async with Supervisor(place.logs, environ=place.environ(os.environ)) as supervisor:
        gate = place.write_gate(issuer)
        await supervisor.run(installation.hashed(root / "passwords"))
        stanza = await supervisor.run(installation.plugin(root / "authplugin.so", gate))
        broker = await supervisor.start(installation.mosquitto(place.write_broker(stanza)))
        await broker.ready()
        password = (root / "bridge-password").read_text().strip()
        yield Place(issuer, place.mqtt_port, place.metrics()["gate"], password)


@pytest.fixture(scope="module")
def told(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Runs a test's story; all of them share one gate, and the event loop that reads its output."""
    root = tmp_path_factory.mktemp("gate")
    with asyncio.Runner() as runner:
        stand = standing(root, issuer)
        place = runner.run(stand.__aenter__())
        try:
            yield lambda story: runner.run(story(place))
        finally:
            runner.run(stand.__aexit__(None, None, None))


async def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {SECONDS:.0f} s: {what}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def streaming(fleet: Fleet) -> AsyncIterator[None]:
    task = asyncio.create_task(fleet.stream())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def heard(place: Place, fleet: Fleet, enough: Callable[[list[tuple[str, bytes]]], bool]) -> None:
    """Start the fleet and listen until that is enough."""
    messages: list[tuple[str, bytes]] = []
    async with place.listener() as client:
        for topic in ("assets/+/telemetry/#", "assets/+/events/#", "assets/+/status"):
            await client.subscribe(topic, qos=1)
        async with streaming(fleet), asyncio.timeout(SECONDS):
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                messages.append((str(message.topic), message.payload))
                if enough(messages):
                    return


def test_every_device_streams_telemetry_of_the_contract_in_order(told: Told) -> None:
    async def story(place: Place) -> None:
        fleet = place.fleet(5)
        progress: list[int] = []
        devices = await fleet.register(progress.append)
        assert progress == [1, 2, 3, 4, 5]
        assert len({device.asset_id for device in devices}) == 5
        found: dict[str, list[int]] = {device.asset_id: [] for device in devices}

        def enough(messages: list[tuple[str, bytes]]) -> bool:
            topic, payload = messages[-1]
            _, asset, tail = topic.split("/")
            if tail == "telemetry":
                message = json.loads(payload)
                assert holds("telemetry", message)
                assert set(message["metrics"]) == {"temperature", "pressure", "vibration", "toner"}
                assert abs(message["ts"] / 1000 - time.time()) < 60
                found[asset].append(message["seq"])
            return all(len(sequence) >= 3 for sequence in found.values())

        await heard(place, fleet, enough)
        for sequence in found.values():
            assert sequence == list(range(1, len(sequence) + 1))
        assert fleet.errors == {}

    told(story)


def test_a_low_supply_is_signalled_once_and_a_silent_machine_stays_connected(told: Told) -> None:
    async def story(place: Place) -> None:
        fleet = place.fleet(3, Fault.SUPPLY_LOW, Fault.SILENT)
        await fleet.register()
        low, silent, healthy = (device.asset_id for device in fleet.devices)
        topics: Counter[str] = Counter()

        def enough(messages: list[tuple[str, bytes]]) -> bool:
            topic, payload = messages[-1]
            topics[topic] += 1
            if topic == f"assets/{low}/events/supply_low":
                assert holds("device-event", json.loads(payload))
                assert [signal.asset_id for signal in fleet.signals] in ([], [low])
            return topics[f"assets/{healthy}/telemetry"] >= 6

        await heard(place, fleet, enough)
        assert topics[f"assets/{low}/events/supply_low"] == 1
        assert [(signal.asset_id, signal.type) for signal in fleet.signals] == [(low, "supply_low")]
        assert topics[f"assets/{silent}/telemetry"] < topics[f"assets/{healthy}/telemetry"]
        assert silent not in fleet.errors

    told(story)


def test_a_device_whose_link_breaks_connects_again_and_goes_on_counting(told: Told) -> None:
    async def story(place: Place) -> None:
        fleet = place.fleet(1)
        (device,) = await fleet.register()
        sequence: list[int] = []

        async def listen() -> None:
            async with place.listener() as client:
                await client.subscribe(f"assets/{device.asset_id}/telemetry", qos=1)
                async with streaming(fleet):
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        sequence.append(json.loads(message.payload)["seq"])

        listening = asyncio.create_task(listen())
        await until(lambda: bool(sequence), "a sample")
        async with fleet.connect(device):  # the same client id: the broker ends the other
            await until(lambda: device.asset_id in fleet.errors, "the device notices")
            broken = len(sequence)
        await until(lambda: len(sequence) > broken, "it streams again")
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert sequence == sorted(set(sequence))

    told(story)


def test_a_device_whose_token_is_due_goes_on_with_the_next_one_and_no_sample_is_missing(told: Told) -> None:
    async def story(place: Place) -> None:
        fleet = place.fleet(1)
        (device,) = await fleet.register()
        first = device.token
        before = (await scrape(place.metrics)).total("authplugin_decisions_total", outcome="allowed")
        sequence: list[int] = []

        def enough(messages: list[tuple[str, bytes]]) -> bool:
            topic, payload = messages[-1]
            if topic == f"assets/{device.asset_id}/telemetry":
                sequence.append(json.loads(payload)["seq"])
                if len(sequence) == 2:
                    device.tokens.drop()
            return len(sequence) >= 4

        await heard(place, fleet, enough)
        assert sequence == [1, 2, 3, 4]
        assert fleet.errors == {}
        assert device.token != first
        after = (await scrape(place.metrics)).total("authplugin_decisions_total", outcome="allowed")
        assert after - before >= 2

    told(story)


def test_every_hostile_attempt_is_refused_for_its_own_reason_and_nobody_is_disturbed(told: Told) -> None:
    async def story(place: Place) -> None:
        fleet = place.fleet(2)
        attacker, victim = await fleet.register()
        async with streaming(fleet):
            await until(lambda: len(fleet.connected) == 2, "both connect")
            rows = await attempts(place, attacker, victim)
            assert [answer.attempt.name for answer, _ in rows if not answer.refused] == []
            seen = {answer.attempt.name: reasons for answer, reasons in rows}
            assert seen == {answer.attempt.name: [answer.attempt.expected.value] for answer, _ in rows}
            assert {answer.packet for answer, _ in rows} == {"CONNACK", "PUBACK", "SUBACK"}
            assert len(fleet.connected) == 2
            assert fleet.errors == {}

    told(story)


async def attempts(place: Place, attacker: Device, victim: Device) -> list[tuple[Answer, list[str]]]:
    hostile = Hostile(issuer=place.issuer, client=CLIENT, broker=place.broker, audience=AUDIENCE)
    rows = []
    before = refusals(await scrape(place.metrics))
    async for answer in hostile.attempt(attacker, victim):
        after = refusals(await scrape(place.metrics))
        rows.append((answer, sorted((after - before).elements())))
        before = after
    return rows


def test_an_issuer_that_refuses_is_told_without_the_secret(issuer: str) -> None:
    with pytest.raises(ExchangeError, match="invalid_client") as refused:
        get_access_token(issuer, ClientCredentials("demo", "not the secret"))
    assert "not the secret" not in str(refused.value)


def test_a_stranger_with_a_made_up_access_token_gets_no_asset_token(issuer: str) -> None:
    fleet = Fleet(issuer=issuer, client=CLIENT, broker=("127.0.0.1", 1), size=1)
    (device,) = asyncio.run(fleet.register())
    with pytest.raises(ExchangeError, match="invalid_grant"):
        register(issuer, device.token, device.registration)


def test_neither_token_nor_key_nor_secret_shows_in_a_representation(issuer: str) -> None:
    fleet = Fleet(issuer=issuer, client=CLIENT, broker=("127.0.0.1", 1), size=1)
    (device,) = asyncio.run(fleet.register())
    text = repr(device) + repr(CLIENT)
    assert device.token not in text
    assert "RSAPrivateKey" not in text
    assert SECRET not in text
