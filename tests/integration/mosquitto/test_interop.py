"""Clients that devices really use, against the gated broker: a good token, a bad one, a foreign topic."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import aiomqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from authplugin.client import Login, read_credentials
from tests.integration.mosquitto.conftest import ASSET, OTHER, Gated
from tests.support.mqtt import Message

pytestmark = pytest.mark.needs("mosquitto", "cc")

PROJECT = Path(__file__).parents[3]
INTEROP = PROJECT / "tests" / "interop"
MQTTJS = PROJECT / "build" / "peers" / "mqttjs"
PAYLOAD = b'{"metrics":{"temperature":21.5}}'
SECONDS = 30.0
NOT_AUTHORIZED = {4: 5, 5: 0x87}

Peer = Callable[[int, int, str, Path, str], str]
"""A device program: port, MQTT version, client id, file with the token, topic → what it said."""


def run(*command: object, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=os.environ | environ,
    )


def said(*command: object, **environ: str) -> str:
    """The one line a device program says; its error stream is empty."""
    done = run(*command, **environ)
    assert done.stderr == "", done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def paho_c(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    """The C library of Eclipse Paho, as Debian builds it."""
    program = tmp_path_factory.mktemp("paho-c") / "paho"
    source = INTEROP / "paho.c"
    made = run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", program, source, "-lpaho-mqtt3c")
    assert made.returncode == 0, made.stderr
    return lambda *words: said(program, *words)


@pytest.fixture(scope="session")
def mqttjs() -> Peer:
    """MQTT.js from npm, by a lock with hashes; kept between runs."""
    lock = (INTEROP / "package-lock.json").read_text()
    installed = MQTTJS / "installed.json"
    if not installed.exists() or installed.read_text() != lock:
        shutil.rmtree(MQTTJS, ignore_errors=True)
        MQTTJS.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(INTEROP / name, MQTTJS)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
            cwd=MQTTJS,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        installed.write_text(lock)
    return lambda *words: said("node", INTEROP / "mqttjs.js", *words, NODE_PATH=str(MQTTJS / "node_modules"))


@pytest.fixture
def token_file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(token: bytes) -> Path:
        file = tmp_path / "token"
        file.write_bytes(token)
        file.chmod(0o600)
        return file

    return write


@pytest.fixture
def heard(gated: Gated) -> Iterator[Callable[[], Message]]:
    """The next message that a service account hears of any asset."""
    with gated.service() as service:
        assert service.subscribe("assets/#") == [1]
        yield lambda: service.messages(1)[0]


def check_peer(
    gated: Gated,
    peer: Peer,
    version: int,
    token_file: Callable[[bytes], Path],
    heard: Callable[[], Message],
) -> None:
    """What every client must see: its message arrives, and a forged token does not open."""
    topic = f"assets/{ASSET}/telemetry"
    good = token_file(gated.token())
    assert peer(gated.broker.port, version, ASSET, good, topic) == "published"
    assert heard()[:2] == (topic, PAYLOAD)
    bad = token_file(gated.mint.forged())
    assert peer(gated.broker.port, version, ASSET, bad, topic) == f"refused {NOT_AUTHORIZED[version]}"


@pytest.mark.needs("paho-c")
@pytest.mark.parametrize("version", [4, 5])
def test_paho_for_c(
    version: int,
    gated: Gated,
    paho_c: Peer,
    token_file: Callable[[bytes], Path],
    heard: Callable[[], Message],
) -> None:
    check_peer(gated, paho_c, version, token_file, heard)


@pytest.mark.needs("node", "npm")
@pytest.mark.timeout(200)
@pytest.mark.parametrize("version", [4, 5])
def test_mqtt_js(
    version: int,
    gated: Gated,
    mqttjs: Peer,
    token_file: Callable[[bytes], Path],
    heard: Callable[[], Message],
) -> None:
    check_peer(gated, mqttjs, version, token_file, heard)
    if version == 5:  # below it the broker does not tell
        other = f"assets/{OTHER}/telemetry"
        assert mqttjs(gated.broker.port, 5, ASSET, token_file(gated.token()), other) == "publish 135"


@pytest.mark.needs("mosquitto-clients")
@pytest.mark.parametrize("version", [4, 5])
def test_mosquitto_pub_and_sub(version: int, gated: Gated, heard: Callable[[], Message]) -> None:
    level = {4: "mqttv311", 5: "mqttv5"}[version]

    def words(token: bytes) -> list[object]:
        # Only in a test: every user of the machine can read an argument.
        return ["-p", gated.broker.port, "-V", level, "-i", ASSET, "-u", "", "-P", token.decode()]

    topic = f"assets/{ASSET}/telemetry"
    done = run("mosquitto_pub", *words(gated.token()), "-q", "1", "-t", topic, "-m", PAYLOAD.decode())
    assert done.returncode == 0, done.stderr
    assert heard()[:2] == (topic, PAYLOAD)
    done = run("mosquitto_pub", *words(gated.mint.forged()), "-q", "1", "-t", topic, "-m", "x")
    assert done.returncode != 0
    assert "authori" in done.stderr.lower()
    for tail, refused in (("commands/#", False), ("telemetry", True)):
        done = run("mosquitto_sub", *words(gated.token()), "-E", "-t", f"assets/{ASSET}/{tail}")
        assert ("denied" in done.stderr) is refused, done.stderr


@pytest.mark.parametrize("version", [4, 5])
def test_paho_for_python(version: int, gated: Gated, heard: Callable[[], Message]) -> None:
    def connect(token: bytes) -> tuple[int, paho.Client]:
        login = Login.of(read_credentials(token.decode()))
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=login.client_id,
            protocol=MQTTProtocolVersion(version),
            reconnect_on_failure=False,
        )
        client.username_pw_set(login.username, login.password)
        answered = threading.Event()
        codes: list[int] = []

        def note(_c: object, _u: object, _f: object, code: ReasonCode, _p: object) -> None:
            codes.append(code.value)
            answered.set()

        client.on_connect = note
        client.connect("127.0.0.1", gated.broker.port)
        client.loop_start()
        assert answered.wait(SECONDS)
        return codes[0], client

    code, client = connect(gated.token())
    topic = f"assets/{ASSET}/telemetry"
    assert code == 0
    client.publish(topic, PAYLOAD, qos=1).wait_for_publish(SECONDS)
    assert heard()[:2] == (topic, PAYLOAD)
    client.disconnect()
    client.loop_stop()
    code, client = connect(gated.mint.forged())
    client.loop_stop()
    assert code == 0x87


@pytest.mark.parametrize("version", [4, 5])
def test_aiomqtt(version: int, gated: Gated, heard: Callable[[], Message]) -> None:
    topic = f"assets/{ASSET}/telemetry"

    async def publish(token: bytes) -> None:
        login = Login.of(read_credentials(token.decode()))
        async with aiomqtt.Client(
            "127.0.0.1",
            gated.broker.port,
            identifier=login.client_id,
            username=login.username,
            password=login.password,
            protocol=aiomqtt.ProtocolVersion(version),
        ) as client:
            await client.publish(topic, PAYLOAD, qos=1)

    asyncio.run(publish(gated.token()))
    assert heard()[:2] == (topic, PAYLOAD)
    with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authorized"):
        asyncio.run(publish(gated.mint.forged()))


def test_the_lock_of_mqtt_js_has_a_hash_for_everything() -> None:
    lock = json.loads((INTEROP / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages["node_modules/mqtt"]["version"] == lock["packages"][""]["dependencies"]["mqtt"]
    assert [name for name, package in packages.items() if "integrity" not in package] == []
    assert not any("resolved" in package for package in packages.values())
