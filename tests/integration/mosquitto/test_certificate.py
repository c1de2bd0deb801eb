"""A TLS client certificate as proof of possession: only one that the broker's TLS has verified."""

import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from authplugin.brokers.mosquitto.build import find_interpreter
from authplugin.client.key import base64url, public_jwk
from authplugin.testing import TokenMint
from tests.support.links import Transport
from tests.support.mosquitto import Mosquitto, running, scrape
from tests.support.mqtt import Client, Closed
from tests.support.ports import free_port

from .conftest import SHORT, Files, connect_until_ready, write_gate

pytestmark = pytest.mark.needs("mosquitto", "cc")

FILLING = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
POSSESSION = '[issuers.possession]\nmode = "required"\n\n[[service_accounts]]'


@dataclass(frozen=True)
class Identity:
    """A client's certificate and key."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    made: x509.Certificate

    @property
    def files(self) -> tuple[str, str]:
        return str(self.folder / f"{self.name}.pem"), str(self.folder / f"{self.name}.key")

    @property
    def digest(self) -> str:
        return base64url(sha256(self.made.public_bytes(serialization.Encoding.DER)).digest())


def issue(folder: Path, name: str, by: Identity | None = None, *, filling: bytes = b"") -> Identity:
    """A certificate, signed by another or by itself; ``filling`` makes it longer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.made.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.UnrecognizedExtension(FILLING, filling), critical=False)
        .sign(key if by is None else by.key, SHA256())
    )
    identity = Identity(folder, name, key, made)
    public, private = identity.files
    Path(public).write_bytes(made.public_bytes(serialization.Encoding.PEM))
    Path(private).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return identity


@dataclass(frozen=True)
class Fleet:
    """A broker that asks for certificates on its TLS listener, and an authority that it trusts."""

    broker: Mosquitto
    mint: TokenMint
    metrics_port: int
    folder: Path
    authority: Identity

    def connect(self, token: bytes, identity: Identity | None, suffix: str = "") -> tuple[Client, int]:
        client = self.broker.client(
            5, Transport.TLS, certificate=None if identity is None else identity.files
        )
        return client, client.connect(SHORT + suffix, "", token)


@pytest.fixture(scope="module")
def fleet(plugin: Path, mint: TokenMint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = issue(folder, "authority")
    keys = folder / "keys.json"
    keys.write_text(json.dumps(mint.jwks()))
    files = Files(folder, plugin, find_interpreter())
    metrics_port = free_port()
    write_gate(files, mint, f'jwks_file = "{keys}"', metrics_port)
    files.config.write_text(files.config.read_text().replace("[[service_accounts]]", POSSESSION, 1))
    broker = Mosquitto(folder, files.stanza())
    broker.listen(Transport.TLS, f"require_certificate true\ncafile {authority.files[0]}\n")
    with running(broker):
        yield Fleet(broker, mint, metrics_port, folder, authority)


def bound_to(identity: Identity) -> list[dict[str, object]]:
    return [{"jwk": public_jwk(identity.key)}, {"x5t#S256": identity.digest}]


def ready(fleet: Fleet, identity: Identity) -> None:
    """Wait until the keys are there."""
    end = time.monotonic() + 15
    while True:
        client, code = fleet.connect(fleet.mint.mint(cnf=bound_to(identity)[0]), identity)
        client.close()
        if code == 0:
            return
        assert time.monotonic() < end, fleet.broker.log[-2000:]
        time.sleep(0.02)


def test_the_certificate_that_the_token_is_bound_to_comes_in(fleet: Fleet) -> None:
    device = issue(fleet.folder, "device", fleet.authority)
    ready(fleet, device)
    for number, cnf in enumerate(bound_to(device)):
        client, code = fleet.connect(fleet.mint.mint(cnf=cnf), device, f":{number}")
        with client:
            assert code == 0, fleet.broker.log[-1500:]
            client.ping()


def test_another_certificate_that_the_authority_vouches_for_does_not(fleet: Fleet) -> None:
    device = issue(fleet.folder, "owner", fleet.authority)
    thief = issue(fleet.folder, "thief", fleet.authority)
    ready(fleet, device)
    for cnf in bound_to(device):
        client, code = fleet.connect(fleet.mint.mint(cnf=cnf), thief, ":thief")
        with client:
            assert code == 0x87
    counted = scrape(fleet.metrics_port)
    assert counted['authplugin_decisions_total{outcome="refused",reason="possession_failed"}'] >= 2


def test_a_token_without_the_certificate_does_not_on_a_listener_without_tls(fleet: Fleet) -> None:
    device = issue(fleet.folder, "plain", fleet.authority)
    ready(fleet, device)
    with fleet.broker.client(5) as client:
        assert client.connect(SHORT, "", fleet.mint.mint(cnf=bound_to(device)[1])) == 0x87


def test_a_certificate_that_tls_cannot_verify_never_reaches_the_gate(fleet: Fleet) -> None:
    stranger = issue(fleet.folder, "stranger")
    token = fleet.mint.mint(cnf=bound_to(stranger)[0])
    before = len(fleet.broker.log)
    with pytest.raises((ssl.SSLError, Closed)):  # noqa: SIM117 - what closes and what raises are two things
        with fleet.broker.client(5, Transport.TLS, certificate=stranger.files) as client:
            client.connect(SHORT, "", token)
    fleet.broker.wait_for("certificate verify failed", after=before)
    assert "authplugin" not in fleet.broker.log[before:]


def test_where_tls_asks_for_no_certificate_none_counts(files: Files, mint: TokenMint, tmp_path: Path) -> None:
    authority = issue(tmp_path, "authority")
    device = issue(tmp_path, "device", authority)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(mint.jwks()))
    write_gate(files, mint, f'jwks_file = "{keys}"', free_port())
    broker = Mosquitto(tmp_path, files.stanza())
    broker.listen(Transport.TLS, f"require_certificate false\ncafile {authority.files[0]}\n")
    with running(broker):
        connect_until_ready(broker, SHORT, mint.mint()).disconnect()
        files.config.write_text(files.config.read_text().replace("[[service_accounts]]", POSSESSION, 1))
        broker.wait_for("is in force as it is now")
        with broker.client(5, Transport.TLS, certificate=device.files) as client:
            assert client.connect(SHORT, "", mint.mint(cnf=bound_to(device)[0])) == 0x87
        broker.wait_for("possession_required")


def test_certificates_leave_no_memory_behind(fleet: Fleet) -> None:
    def resident() -> int:
        pages = Path(f"/proc/{fleet.broker.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    device = issue(fleet.folder, "often", fleet.authority, filling=b"x" * 12_000)
    ready(fleet, device)
    token = fleet.mint.mint(cnf=bound_to(device)[0])

    def connect(times: int) -> None:
        for _ in range(times):
            client, code = fleet.connect(token, device, ":often")
            with client:
                assert code == 0

    connect(20)
    before = resident()
    connect(80)
    # A certificate that is kept is more than 12 kB: 80 of them would be seen.
    assert resident() - before < 1 << 20
