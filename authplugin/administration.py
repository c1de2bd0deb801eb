"""What an administrator may ask of a running gate, and what is done then.

Reading takes snapshots. What changes the gate is handed to the door's thread, which does it at its
next turn; revocations are written to their file first, so that they outlive the process.
"""

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from authplugin.admin import AdminError, Request
from authplugin.clock import Clock
from authplugin.clones import Clones
from authplugin.errors import ConfigurationError
from authplugin.gate import Gate
from authplugin.jose.identity import canonical_asset_id
from authplugin.keys.cache import KeyCache, KeyState
from authplugin.revocation import (
    Entry,
    add_entry,
    check_not_blank,
    entry_key,
    issued_before,
    parse_revocations,
    remove_entry,
    write_entry,
)
from authplugin.sessions import Session, Sessions
from authplugin.watch import replace_file

DOOR_SECONDS = 4.0
"""How long the door's thread may take for its next turn."""

MOST_SESSIONS = 1_000

_SLACK_SECONDS = 60.0
"""By how much two clocks may differ that both say now."""

_FORCE = " (--force, in HTTP ?force=1, revokes it all the same)"

T = TypeVar("T")


class Quarantine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request's body: an asset id in either form, and for how long."""

    asset: str
    seconds: float | None = None


class Administration:
    """Answers the requests of an `authplugin.admin.AdminListener`; on its threads.

    Args:
        gate: what is changed.
        sessions: live sessions, for reading.
        keys: key sets, for reading.
        clones: quarantines, for reading.
        step: looks at the watched files at once.
        in_force: whether the file of revocations, as it is now, is in force.
        revocations: that file, None while there is none.
        clock: for the age of sessions.
        patience: seconds to wait for the door.
    """

    def __init__(  # noqa: PLR0913 - all it asks and tells, by name
        self,
        gate: Gate,
        *,
        sessions: Sessions,
        keys: KeyCache,
        clones: Clones,
        step: Callable[[], None],
        in_force: Callable[[], bool],
        revocations: Callable[[], Path | None],
        clock: Clock,
        patience: float = DOOR_SECONDS,
    ) -> None:
        self._gate = gate
        self._sessions = sessions
        self._keys = keys
        self._clones = clones
        self._step = step
        self._in_force = in_force
        self._revocations = revocations
        self._now = clock.now
        self._patience = patience
        self._writing = threading.Lock()
        self._routes: Mapping[tuple[str, str], Callable[[Request], object]] = {
            ("GET", "/keys"): self._list_keys,
            ("GET", "/sessions"): self._list_sessions,
            ("GET", "/quarantined"): self._list_quarantined,
            ("POST", "/revoke"): self._revoke,
            ("POST", "/unrevoke"): self._unrevoke,
            ("POST", "/quarantine"): self._quarantine,
            ("POST", "/release"): self._release,
        }

    def answer(self, request: Request) -> object:
        """Do what is asked.

        Raises:
            AdminError: it is not done.
        """
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = ", ".join(f"{method} {path}" for method, path in self._routes)
            raise AdminError(HTTPStatus.NOT_FOUND, f"one of {known}")
        return route(request)

    def _list_keys(self, _request: Request) -> object:
        return [tell_keys(state) for state in self._keys.states()]

    def _list_sessions(self, request: Request) -> object:
        asset_id = request.query.get("asset")
        found = self._sessions.snapshot()
        total = len(found)
        if asset_id is not None:
            forms = self._forms(asset_id)
            found = tuple(session for session in found if session.grant.asset_id in forms)
        now = self._now()
        shown = [_shown(session, now) for session in found[: self._limit(request)]]
        return {"live": total, "found": len(found), "sessions": shown}

    def _limit(self, request: Request) -> int:
        text = request.query.get("limit", str(MOST_SESSIONS))
        if not text.isdigit() or int(text) > MOST_SESSIONS:
            raise AdminError(HTTPStatus.BAD_REQUEST, f"limit: at most {MOST_SESSIONS}")
        return int(text)

    def _list_quarantined(self, _request: Request) -> object:
        return {asset_id: round(left) for asset_id, left in self._clones.quarantined().items()}

    def _revoke(self, request: Request) -> object:
        entry = _decode(request, Entry)
        if "force" not in request.query:
            self._check_known(entry)
        live = self._sessions.snapshot()
        self._write(lambda text: add_entry(text, entry))
        compiled = parse_revocations(write_entry(entry), "request")
        named = [session for session in live if compiled.find(session.grant) is not None]
        return {"revoked": 1, "sessions": len(named), "note": self._note(entry)}

    def _check_known(self, entry: Entry) -> None:
        """Check that an entry can mean a token that would be let in: with a slip in it, it revokes nothing.

        Raises:
            AdminError: it cannot.
        """
        try:
            entry_key(entry)
        except ValueError as error:
            raise AdminError(HTTPStatus.BAD_REQUEST, str(error)) from None
        if entry.issued_before is not None and issued_before(entry) > self._now() + _SLACK_SECONDS:
            found = (
                "issued_before: found a time to come, which tokens that are yet to be issued are older than"
            )
            raise AdminError(HTTPStatus.BAD_REQUEST, f"nothing is revoked: {found}{_FORCE}")
        issuers = self._gate.policy.issuers
        if entry.issuer is not None and entry.issuer not in issuers:
            found = f"issuer: found one that is not configured, expected one of {', '.join(issuers)}"
            raise AdminError(HTTPStatus.BAD_REQUEST, f"nothing is revoked: {found}{_FORCE}")
        if entry.asset is None:
            return
        try:
            self._forms(entry.asset)
        except AdminError as error:
            raise AdminError(error.status, f"nothing is revoked: {error}{_FORCE}") from None

    def _note(self, entry: Entry) -> str | None:
        """What is odd about an entry that is in force; None when nothing is."""
        if entry.kid is None or any(
            entry.kid == key.kid
            for state in self._keys.states()
            if state.issuer == entry.issuer
            for key in state.keys
        ):
            return None
        return "the gate holds no such key of the issuer now: `authplugin keys` shows those it does"

    def _unrevoke(self, request: Request) -> object:
        entry = _decode(request, Entry)
        removed = 0

        def without(text: bytes) -> bytes:
            nonlocal removed
            kept, removed = remove_entry(text, entry)
            return kept

        self._write(without)
        return {"removed": removed}

    def _quarantine(self, request: Request) -> object:
        asked = _decode(request, Quarantine)
        if asked.seconds is not None and not 1 <= asked.seconds <= 10**9:
            raise AdminError(HTTPStatus.BAD_REQUEST, "seconds: 1 to 1,000,000,000")
        forms = self._forms(asked.asset)
        return {
            "sessions": self._at_the_door(
                lambda: sum(self._gate.quarantine(form, asked.seconds) for form in forms)
            )
        }

    def _release(self, request: Request) -> object:
        forms = self._forms(_decode(request, Quarantine).asset)
        released = self._at_the_door(lambda: sum(self._gate.release(form) for form in forms))
        return {"released": released > 0}

    def _forms(self, asset_id: str) -> frozenset[str]:
        """The asset's id as grants have it, whichever issuer speaks for it."""
        forms, why = set(), "is of no issuer"
        for issuer in self._gate.policy.issuers.values():
            try:
                forms.add(canonical_asset_id(asset_id, issuer.id_form))
            except ValueError as error:
                why = str(error)
        if not forms:
            raise AdminError(HTTPStatus.BAD_REQUEST, f"asset: found what {why}, expected an asset's id")
        return frozenset(forms)

    def _write(self, change: Callable[[bytes], bytes]) -> None:
        """Change the file of revocations, have it read, and wait until it is in force."""
        path = self._revocations()
        if path is None:
            raise AdminError(HTTPStatus.CONFLICT, "there is no file of revocations: set file in [revocation]")
        with self._writing:
            _rewrite(path, change)
            self._step()
            self._at_the_door(_nothing)
            if not self._in_force() or self._revocations() != path:
                raise AdminError(
                    HTTPStatus.CONFLICT,
                    f"{path} is written, but is not in force: the broker's log says what is wrong with it",
                )

    def _at_the_door(self, work: Callable[[], T]) -> T:
        """Have work done on the door's thread and wait for it, and so for all that was posted before."""
        done = threading.Event()
        results: list[T] = []

        def run() -> None:
            try:
                results.append(work())
            finally:
                done.set()

        self._gate.post(run)
        if not done.wait(self._patience):
            raise AdminError(
                HTTPStatus.SERVICE_UNAVAILABLE, "the broker is busy; it is done at its next turn"
            )
        if not results:
            raise AdminError(HTTPStatus.INTERNAL_SERVER_ERROR, "the gate failed to do it")
        return results[0]


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace what a file of revocations says.

    Raises:
        AdminError: it is as it was.
    """
    try:
        before = path.read_bytes()
        check_not_blank(before, str(path))  # adding to it would take all back that it lost
        text = change(before)
        parse_revocations(text, str(path))
        replace_file(path, text)
    except OSError as error:
        raise AdminError(
            HTTPStatus.CONFLICT,
            f"{path} and its directory must be writable for the broker: {error.strerror}",
        ) from None
    except ConfigurationError as error:
        raise AdminError(HTTPStatus.CONFLICT, str(error)) from None
    except ValueError as error:
        raise AdminError(HTTPStatus.BAD_REQUEST, str(error)) from None


def _nothing() -> bool:
    """Wait for the door's next turn."""
    return True


def _decode(request: Request, model: type[T]) -> T:
    try:
        return msgspec.json.decode(request.body, type=model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AdminError(HTTPStatus.BAD_REQUEST, f"the body: {error}") from None


def _shown(session: Session, now: float) -> dict[str, object]:
    grant = session.grant
    return {
        "clientId": session.client_id,
        "asset": grant.asset_id,
        "device": grant.device_id,
        "issuer": grant.issuer,
        "kid": grant.kid,
        "token": grant.token_digest,
        "keyThumbprint": grant.key_thumbprint,
        "possession": session.possession,
        "address": session.address,
        "seconds": round(now - session.opened, 3),
        "expires": grant.expires,
    }


def tell_keys(state: KeyState) -> dict[str, Any]:
    """What is held for one issuer, as JSON: public keys by name and thumbprint, and what is left out."""
    return {
        "issuer": state.issuer,
        "usable": state.usable,
        "age": state.age,
        "keys": [
            {"kid": key.kid, "algorithm": key.algorithm, "bits": key.bits, "thumbprint": key.thumbprint}
            for key in state.keys
        ],
        "leftOut": [msgspec.structs.asdict(one) for one in state.left_out],
        "error": state.error,
        "attempts": state.attempts,
        "failures": state.failures,
        "misses": state.misses,
    }
