"""The gate that `make bench-gate` measures: everything on, as a broker's host runs it, and its tokens."""

import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from authplugin.brokers.assembly import Assembly
from authplugin.clock import SystemClock
from authplugin.jose.identity import IdForm, canonical_asset_id
from authplugin.model import Connect
from authplugin.revocation import Revocations, parse_revocations
from authplugin.settings import load
from authplugin.testing.mint import TokenMint, base64url

ISSUER = "https://acme.my.site.com"
AUDIENCE = "https://ingest.example.com"
_PATIENCE = 30.0
_REVOKED = 1_000

_SETTINGS = """
[[issuers]]
issuer = "{issuer}"
audiences = ["{audience}"]
algorithms = ["{algorithm}"]
jwks_file = "keys.json"

[[service_accounts]]
name = "bridge"
subscribe = ["assets/#"]

[cache]
capacity = {capacity}

[audit]
file = "audit.jsonl"

[metrics]
port = 0
"""


class Device(NamedTuple):
    """A device with its token, and how it connects."""

    client_id: str
    token: bytes
    address: str

    def connect(self) -> Connect:
        """What the broker hands over when it connects."""
        return Connect(self.client_id, None, self.token, self.address)


class Rig:
    """An assembled gate that runs, in a directory of its own; a context manager.

    Attributes:
        mint: its issuer.
        assembly: the gate and all it stands on, with threads.
        gate: decides.
        audit: the audit's file.
    """

    def __init__(self, folder: Path, *, algorithm: str = "RS256", capacity: int = 100_000) -> None:
        self.mint = TokenMint(ISSUER, AUDIENCE, algorithm=algorithm)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "keys.json").write_text(json.dumps(self.mint.jwks()))
        (folder / "keys.json").chmod(0o600)
        settings = folder / "gate.toml"
        settings.write_text(
            _SETTINGS.format(issuer=ISSUER, audience=AUDIENCE, algorithm=algorithm, capacity=capacity)
        )
        self.audit = folder / "audit.jsonl"
        self.assembly = Assembly(load(settings, environ={}), clock=SystemClock())
        self.gate = self.assembly.gate
        self._numbers = itertools.count(1)
        self._random = random.Random(7519)

    def __enter__(self) -> Self:
        self.assembly.start()
        deadline = time.monotonic() + _PATIENCE
        while not self.assembly.keys.ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the gate's keys were not read within {_PATIENCE:.0f} s")
            time.sleep(0.01)
        self.gate.revoke(_revocations())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.assembly.stop(_PATIENCE)

    def now(self) -> float:
        """The wall's time, as the gate has it."""
        return time.time()

    def settle(self) -> None:
        """Have everything decided so far in the audit's file; counts as the gate's own work."""
        if self.assembly.audit is None:
            raise AssertionError("this gate was to have an audit")
        self.assembly.audit.flush()

    def devices(self, count: int) -> list[Device]:
        """That many devices nobody has seen, with a token each: asset, device, key and address their own."""
        return list(itertools.islice(self._devices(), count))

    def written(self) -> int:
        """Lines in the audit's file."""
        return self.audit.read_bytes().count(b"\n") if self.audit.exists() else 0

    def _devices(self) -> Iterator[Device]:
        for number in self._numbers:
            asset_id = f"02iAB{number:010d}"
            token = self.mint.mint(
                aid=asset_id,
                did=f"0a1b2c3d-0000-4000-8000-{number:012d}",
                id=f"05bAB{number:010d}",
                cnf={"jwk": {"kid": "devicekey", "kty": "RSA", "e": "AQAB", "n": self._modulus()}},
            )
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            yield Device(canonical_asset_id(asset_id, IdForm.SALESFORCE), token, address)

    def _modulus(self) -> str:
        """Some 2048 bits, as no two devices share a key; the gate takes their thumbprint only."""
        octets = self._random.randbytes(256)
        return base64url(bytes([octets[0] | 0x80]) + octets[1:-1] + bytes([octets[-1] | 1])).decode()


def _revocations() -> Revocations:
    """Some of every kind, none of which names a device of the rig."""
    lines = [f'{{"asset": "02iZZ{number:010d}"}}' for number in range(_REVOKED)]
    lines += [f'{{"device": "gone-{number}"}}' for number in range(_REVOKED)]
    lines += [f'{{"token": "{number:064x}"}}' for number in range(_REVOKED)]
    lines += [f'{{"kid": "Retired", "issuer": "{ISSUER}"}}', '{"issued_before": "2001-01-01T00:00:00Z"}']
    return parse_revocations("\n".join(lines).encode(), "revocations of the bench")
