"""Connections that should end soon, and those that the broker does not see when it should.

2.0 loses the client id of a live connection when an exchange for the same one is given up half way:
it then neither takes that connection over, nor disconnects it by its client id, nor asks about it at
SIGHUP. Another connection may have the client id by then, or leave a stored session under it.
"""

from collections.abc import Iterable, Iterator

from authplugin.sessions import Session

_SECONDS = 3.0


class Departures:
    """Of one broker, by the shim's name of the connection. For one thread."""

    def __init__(self) -> None:
        # The asset, and until when the connection may take to end.
        self._due: dict[int, tuple[str, float]] = {}
        self._unasked: dict[int, Session] = {}

    def __contains__(self, connection: int) -> bool:
        """Whether it should end: another has its client id, or it was told to go."""
        return connection in self._due

    def expect(self, session: Session, now: float) -> None:
        """Note that a session's connection should end by itself, or was told to."""
        self._due[session.connection] = session.grant.asset_id, now + _SECONDS

    def forget(self, connection: int) -> None:
        """Note that it has ended."""
        self._due.pop(connection, None)
        self._unasked.pop(connection, None)

    def overdue(self, now: float) -> Iterator[str]:
        """Take the assets of those that should have ended and have not."""
        for connection, (asset_id, until) in list(self._due.items()):
            if now >= until:
                del self._due[connection]
                yield asset_id

    def expect_questions(self, sessions: Iterable[Session]) -> None:
        """Note that the broker is to ask about all of these now."""
        self._unasked = {session.connection: session for session in sessions}

    def asked(self, connection: int) -> None:
        """Note that the broker has asked about it."""
        self._unasked.pop(connection, None)

    def unasked(self) -> list[Session]:
        """Take the sessions that the broker has not asked about."""
        unasked, self._unasked = self._unasked, {}
        return list(unasked.values())
