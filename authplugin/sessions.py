"""Live sessions: who is connected by which grant, and who must go now.

A token ends; a connection would not. Each session has an end (``exp``, leeway and a little jitter,
so that a fleet registered in one minute does not come back in one second), measured on the clock
that never steps: a clock set back must not lengthen a session. Pure memory: a door opens and
closes sessions as its broker reports them, and asks `Sessions.due` a few times a second.
"""

import heapq
from collections import deque
from collections.abc import Callable

import msgspec

from authplugin.clock import Clock
from authplugin.errors import Reason
from authplugin.model import Grant, Possession


class Session(msgspec.Struct, frozen=True, gc=False):
    """One live connection.

    Attributes:
        client_id: MQTT client identifier, at most one session each.
        connection: the door's own name of the connection, so that the late end of an old
            connection is not taken for the end of the one that took its client id over.
        grant: what it was let in with.
        ends: when it must go, on the monotonic clock.
        generation: of the keys, policy and revocations that the grant was judged under.
        address: the peer's address.
        possession: how it showed that it holds its key.
        opened: when it connected, seconds since the epoch.
    """

    client_id: str
    connection: int
    grant: Grant
    ends: float
    generation: int
    address: str = ""
    possession: Possession = Possession.NONE
    opened: float = 0.0


class Kick(msgspec.Struct, frozen=True, gc=False):
    """A session the broker must disconnect now, and why."""

    session: Session
    reason: Reason


class Sessions:
    """The live sessions of one broker process.

    For one thread, but for `kick` and `snapshot`, which any thread may call.

    Args:
        clock: both clocks are used: the wall's to read ``exp``, the other to wait for it.
        jitter: seconds to add to a session's end, drawn anew for each.
        warning: seconds before its end at which a session is said to be `expiring`, 0 for never.
    """

    def __init__(self, *, clock: Clock, jitter: Callable[[], float], warning: float = 0.0) -> None:
        self._now = clock.now
        self._monotonic = clock.monotonic
        self._jitter = jitter
        self._warning = warning
        self._live: dict[str, Session] = {}
        # (end or the warning before it, client id, connection), one a session; entries of sessions
        # that are gone are skipped when they come up.
        self._ends: list[tuple[float, str, int]] = []
        self._kicks: deque[tuple[str, Reason]] = deque()
        self._expiring: list[Session] = []
        # Why the door was asked to end a connection that has not ended yet.
        self._leaving: dict[tuple[str, int], Reason] = {}

    def __len__(self) -> int:
        return len(self._live)

    @property
    def waiting(self) -> int:
        """Ends that are waited for; some are of sessions that are gone by now."""
        return len(self._ends)

    def find(self, client_id: str) -> Session | None:
        """The live session of a client id."""
        return self._live.get(client_id)

    def snapshot(self) -> tuple[Session, ...]:
        """The live sessions at one moment."""
        return tuple(self._live.values())

    def open(
        self,
        client_id: str,
        connection: int,
        grant: Grant,
        *,
        generation: int,
        leeway: float,
        address: str = "",
        possession: Possession = Possession.NONE,
    ) -> Session | None:
        """Record a connection that was let in; again for the same connection renews its end.

        Args:
            client_id: MQTT client identifier as sent.
            connection: the door's own name of the connection, unique among live ones.
            grant: what it was let in with.
            generation: of the keys, policy and revocations that the grant was judged under.
            leeway: seconds for which it may stay after the grant has expired.
            address: the peer's address.
            possession: how it showed that it holds its key.

        Returns:
            The session of another connection that this one takes over, None when there was none.
        """
        opened = self._now()
        monotonic = self._monotonic()
        ends = monotonic + grant.expires + leeway - opened + self._jitter()
        before = self._live.get(client_id)
        same = before is not None and before.connection == connection
        if before is not None and same:
            opened = before.opened
            if before.grant.expires == grant.expires:
                # Judged again: neither a clock set back nor new jitter may lengthen what has begun.
                ends = min(ends, before.ends)
        session = Session(client_id, connection, grant, ends, generation, address, possession, opened)
        self._live[client_id] = session
        heapq.heappush(self._ends, self._entry(session, monotonic))
        if len(self._ends) > 2 * len(self._live) + 1024:
            self._compact(monotonic)
        return None if same else before

    def close(self, client_id: str, connection: int) -> Session | None:
        """Forget a connection that ended.

        Returns:
            Its session; None when it had none, or another connection has its client id by now.
        """
        session = self._live.get(client_id)
        if session is None or session.connection != connection:
            return None
        del self._live[client_id]
        return session

    def kick(self, client_id: str, reason: Reason) -> None:
        """Ask for a client's session to be ended at the next `due`."""
        self._kicks.append((client_id, reason))

    def due(self) -> list[Kick]:
        """Take the sessions that must go now; the door disconnects them.

        They stay live until the door reports their end, but come up once only.
        """
        kicks: dict[str, Kick] = {}
        while self._kicks:
            client_id, reason = self._kicks.popleft()
            session = self._live.get(client_id)
            if session is not None:
                kicks[client_id] = Kick(session, reason)
        now = self._monotonic()
        while self._ends and self._ends[0][0] <= now:
            moment, client_id, connection = heapq.heappop(self._ends)
            session = self._live.get(client_id)
            if session is None or session.connection != connection:
                continue
            if session.ends == moment:
                kicks.setdefault(client_id, Kick(session, Reason.EXPIRED))
            elif session.ends - self._warning == moment:
                self._expiring.append(session)
                heapq.heappush(self._ends, (session.ends, client_id, connection))
        for kick in kicks.values():
            self._leaving[kick.session.client_id, kick.session.connection] = kick.reason
        return list(kicks.values())

    def expiring(self) -> list[Session]:
        """Take the sessions that `due` has found to end soon; each comes up once."""
        expiring, self._expiring = self._expiring, []
        return expiring

    def leaving(self, session: Session) -> Reason | None:
        """Take why the door was asked to end a session, None when it was not."""
        return self._leaving.pop((session.client_id, session.connection), None)

    def _entry(self, session: Session, now: float) -> tuple[float, str, int]:
        """When the session comes up next."""
        warning = session.ends - self._warning
        return (warning if warning > now else session.ends), session.client_id, session.connection

    def _compact(self, now: float) -> None:
        """Drop entries of sessions that are gone, before a client that reconnects often fills memory."""
        self._ends = [self._entry(session, now) for session in self._live.values()]
        heapq.heapify(self._ends)
