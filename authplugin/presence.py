"""Who is connected: opens and ends sessions, sees clones, and says which sessions must go.

For the door's thread. What other threads have for it (files read anew, requests of an administrator)
they hand over as work, which is done when the door asks what is due.
"""

from collections import deque
from collections.abc import Callable

from authplugin.clock import Clock
from authplugin.clones import Clones, Finding
from authplugin.errors import Reason
from authplugin.model import Connect, Grant, GrantRefused, Possession
from authplugin.observer import Observer, hearing, report
from authplugin.revocation import Revocations
from authplugin.sessions import Kick, Session, Sessions
from authplugin.suffixes import Suffixes
from authplugin.throttle import Throttle


class Presence:
    """Live sessions and what follows from their coming and going.

    Args:
        sessions: the table of live sessions.
        clones: sees each come and go.
        throttle: knows the addresses from which clients were let in.
        observers: hear of it.
        clock: for debts.
    """

    def __init__(
        self,
        sessions: Sessions,
        clones: Clones,
        throttle: Throttle,
        observers: tuple[Observer, ...],
        *,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._clones = clones
        self._throttle = throttle
        self._observers = observers
        self._suffixes = Suffixes(clock=clock)
        self._tell_opened = hearing(observers, "session_opened")
        self._tell_ended = hearing(observers, "session_ended")
        self._posted: deque[Callable[[], None]] = deque()

    def post(self, work: Callable[[], None]) -> None:
        """Have work done at the next `due`, in order; for any thread."""
        self._posted.append(work)

    def check_suffix(self, connect: Connect, grant: Grant, most: int) -> None:
        """Check that an asset may have one more client id beside its own; one that is live it has already.

        Args:
            connect: as the gate judges it; its client id is the asset's.
            grant: what its token says.
            most: live sessions with which an asset gets no other.

        Raises:
            GrantRefused: ``throttled``.
        """
        client_id = connect.client_id
        if self._sessions.find(client_id) is not None:
            return
        if self._clones.live(grant.asset_id) >= most:
            detail = f"the asset has {most} sessions already, the most that sessions.most_per_asset allows"
            raise GrantRefused(Reason.THROTTLED, detail, grant)
        if not self._suffixes.admits(client_id, grant.asset_id, connect.address):
            detail = "too many new client ids of the asset from there, one in ten minutes is left"
            raise GrantRefused(Reason.THROTTLED, detail, grant)

    def open(
        self,
        client_id: str,
        connection: int,
        grant: Grant,
        *,
        generation: int,
        leeway: float,
        address: str,
        possession: Possession,
    ) -> Session | None:
        """Record that a client was let in; see `Sessions.open`."""
        before = self._sessions.find(client_id)
        taken = self._sessions.open(
            client_id,
            connection,
            grant,
            generation=generation,
            leeway=leeway,
            address=address,
            possession=possession,
        )
        session = self._sessions.find(client_id)
        if session is None or (before is not None and before.connection == connection):
            return None  # judged again: nobody came and nobody went
        self._throttle.vouch(address)
        if taken is not None:
            self._end(taken)
        elif ":" in client_id:
            self._suffixes.opened(client_id, grant.asset_id, address)
        for tell in self._tell_opened:
            try:  # noqa: SIM105 - suppress() would be made anew for each
                tell(session)
            except Exception:  # noqa: BLE001, S110 - it has come, whoever fails to write it down
                pass
        for finding in self._clones.opened(session, taken):
            self._found(finding)
        return taken

    def close(self, client_id: str, connection: int) -> Session | None:
        """Record that a connection ended; see `Sessions.close`."""
        session = self._sessions.close(client_id, connection)
        if session is not None:
            self._throttle.vouch(session.address)
            self._clones.closed(session)
            self._end(session)
        return session

    def due(self) -> list[Kick]:
        """Do what was posted; take the sessions that must be disconnected now."""
        while self._posted:
            work = self._posted.popleft()
            try:
                work()
            except Exception as error:  # noqa: BLE001 - one request that fails must not keep sessions alive
                self._fail(error)
        kicks = self._sessions.due()
        for session in self._sessions.expiring():
            self._warn(session)
        return kicks

    def kick_revoked(self, revocations: Revocations) -> int:
        """Have the sessions go whose tokens are revoked; how many those are."""
        return self._kick(lambda grant: revocations.find(grant) is not None, Reason.REVOKED)

    def kick_asset(self, asset_id: str, reason: Reason) -> int:
        """Have the sessions of an asset go; how many those are."""
        return self._kick(lambda grant: grant.asset_id == asset_id, reason)

    def _kick(self, named: Callable[[Grant], bool], reason: Reason) -> int:
        named_sessions = [session for session in self._sessions.snapshot() if named(session.grant)]
        for session in named_sessions:
            self._sessions.kick(session.client_id, reason)
        return len(named_sessions)

    def _found(self, finding: Finding) -> None:
        report(self._observers, lambda observer: observer.clone_found(finding))
        if finding.quarantined:
            self.kick_asset(finding.session.grant.asset_id, Reason.QUARANTINED)

    def _warn(self, session: Session) -> None:
        report(self._observers, lambda observer: observer.session_expiring(session))

    def _fail(self, error: Exception) -> None:
        report(self._observers, lambda observer: observer.failed(error))

    def _end(self, session: Session) -> None:
        reason = self._sessions.leaving(session)
        for tell in self._tell_ended:
            try:  # noqa: SIM105 - as above
                tell(session, reason)
            except Exception:  # noqa: BLE001, S110 - as above
                pass
