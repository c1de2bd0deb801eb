"""A gate for tests: real keys, real caches, a clock by hand, and a witness of what it reports."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path

from authplugin.clones import Clones, Finding, Rules
from authplugin.errors import Reason
from authplugin.gate import Gate
from authplugin.keys.cache import KeyCache
from authplugin.keys.snapshot import take_snapshot
from authplugin.model import Action, Allow, Connect, Decision, Deny, Grant
from authplugin.observer import Observer
from authplugin.sessions import Session, Sessions
from authplugin.settings import parse
from authplugin.testing import FakeClock, TokenMint
from authplugin.throttle import Limits, Throttle
from authplugin.verdicts import VerdictCache
from tests.support.mints import mint

AID = "02iAB00000CdEfGYAV"
SHORT = AID[:15]
ADDRESS = "192.0.2.1"
DID = "0a1b2c3d-0000-4000-8000-000000000001"

CONFIG = """
[[issuers]]
issuer = "https://acme.my.site.com"
audiences = ["https://ingest.example.com"]

[[service_accounts]]
name = "bridge"
publish = ["assetgate/heartbeat"]
subscribe = ["assets/#"]
"""


class Witness(Observer):
    """An observer that remembers."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.faults: list[Exception] = []
        self.opened: list[Session] = []
        self.expiring: list[Session] = []
        self.ended: list[tuple[Session, Reason | None]] = []
        self.findings: list[Finding] = []

    def authenticated(self, connect: Connect, decision: Decision, seconds: float) -> None:
        assert seconds >= 0
        assert connect.client_id is not None
        self.decisions.append(decision)

    def authorized(self, grant: Grant, action: Action, topic: str, decision: Decision) -> None:
        assert grant.asset_id
        assert action
        assert isinstance(topic, str)
        self.decisions.append(decision)

    def failed(self, error: Exception) -> None:
        self.faults.append(error)

    def session_opened(self, session: Session) -> None:
        self.opened.append(session)

    def session_expiring(self, session: Session) -> None:
        self.expiring.append(session)

    def session_ended(self, session: Session, reason: Reason | None) -> None:
        self.ended.append((session, reason))

    def clone_found(self, finding: Finding) -> None:
        self.findings.append(finding)


class Bench:
    """A gate with everything it stands on at hand."""

    def __init__(
        self,
        config: str = CONFIG,
        *,
        mints: tuple[TokenMint, ...] = (),
        jitter: float = 0.0,
        random: Callable[[int], bytes] = secrets.token_bytes,
        limits: Limits | None = None,
        rules: Rules | None = None,
        warning: float = 0.0,
    ) -> None:
        self.mint = mints[0] if mints else mint()
        self.clock = FakeClock()
        self.policy = parse(config, name="gate.toml", environ={}, base=Path()).policy
        self.keys = KeyCache(self.policy.issuers, clock=self.clock)
        for issuer in mints or (self.mint,):
            self.publish(issuer)
        self.sessions = Sessions(clock=self.clock, jitter=lambda: jitter, warning=warning)
        self.throttle = Throttle(limits, clock=self.clock)
        self.clones = Clones(rules, clock=self.clock)
        self.verdicts = VerdictCache()
        self.witness = Witness()
        self.gate = Gate(
            self.policy,
            self.keys,
            clock=self.clock,
            sessions=self.sessions,
            verdicts=self.verdicts,
            metrics=self.witness,
            throttle=self.throttle,
            clones=self.clones,
            random=random,
        )

    def publish(self, issuer: TokenMint, jwks: dict[str, object] | None = None, *, hard: float = 1e9) -> None:
        body = json.dumps(issuer.jwks() if jwks is None else jwks).encode()
        snapshot = take_snapshot(body, {issuer.algorithm}, fetched=self.clock.now())
        self.keys.install(issuer.issuer, snapshot, self.clock.monotonic() + hard)

    def connect(
        self,
        password: bytes | None,
        *,
        client_id: str = AID,
        username: str | None = None,
        address: str = ADDRESS,
    ) -> Decision:
        return self.gate.authenticate(Connect(client_id, username, password, address))

    def grant(self, **claims: object) -> Grant:
        decision = self.connect(self.mint.mint(**claims))
        assert isinstance(decision, Allow), decision
        return decision.grant


def refused(decision: Decision) -> str:
    """The reason's word; fails when the answer was yes."""
    assert isinstance(decision, Deny), decision
    return decision.reason.value
