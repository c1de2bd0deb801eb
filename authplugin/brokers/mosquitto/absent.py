"""Who has gone and may still speak: a will is judged when it is sent, which may be days later.

The broker names the sender of a will by the connection that it had. What such a will may say is what
its client was let in with, as long as that holds: see `authplugin.gate.Gate.authorize_late`.
"""

from authplugin.policy import Policy
from authplugin.sessions import Session

LEAST = 100
"""Sessions remembered at least: most wills are sent right after their client has gone."""


class Absent:
    """Sessions that have ended, by the shim's name of the connection; for one thread at a time.

    One for each client id, for the broker keeps at most one will for each. When there are too many, the one
    that ended first is forgotten, and its will is not sent.

    Args:
        policy: in force.
        capacity: sessions remembered, about 0.6 kB each.
    """

    def __init__(self, policy: Policy, capacity: int) -> None:
        self._policy = policy
        self._capacity = max(capacity, LEAST)
        self._sessions: dict[int, Session] = {}
        self._connections: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def leave(self, session: Session) -> None:
        """Remember a session that has ended, in place of the one that its client had before."""
        self._forget(session.connection)
        before = self._connections.get(session.client_id)
        if before is not None:
            self._forget(before)
        self._sessions[session.connection] = session
        self._connections[session.client_id] = session.connection
        if len(self._sessions) > self._capacity:
            self._forget(next(iter(self._sessions)))

    def enter(self, connection: int) -> None:
        """Forget what a connection of that name was: it is another client's now."""
        if connection in self._sessions:
            self._forget(connection)

    def find(self, connection: int) -> Session | None:
        """The session that a connection was, None when there was none or it is forgotten."""
        return self._sessions.get(connection)

    def judge_by(self, policy: Policy) -> None:
        """Forget the sessions of issuers whose tokens another policy may judge otherwise."""
        if policy is self._policy:
            return
        former, self._policy = self._policy, policy
        same = {name for name, issuer in former.issuers.items() if policy.issuers.get(name) == issuer}
        for session in [each for each in self._sessions.values() if each.grant.issuer not in same]:
            self._forget(session.connection)

    def _forget(self, connection: int) -> None:
        session = self._sessions.pop(connection, None)
        if session is not None:
            del self._connections[session.client_id]
