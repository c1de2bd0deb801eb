"""The programs in docs/devices.md, run as they stand there, against the issuer and the gate in a broker."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_demo_devices import Place, standing
from tests.support.contracts import holds
from tests.support.issuer import SECRET, run_issuer

pytestmark = pytest.mark.needs("mosquitto", "cc")

DOCUMENT = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
SECONDS = 30.0


@contextmanager
def program(place: Place, source: Path) -> Iterator[subprocess.Popen[str]]:
    """A device's program; it is ended, and must not have ended by itself nor complained."""
    process = subprocess.Popen(
        [sys.executable, str(source)],
        env=os.environ
        | {
            "ISSUER": place.issuer,
            "CLIENT_SECRET": SECRET,
            "PORT": str(place.port),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
        assert process.poll() is None
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=SECONDS)
    assert output == ""


async def listen(place: Place, source: Path) -> tuple[list[dict[str, object]], set[str]]:
    """Run a program until three samples of its asset were heard; they, and the topics in use."""
    samples: list[dict[str, object]] = []
    topics: set[str] = set()
    async with place.listener() as client, asyncio.timeout(SECONDS):
        for topic in ("assets/+/telemetry", "assets/+/status"):
            await client.subscribe(topic, qos=1)
        with program(place, source):
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                topics.add(str(message.topic))
                if str(message.topic).endswith("/telemetry"):
                    samples.append(json.loads(message.payload))
                if len(samples) >= 3 and len(topics) == 2:
                    return samples, topics
    raise AssertionError("the listener ended")


@pytest.mark.parametrize("number", range(2), ids=["paho", "aiomqtt"])
def test_a_documented_program_registers_connects_and_reports(number: int, tmp_path: Path) -> None:
    assert len(PROGRAMS) == 2
    source = tmp_path / "device.py"
    source.write_text(PROGRAMS[number])

    async def story(issuer: str) -> None:
        root = tmp_path / "gate"
        root.mkdir()
        async with standing(root, issuer) as place:
            samples, topics = await listen(place, source)
            assert all(holds("telemetry", sample) for sample in samples)
            assert [sample["seq"] for sample in samples[:3]] == [1, 2, 3]
            (asset,) = {topic.split("/")[1] for topic in topics}
            assert re.fullmatch("02i[A-Za-z0-9]{15}", asset)

    issuer_folder = tmp_path / "issuer"
    issuer_folder.mkdir()
    with run_issuer(issuer_folder) as issuer:
        asyncio.run(story(issuer.url))
