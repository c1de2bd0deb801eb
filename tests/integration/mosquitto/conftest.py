"""A gate in a real Mosquitto: the plugin is built once, each broker has its own folder and port."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.acl import write_acl
from authplugin.brokers.mosquitto.build import Interpreter, build_plugin, find_interpreter
from authplugin.brokers.mosquitto.stanza import write_stanza
from authplugin.settings import load
from authplugin.testing import KeyServer, TokenMint
from tests.support.links import Transport
from tests.support.mosquitto import DEADLINE, Mosquitto, running, scrape, write_passwords
from tests.support.mqtt import Client
from tests.support.ports import free_port

AUDIENCE = "https://ingest.example.com"
#: Asset of the mint's sample token: as the token writes it, and as topics do.
SHORT, ASSET = "02iAB00000CdEfG", "02iAB00000CdEfGYAV"
OTHER_SHORT, OTHER = "02iAB00000CdEfH", "02iAB00000CdEfHYAV"
DEVICE = "0a1b2c3d-0000-4000-8000-000000000001"
SERVICE, SERVICE_PASSWORD = "bridge", "correct horse battery staple"


@dataclass(frozen=True)
class Gated:
    """A broker with the gate, its issuer's mint and key server."""

    broker: Mosquitto
    mint: TokenMint
    keys: KeyServer
    metrics_port: int

    def token(self, asset: str = SHORT, **changes: object) -> bytes:
        return self.mint.mint(aid=asset, **changes)

    def client(self, version: int = 5, transport: Transport = Transport.TCP) -> Client:
        return self.broker.client(version, transport)

    def device(
        self,
        asset: str = SHORT,
        *,
        version: int = 5,
        suffix: str = "",
        transport: Transport = Transport.TCP,
        **changes: object,
    ) -> Client:
        """A device that is connected with a good token; ``changes`` are claims of it."""
        client = self.broker.client(version, transport)
        code = client.connect(asset + suffix, "", self.token(asset, **changes))
        assert code == 0, self.broker.log[-2000:]
        return client

    def service(self, client_id: str = "bridge-1") -> Client:
        """The service account, connected."""
        client = self.broker.client(5)
        assert client.connect(client_id, SERVICE, SERVICE_PASSWORD) == 0
        return client

    def decisions(self, **labels: str) -> float:
        """How many decisions were counted under these labels."""
        parts = [f'{name}="{value}"' for name, value in labels.items()]
        return sum(
            value
            for name, value in scrape(self.metrics_port).items()
            if name.startswith(("authplugin_decisions_total{", "authplugin_topic_decisions_total{"))
            and all(part in name for part in parts)
        )

    @contextlib.contextmanager
    def refuses_topic(self) -> Iterator[None]:
        """Wait until one more publish than before has been refused; its line may be one too many to log."""
        labels = {"action": "publish", "outcome": "refused", "reason": "topic_denied"}
        before = self.decisions(**labels)
        yield
        end = time.monotonic() + DEADLINE
        while self.decisions(**labels) == before:
            assert time.monotonic() < end, f"no publish was refused:\n{self.broker.log[-2000:]}"
            time.sleep(0.02)

    def refusal(
        self,
        connect: Callable[[Client], int],
        *,
        version: int = 5,
        transport: Transport = Transport.TCP,
    ) -> str:
        """Connect in a way that must be refused with a CONNACK; the one reason that was counted."""
        before = self._refused()
        with self.client(version, transport) as client:
            assert connect(client) == (0x87 if version == 5 else 5)
        after = self._refused()
        (reason,) = [name for name, count in after.items() if count > before.get(name, 0)]
        assert after[reason] == before.get(reason, 0) + 1
        return reason

    def _refused(self) -> dict[str, float]:
        """Refused connects by reason."""
        start = 'authplugin_decisions_total{outcome="refused",reason="'
        return {
            name[len(start) :].rstrip('"}'): value
            for name, value in scrape(self.metrics_port).items()
            if name.startswith(start)
        }


@dataclass(frozen=True)
class Files:
    """Where a broker's and its gate's configuration are, before it starts."""

    folder: Path
    plugin: Path
    interpreter: Interpreter

    @property
    def config(self) -> Path:
        return self.folder / "gate.toml"

    @property
    def acl(self) -> Path:
        return self.folder / "acl"

    @property
    def passwords(self) -> Path:
        return self.folder / "passwords"

    def stanza(self) -> str:
        return write_stanza(self.plugin, self.interpreter, self.config, self.acl, self.passwords)


@pytest.fixture(scope="session")
def mint() -> TokenMint:
    return TokenMint(audience=AUDIENCE)


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if built := os.environ.get("ASSETGATE_TEST_PLUGIN"):
        return Path(built)
    path = tmp_path_factory.mktemp("plugin") / "authplugin.so"
    build_plugin(path)
    return path


def write_gate(
    files: Files, mint: TokenMint, keys: str, metrics_port: int, extra: str = "", mosquitto: str = ""
) -> None:
    """A gate's configuration, with the ``acl_file`` and password file that belong to it.

    ``keys`` is the line that says where the issuer's key set is.
    """
    files.config.write_text(
        f"""
[[issuers]]
issuer = "{mint.issuer}"
audiences = ["{AUDIENCE}"]
{keys}

[[service_accounts]]
name = "{SERVICE}"
publish = ["assetgate/heartbeat", "assets/+/commands/#"]
subscribe = ["assets/#", "assetgate/heartbeat"]

[mosquitto]
acl_file = "acl"
password_file = "passwords"
{mosquitto}

[sessions]
expiry_jitter_s = 0.0

[metrics]
port = {metrics_port}
{extra}"""
    )
    policy = load(files.config, {}).policy
    files.acl.write_text(write_acl(policy.topics, policy.service_accounts))
    write_passwords(files.passwords, [(name, SERVICE_PASSWORD) for name in policy.service_accounts])


@pytest.fixture
def files(tmp_path: Path, plugin: Path) -> Files:
    return Files(tmp_path, plugin, find_interpreter())


@pytest.fixture(scope="session")
def gate_of(plugin: Path, mint: TokenMint) -> Callable[..., AbstractContextManager[Gated]]:
    """What starts a broker with a gate in a folder, listening for every transport.

    ``extra`` goes into the gate's configuration, ``issuer`` and ``mosquitto`` into those tables of it,
    ``tls`` into the broker's TLS listener.
    """

    @contextlib.contextmanager
    def start(
        folder: Path,
        *,
        extra: str = "",
        issuer: str = "",
        mosquitto: str = "",
        tls: str = "",
        site: Path | None = None,
    ) -> Iterator[Gated]:
        interpreter = find_interpreter(site=site)
        files = Files(folder, plugin, interpreter)
        metrics_port = free_port()
        with KeyServer(mint.jwks()) as keys:
            write_gate(files, mint, f'jwks_uri = "{keys.url}"\n{issuer}', metrics_port, extra, mosquitto)
            broker = Mosquitto(folder, files.stanza())
            broker.listen(Transport.TLS, lines=tls)
            broker.listen(Transport.WEBSOCKET)
            with running(broker):
                gated = Gated(broker, mint, keys, metrics_port)
                connect_until_ready(broker, SHORT, gated.token()).disconnect()
                yield gated

    return start


def connect_until_ready(broker: Mosquitto, client_id: str, token: bytes) -> Client:
    """The first connection that a broker lets in: before its keys are there it refuses every token."""
    end = time.monotonic() + 15
    while True:
        client = broker.client(5)
        if client.connect(client_id, "", token) == 0:
            return client
        client.close()
        assert time.monotonic() < end, broker.log[-3000:]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def gated(
    gate_of: Callable[..., AbstractContextManager[Gated]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gated]:
    """One broker for a module's tests; who needs a broken one starts their own."""
    with gate_of(tmp_path_factory.mktemp("broker")) as running_gate:
        yield running_gate
