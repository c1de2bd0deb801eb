"""Fifty devices: each registers, connects with its token as MQTT password, and streams its machine's life."""

import asyncio
import functools
import itertools
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass

import aiomqtt

from authplugin.client import (
    ONLINE,
    ClientCredentials,
    Credentials,
    ExchangeError,
    Login,
    Registration,
    TokenSource,
    Topics,
    get_access_token,
    make_key,
    register,
)
from deploy.demo.machine import Fault, Machine

PERIOD_SECONDS = 1.0
"""How often a device reports."""

UNITS = {"temperature": "°C", "pressure": "bar", "toner": "%"}
"""What a device says its metrics are in; vibration goes without, as a bare number."""

_SITES = ("Leipzig", "Porto", "Osaka", "Tampere", "Austin")
_MODELS = ("PressLine 40", "PressLine 60", "PrintMax 9")
_REGISTERING_AT_ONCE = 8
_RECONNECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Device:
    """One device: who it is, and what will go wrong with its machine.

    Attributes:
        asset_id: the form of 18 characters.
        name: its asset's name, for people.
        registration: what it says of itself at the issuer.
        tokens: its token, and each that comes after it.
    """

    asset_id: str
    name: str
    registration: Registration
    tokens: TokenSource
    fault: Fault
    seed: int

    @property
    def token(self) -> str:
        """The token at hand; a new one when it is due."""
        return self.tokens.current().token


@dataclass(frozen=True, slots=True)
class Signal:
    """A device's own event as it was published: ``at`` is its time stamp, milliseconds since the epoch."""

    asset_id: str
    type: str
    at: int


class Fleet:
    """The devices of the demo.

    Args:
        issuer: its URL.
        client: registers the devices.
        broker: host and port.
        faults: what goes wrong with the first machines; the others stay healthy.
        size: how many devices.
        seed: makes a run repeatable, but for keys and times.
        fault_after: seconds of streaming until faults set in.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client: ClientCredentials,
        broker: tuple[str, int],
        faults: Sequence[Fault] = (Fault.OVERHEATING, Fault.SILENT, Fault.RUNNING_LOW, Fault.SUPPLY_LOW),
        size: int = 50,
        seed: int = 7,
        fault_after: float = 12.0,
    ) -> None:
        self._issuer = issuer
        self._client = client
        self.broker = broker
        self._faults = tuple(faults)
        self._size = size
        self._seed = seed
        self._fault_after = fault_after
        self.devices: tuple[Device, ...] = ()
        self.connected: set[str] = set()
        self.published = 0
        self.last_sample: dict[str, int] = {}
        self.signals: list[Signal] = []
        self.errors: dict[str, str] = {}

    async def register(self, progress: Callable[[int], None] = lambda _done: None) -> tuple[Device, ...]:
        """Register every device at the issuer.

        Args:
            progress: called with how many are registered.

        Raises:
            ExchangeError: the issuer refused one.
        """
        access_token = await asyncio.to_thread(self._access_token)
        gate = asyncio.Semaphore(_REGISTERING_AT_ONCE)
        done = 0

        async def register_one(number: int) -> Device:
            nonlocal done
            async with gate:
                name, registration = await asyncio.to_thread(self._registration, number)
                credentials = await asyncio.to_thread(register, self._issuer, access_token, registration)
            done += 1
            progress(done)
            fault = self._faults[number] if number < len(self._faults) else Fault.NONE
            tokens = TokenSource(functools.partial(self._renew, registration), credentials)
            seed = self._seed * 1_000 + number
            return Device(credentials.asset_id, name, registration, tokens, fault, seed)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(register_one(number)) for number in range(self._size)]
        self.devices = tuple(task.result() for task in tasks)
        return self.devices

    def device(self, fault: Fault) -> Device:
        """The device that has this fault."""
        return next(device for device in self.devices if device.fault is fault)

    async def stream(self) -> None:
        """Connect every device and report until cancelled; a device whose link breaks connects again."""
        async with asyncio.TaskGroup() as group:
            for number, device in enumerate(self.devices):
                group.create_task(self._live(device, delay=number * PERIOD_SECONDS / max(1, self._size)))

    async def _live(self, device: Device, *, delay: float) -> None:
        machine = Machine(device.seed, fault=device.fault, fault_after=self._fault_after)
        # Spread over the period: a fleet whose devices all report in the same instant is none.
        await asyncio.sleep(delay)
        sequence = itertools.count(1)
        while True:
            try:
                await asyncio.to_thread(device.tokens.current)
                async with self.connect(device) as client:
                    self.connected.add(device.asset_id)
                    await self._report(client, device, machine, sequence)
                heed_cancellation()
                continue  # with the next token
            except (aiomqtt.MqttError, ExchangeError) as error:
                self.errors[device.asset_id] = str(error)
            finally:
                self.connected.discard(device.asset_id)
            heed_cancellation()
            await asyncio.sleep(_RECONNECT_SECONDS)

    def connect(self, device: Device) -> aiomqtt.Client:
        """The device's connection: client id and user name are the asset id, the password is the token."""
        login = Login.of(device.tokens.current())
        return aiomqtt.Client(
            *self.broker,
            identifier=login.client_id,
            username=login.username,
            password=login.password,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(*astuple(login.will)),
            keepalive=20,
            timeout=10,
        )

    async def _report(
        self, client: aiomqtt.Client, device: Device, machine: Machine, sequence: Iterator[int]
    ) -> None:
        """Report each period until the next token is due, or the machine falls silent.

        Silence is of the machine, not of the line: the connection stays, as it does when a cable is cut.
        """
        topics = Topics(device.asset_id)
        await client.publish(topics.status, ONLINE, qos=1, retain=True)
        due = time.monotonic()
        while device.tokens.wait_seconds() > 0:
            heed_cancellation()
            reading = machine.advance(PERIOD_SECONDS)
            if machine.failing and device.fault is Fault.SILENT:
                await asyncio.sleep(device.tokens.wait_seconds())
                return
            if machine.failing and device.fault is Fault.SUPPLY_LOW and not self.signals:
                at = int(time.time() * 1000)
                event = {
                    "ts": at,
                    "data": {"supply": "toner", "cartridge": "black", "remaining": reading.toner},
                }
                await client.publish(topics.event("supply_low"), json.dumps(event), qos=1)
                self.signals.append(Signal(device.asset_id, "supply_low", at))
            at = int(time.time() * 1000)
            metrics = {
                name: {"v": value, "u": UNITS[name]} if name in UNITS else value
                for name, value in asdict(reading).items()
            }
            message = {"ts": at, "seq": next(sequence), "metrics": metrics}
            await client.publish(topics.telemetry(), json.dumps(message), qos=1)
            self.last_sample[device.asset_id] = at
            self.published += 1
            due += PERIOD_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _access_token(self) -> str:
        return str(get_access_token(self._issuer, self._client)["access_token"])

    def _renew(self, registration: Registration) -> Credentials:
        return register(self._issuer, self._access_token(), registration)

    def _registration(self, number: int) -> tuple[str, Registration]:
        chance = random.Random(self._seed * 1_000 + number)
        name = f"Press {number + 1:02d}"
        device_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        serial = f"PL-{chance.randrange(10**6):06d}-{number:03d}"
        attributes = {"Model": chance.choice(_MODELS), "Site": chance.choice(_SITES), "Firmware": "4.2.1"}
        asset = {"Name": name, "SerialNumber": serial, "AccountId": f"001AB00000{number % 7:05d}"}
        # RSA of 2048 bits, as in the vendor's sample.
        return name, Registration(device_id, make_key("RS256"), name, asset, attributes)


def heed_cancellation() -> None:
    """End a task that was told to end and did not hear it.

    A client that is cancelled may swallow that: `asyncio.wait_for` of Python 3.11 returns when what it waited
    for is done in the same turn, and leaving a broken connection raises an error of its own instead.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
