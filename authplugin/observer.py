"""Who hears what the gate does: metrics, audit, auth events."""

from collections.abc import Callable

from authplugin.clones import Finding
from authplugin.errors import Reason
from authplugin.model import Action, Connect, Decision, Grant
from authplugin.sessions import Session


class Observer:
    """Hears of every decision and every session what it overrides. Must not raise and must not wait."""

    def authenticated(self, connect: Connect, decision: Decision, seconds: float) -> None:
        """A connect was decided in ``seconds``."""

    def authorized(self, grant: Grant, action: Action, topic: str, decision: Decision) -> None:
        """A topic was decided."""

    def failed(self, error: Exception) -> None:
        """The gate itself failed and denied; the error's text may hold secrets, its type does not."""

    def session_opened(self, session: Session) -> None:
        """A client that was let in has connected."""

    def session_expiring(self, session: Session) -> None:
        """A session's token ends soon."""

    def session_ended(self, session: Session, reason: Reason | None) -> None:
        """A session is over; ``reason`` is why the gate ended it, None when it did not."""

    def clone_found(self, finding: Finding) -> None:
        """One identity was seen from two places."""


def hearing(observers: tuple[Observer, ...], what: str) -> tuple[Callable[..., None], ...]:
    """The methods of that name of those who override it: calling the others would only cost time."""
    return tuple(
        getattr(observer, what)
        for observer in observers
        if getattr(getattr(observer, what), "__func__", None) is not getattr(Observer, what)
    )


def report(observers: tuple[Observer, ...], tell: Callable[[Observer], None]) -> None:
    """Tell every observer; what happened stands, whoever fails to write it down."""
    for observer in observers:
        try:  # noqa: SIM105 - suppress() would be made anew for each
            tell(observer)
        except Exception:  # noqa: BLE001, S110 - as above
            pass
