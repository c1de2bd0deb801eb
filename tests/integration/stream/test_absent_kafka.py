"""Programs that are started before Kafka is: they say so, with its address, and begin when it is there."""

import asyncio
import contextlib
import json
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.support.kafka import until
from tests.support.ports import free_port
from tests.support.telemetry import rules_text
from tests.support.watch import PlainBroker, Program, Watch

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.parametrize("kafka", ["embedded"], indirect=True),
]


@contextlib.contextmanager
def road(port: int, address: str) -> Iterator[None]:
    """Carries bytes between a port and an address, both ways."""
    host, _, there = address.rpartition(":")
    loop = asyncio.new_event_loop()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            theirs, ours = await asyncio.open_connection(host, int(there))
            await asyncio.gather(carry(reader, ours), carry(theirs, writer))

    server = loop.run_until_complete(asyncio.start_server(meet, "127.0.0.1", port))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def complaint(program: Program, address: str) -> bool:
    return f"Kafka at {address} does not answer" in program.said


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("name", ["bridge", "worker"])
def test_it_names_the_address_and_begins_when_kafka_is_there(
    watch: Watch, plain_broker: PlainBroker, name: str
) -> None:
    watch.mqtt_port = plain_broker.port
    (watch.directory / "rules.yaml").write_text(rules_text("{threshold: {above: 80}}"))
    port = free_port()
    address = f"127.0.0.1:{port}"
    program = watch.launch(name, "--config", watch.settings(kafka__bootstrap=address))
    until(lambda: complaint(program, address), 20, "it says that Kafka is away")
    assert program.process.poll() is None
    with road(port, watch.kafka.bootstrap):
        assert program.process.stdout is not None
        assert json.loads(program.process.stdout.readline())["ready"] == name
        assert f"Kafka at {address} answers" in program.said
        assert program.end() == 0


@pytest.mark.parametrize("name", ["bridge", "worker"])
def test_it_ends_at_once_when_it_is_told_to_while_it_waits(watch: Watch, name: str) -> None:
    (watch.directory / "rules.yaml").write_text(rules_text("{threshold: {above: 80}}"))
    address = f"127.0.0.1:{free_port()}"
    program = watch.launch(name, "--config", watch.settings(kafka__bootstrap=address))
    until(lambda: complaint(program, address), 20, "it says that Kafka is away")
    # Nothing was begun, so nothing need be finished.
    assert program.end() == -signal.SIGTERM
