"""Auth events: what the gate sees, as CloudEvents on ``assetgate/auth/…`` for whoever judges it.

An event about a verified identity goes to its asset's topic; one about a client that proved nothing
goes to ``assetgate/auth/-`` and calls what it says of itself ``claimed_…``. Nobody can make many:
refusals are told a few a second of each reason and summed beyond that (``count``), and what waits for
the broker is bounded. Building an event costs the decision one short tuple; JSON is written when the
door takes them.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from authplugin.authevent import CloudEvent, Spelling, Stranger, Verified, describe
from authplugin.clock import Clock
from authplugin.clones import Finding
from authplugin.errors import Reason
from authplugin.model import Allow, Connect, Decision, Grant
from authplugin.observer import Observer
from authplugin.sessions import Session

TOPIC = "assetgate/auth/"
UNVERIFIED = "-"
TAKE = 200
"""Events taken at once, so that a door's turn stays short; a door with more takes the next ones at once."""

PATIENCE_SECONDS = 10.0
"""How long a key set may be unusable until that is an event: a start takes a moment."""

_SHOWN = 64


class AuthEvent(NamedTuple):
    """One event to publish at QoS 1, not retained.

    Attributes:
        topic: where to.
        payload: CloudEvents 1.0, structured JSON.
    """

    topic: str
    payload: bytes


class _Seen(NamedTuple):
    """What happened, until it is written."""

    type: str
    at: float
    grant: Grant | None
    possession: str | None
    client_id: str | None
    reason: str | None
    times: int = 1
    issuer: str | None = None


class _Told:
    """How often one reason was told: a bucket that refills by time, and what came beyond it."""

    __slots__ = ("at", "left", "untold")

    def __init__(self, at: float) -> None:
        self.at = at
        self.left = 1.0
        self.untold = 0


class Events(Observer):
    """Makes events; for the door's thread.

    Attributes:
        dropped: events lost because too many waited.

    Args:
        clock: both clocks.
        new_id: makes ids no other event has.
        unusable: the issuers whose keys cannot be used now.
        denied_per_second: refusals told of each reason.
        capacity: events that may wait.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        unusable: Callable[[], Iterable[str]],
        denied_per_second: float = 1.0,
        capacity: int = 10_000,
    ) -> None:
        self.dropped = 0
        self._clock = clock
        self._new_id = new_id
        self._unusable = unusable
        self._rate = denied_per_second
        self._capacity = capacity
        # One callback tells of more than one thing: beyond half of the room, some of it could be lost.
        self._enough = min(TAKE, (capacity + 1) // 2)
        self._times = Spelling()
        self._encode = msgspec.json.Encoder().encode
        self._waiting: deque[_Seen] = deque()
        self._told: dict[Reason, _Told] = {}
        self._stale: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def pressing(self) -> bool:
        """Whether as many wait as are taken at once, or half of those that may."""
        return len(self._waiting) >= self._enough

    def authenticated(self, connect: Connect, decision: Decision, _seconds: float) -> None:
        """Tell of a refused connect, or count it."""
        if isinstance(decision, Allow):
            return
        reason = decision.reason
        now = self._clock.monotonic()
        told = self._told.get(reason)
        if told is None:
            told = self._told[reason] = _Told(now)
        told.left = min(max(1.0, self._rate), told.left + (now - told.at) * self._rate)
        told.at = now
        if told.left < 1.0:
            told.untold += 1
            return
        told.left -= 1.0
        # Lone surrogates, which a door may hand on, are no JSON.
        client_id = connect.client_id[:_SHOWN].encode("utf-8", "replace").decode()
        self._wait("denied", decision.grant, None, client_id, reason)

    def session_opened(self, session: Session) -> None:
        """Tell of a session."""
        self._about("session_started", session, None)

    def session_expiring(self, session: Session) -> None:
        """Tell that a session's token ends soon."""
        self._about("expiring", session, None)

    def session_ended(self, session: Session, reason: Reason | None) -> None:
        """Tell of a session's end; of a revocation that ended it, too."""
        if reason is Reason.REVOKED:
            self._about("revoked", session, reason)
        self._about("session_ended", session, reason)

    def clone_found(self, finding: Finding) -> None:
        """Tell of a clone."""
        self._about("clone", finding.session, Reason.QUARANTINED if finding.quarantined else None)

    def take(self, most: int = TAKE) -> list[AuthEvent]:
        """Take events that wait, the oldest first: ``most`` of them, or half of all if those are more.

        Call it a few times a second, and whenever they are `pressing`: in a storm as many come in one
        turn of a broker's loop as it has clients in flight.
        """
        self._sum_up()
        self._look_at_keys()
        waiting = len(self._waiting)
        return [self._write(self._waiting.popleft()) for _ in range(min(max(most, waiting // 2), waiting))]

    def _about(self, kind: str, session: Session, reason: Reason | None) -> None:
        self._wait(kind, session.grant, session.possession.value, session.client_id, reason)

    def _wait(
        self,
        kind: str,
        grant: Grant | None,
        possession: str | None,
        client_id: str | None,
        reason: Reason | None,
        *,
        times: int = 1,
        issuer: str | None = None,
    ) -> None:
        if len(self._waiting) >= self._capacity:
            self.dropped += 1
            return
        said = None if reason is None else reason.value
        seen = _Seen(kind, self._clock.now(), grant, possession, client_id, said, times, issuer)
        self._waiting.append(seen)

    def _sum_up(self) -> None:
        """Tell of the refusals that were only counted, one event a reason."""
        for reason, told in self._told.items():
            if told.untold:
                self._wait("denied", None, None, None, reason, times=told.untold)
                told.untold = 0

    def _look_at_keys(self) -> None:
        """Tell once of each issuer whose keys have been unusable for long."""
        now = self._clock.monotonic()
        unusable = set(self._unusable())
        self._stale = {issuer: since for issuer, since in self._stale.items() if issuer in unusable}
        for issuer in unusable:
            since = self._stale.setdefault(issuer, now)
            if now - since >= PATIENCE_SECONDS:
                self._stale[issuer] = float("inf")  # told
                self._wait("keys_stale", None, None, None, Reason.KEYS_STALE, issuer=issuer)

    def _write(self, seen: _Seen) -> AuthEvent:
        grant, reason = seen.grant, seen.reason
        subject: str | msgspec.UnsetType = msgspec.UNSET
        data: Verified | Stranger
        if grant is None:
            data = Stranger(reason, seen.client_id, seen.issuer)
        else:
            subject = grant.asset_id
            data = describe(grant, reason=reason, possession=seen.possession, client_id=seen.client_id)
        event = CloudEvent(
            self._new_id(),
            f"assetgate.auth.{seen.type}.v1",
            self._times.spell(seen.at),
            data,
            subject,
            seen.times if seen.times > 1 else msgspec.UNSET,
        )
        topic = TOPIC + (UNVERIFIED if grant is None else grant.asset_id)
        return AuthEvent(topic, self._encode(event))
