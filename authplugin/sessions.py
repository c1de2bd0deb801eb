"""Live sessions: who is connected by which grant, and who must go now.

A token ends; a connection would not. Each session has an end (``exp``, leeway and a little jitter,
so that a fleet registered in one minute does not come back in one second), measured on the clock
that never steps: a clock set back must not lengthen a session. Pure memory: a door opens and
closes sessions as its broker reports them, and asks `Sessions.due` about once a second.
"""

import heapq
from collections import deque
from collections.abc import Callable

import msgspec

from authplugin.clock import Clock
from authplugin.errors import Reason
from authplugin.model import Grant


class Session(msgspec.Struct, frozen=True, gc=False):
    """One live connection.

    Attributes:
        client_id: MQTT client identifier, at most one session each.
        connection: the door's own name of the connection, so that the late end of an old
            connection is not taken for the end of the one that took its client id over.
        grant: what it was let in with.
        ends: when it must go, on the monotonic clock.
        generation: of the keys and policy that the grant was judged under.
    """

    client_id: str
    connection: int
    grant: Grant
    ends: float
    generation: int


class Kick(msgspec.Struct, frozen=True, gc=False):
    """A session the broker must disconnect now, and why."""

    session: Session
    reason: Reason


class Sessions:
    """The live sessions of one broker process.

    For one thread, but for `kick`, which any thread may call.

    Args:
        clock: both clocks are used: the wall's to read ``exp``, the other to wait for it.
        jitter: seconds to add to a session's end, drawn anew for each.
    """

    def __init__(self, *, clock: Clock, jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._live: dict[str, Session] = {}
        # (end, client id, connection); entries of sessions that are gone are skipped when they come up.
        self._ends: list[tuple[float, str, int]] = []
        self._kicks: deque[tuple[str, Reason]] = deque()

    def __len__(self) -> int:
        return len(self._live)

    @property
    def waiting(self) -> int:
        """Ends that are waited for; some are of sessions that are gone by now."""
        return len(self._ends)

    def find(self, client_id: str) -> Session | None:
        """The live session of a client id."""
        return self._live.get(client_id)

    def open(
        self, client_id: str, connection: int, grant: Grant, *, generation: int, leeway: float
    ) -> Session | None:
        """Record a connection that was let in; again for the same connection renews its end.

        Args:
            client_id: MQTT client identifier as sent.
            connection: the door's own name of the connection, unique among live ones.
            grant: what it was let in with.
            generation: of the keys and policy that the grant was judged under.
            leeway: seconds for which it may stay after the grant has expired.

        Returns:
            The session of another connection that this one takes over, None when there was none.
        """
        remaining = grant.expires + leeway - self._clock.now()
        ends = self._clock.monotonic() + remaining + self._jitter()
        before = self._live.get(client_id)
        if before is not None and before.connection == connection and before.grant.expires == grant.expires:
            # Judged again: neither a clock set back nor new jitter may lengthen what has begun.
            ends = min(ends, before.ends)
        self._live[client_id] = Session(client_id, connection, grant, ends, generation)
        heapq.heappush(self._ends, (ends, client_id, connection))
        self._compact()
        return before if before is not None and before.connection != connection else None

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
        now = self._clock.monotonic()
        while self._ends and self._ends[0][0] <= now:
            ends, client_id, _ = heapq.heappop(self._ends)
            session = self._live.get(client_id)
            if session is not None and session.ends == ends:
                kicks.setdefault(client_id, Kick(session, Reason.EXPIRED))
        return list(kicks.values())

    def _compact(self) -> None:
        """Drop entries of sessions that are gone, before a client that reconnects often fills memory."""
        if len(self._ends) > 2 * len(self._live) + 1024:
            self._ends = [
                (session.ends, session.client_id, session.connection) for session in self._live.values()
            ]
            heapq.heapify(self._ends)
