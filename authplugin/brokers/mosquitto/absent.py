"""Who has gone and may still speak: a will is judged when it is sent, which may be days later.

The broker names the sender of a will by the connection that it had. What such a will may say is what
its client was let in with, as long as that holds: see `authplugin.gate.Gate.authorize_late`.
"""

from authplugin.sessions import Session

LEAST, CAPACITY = 100, 10_000
"""Most sessions remembered, some 6 MB. The will of a client that was forgotten is not sent."""


class Absent:
    """Sessions that have ended, by the shim's name of the connection; for one thread at a time.

    Args:
        capacity: sessions remembered, between `LEAST` and `CAPACITY`.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = min(max(capacity, LEAST), CAPACITY)
        self._sessions: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def leave(self, session: Session) -> None:
        """Remember a session that has ended; the one that ended first is forgotten for it."""
        connection = session.connection
        self._sessions.pop(connection, None)
        self._sessions[connection] = session
        if len(self._sessions) > self._capacity:
            del self._sessions[next(iter(self._sessions))]

    def enter(self, connection: int) -> None:
        """Forget what a connection of that name was: it is another client's now."""
        self._sessions.pop(connection, None)

    def find(self, connection: int) -> Session | None:
        """The session that a connection was, None when there was none or it is forgotten."""
        return self._sessions.get(connection)
