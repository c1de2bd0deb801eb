"""The audit: one JSON line a decision, written by a thread of its own.

A decision only puts a line into a bounded queue; the thread writes what waits, many lines at once.
(The line is encoded at once, while all it names is at hand: later, memory would have to be read
again.) When the disk is slow or full, lines are dropped and counted, and the next line that
can be written says how many: an audit must never stop a broker. A flood of refusals is summed, one
line a reason and second, for it must not fill the disk either. User names are not written, for some
put their token there, and client ids are cut for the same reason.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from authplugin.auditfile import AuditFile
from authplugin.clock import Clock
from authplugin.clones import Finding
from authplugin.errors import Reason
from authplugin.model import Action, Allow, Connect, Decision, Grant, Possession
from authplugin.sessions import Session

QUEUE = 10_000
"""Most lines that wait; some 4 MB."""

WAKE = 1_000
"""Lines that wait before the thread is woken ahead of its time."""

REFUSED_PER_SECOND = 100
"""Refusals written one by one in one second; the rest of that second is summed."""

_SHOWN = 64
_NOT_SHOWN = Possession.NONE

_LOG = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One decision.

    Attributes:
        ts: milliseconds since the epoch.
        event: ``connect``, ``publish``, ``subscribe``, ``receive``, ``end`` (of a session, by the gate),
            ``clone`` or ``dropped``.
        outcome: ``allowed`` or ``refused``.
        reason: why it was refused.
        detail: the same for a person.
        asset: asset id of the verified token.
        device: device id of the verified token.
        issuer: its issuer.
        kid: its key's name.
        digest: first 16 hex digits of the token's SHA-256.
        possession: how the client has shown that it holds its key; left out when it has not.
        client: the MQTT client id, at most 64 characters of it.
        address: the peer's address.
        topic: the topic or filter, at most 64 characters of it.
        us: microseconds the decision took.
        count: decisions that this line stands for, or lines dropped before it.
    """

    ts: int
    event: str
    outcome: str = ""
    reason: str = ""
    detail: str = ""
    asset: str = ""
    device: str = ""
    issuer: str = ""
    kid: str = ""
    digest: str = ""
    possession: str = ""
    client: str = ""
    address: str = ""
    topic: str = ""
    us: int = 0
    count: int = 0


class Audit:
    """An `authplugin.observer.Observer` that writes JSON lines to a file.

    Args:
        file: what the lines are appended to.
        clock: for the lines' times.
        flush_seconds: most time a line waits.
        sample_allowed: share of the allowed connects that are written; allowed topics never are.
        draw: numbers in [0, 1), for the sample.
    """

    def __init__(
        self,
        file: AuditFile,
        *,
        clock: Clock,
        flush_seconds: float,
        sample_allowed: float,
        draw: Callable[[], float],
    ) -> None:
        self._file = file
        self._now = clock.now
        self._flush_seconds = flush_seconds
        self._sample = sample_allowed
        self._draw = draw
        self._queue: deque[bytes] = deque()
        self._put = self._queue.append
        # Each written by one thread alone: the first by the one that decides, the others by the writer.
        self._overflowed = 0
        self._lost = 0
        self._told = 0
        # Of the second that runs: refusals so far, and those of them that are only counted.
        self._second = 0
        self._refused = 0
        self._sums: dict[tuple[str, str], int] = {}
        self._turning = threading.Lock()
        self._error = ""
        self._writing = threading.Lock()
        self._woken = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def path(self) -> Path:
        """The file in use."""
        return self._file.path

    @property
    def dropped(self) -> int:
        """Lines that never reached the file, since the start."""
        return self._overflowed + self._lost

    def authenticated(self, connect: Connect, decision: Decision, seconds: float) -> None:
        """Note a connect."""
        if isinstance(decision, Allow):
            if self._sample < 1.0 and self._draw() >= self._sample:
                return
            grant = decision.grant
            terms = grant.terms
            possession = decision.possession
            self._wait(
                Line(
                    int(self._now() * 1000.0),
                    "connect",
                    "allowed",
                    "",
                    "",
                    grant.asset_id,
                    grant.device_id,
                    terms.issuer,
                    terms.kid,
                    grant.digest[:8].hex(),
                    "" if possession is _NOT_SHOWN else possession,
                    connect.client_id[:_SHOWN],
                    connect.address,
                    "",
                    int(seconds * 1e6),
                )
            )
            return
        now = self._now()
        if self._is_one_of_many(now, "connect", decision.reason):
            return
        self._wait(
            Line(
                int(now * 1000.0),
                "connect",
                "refused",
                decision.reason,
                decision.detail,
                *(_NOBODY if decision.grant is None else _who(decision.grant)),
                client=connect.client_id[:_SHOWN],
                address=connect.address,
                us=int(seconds * 1e6),
            )
        )

    def authorized(self, grant: Grant, action: Action, topic: str, decision: Decision) -> None:
        """Note a refused topic."""
        if isinstance(decision, Allow):
            return
        now = self._now()
        if self._is_one_of_many(now, action, decision.reason):
            return
        self._wait(
            Line(
                int(now * 1000.0),
                action,
                "refused",
                decision.reason,
                decision.detail,
                asset=grant.asset_id,
                device=grant.device_id,
                digest=grant.token_digest,
                topic=topic[:_SHOWN],
            )
        )

    def failed(self, error: Exception) -> None:
        """Nothing to add: the decision that follows says ``internal``."""

    def session_opened(self, session: Session) -> None:
        """Nothing to add: the decision before it is written."""

    def session_expiring(self, session: Session) -> None:
        """Nothing to add: its end will be written."""

    def session_ended(self, session: Session, reason: Reason | None) -> None:
        """Note a session that the gate ended."""
        if reason is not None:
            self._wait(self._about(session, "end", reason, ""))

    def clone_found(self, finding: Finding) -> None:
        """Note a finding."""
        told = f"{finding.kind} {finding.other}".rstrip()
        reason = Reason.QUARANTINED.value if finding.quarantined else ""
        self._wait(self._about(finding.session, "clone", reason, told))

    def _about(self, session: Session, event: str, reason: str, detail: str) -> Line:
        return Line(
            int(self._now() * 1000.0),
            event,
            "",
            reason,
            detail,
            *_who(session.grant),
            client=session.client_id[:_SHOWN],
            address=session.address,
        )

    def start(self) -> None:
        """Start the writing thread."""
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Write what waits and end the thread, within ``timeout`` seconds."""
        self._stopping = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def flush(self, *, last: bool = False) -> None:
        """Write what waits, now; from any thread but the one that decides, unless it may wait.

        Args:
            last: whether the sums of the second that still runs are written as well.
        """
        with self._writing:
            self._flush(last=last)

    def _flush(self, *, last: bool) -> None:
        # A second that nobody was refused after is summed up here, once nobody can be adding to it.
        if self._sums and (last or int(self._now()) > self._second + 1):
            self._turn(self._second)
        take = self._queue.popleft
        lines = [take() for _ in range(len(self._queue))]
        untold = self.dropped - self._told
        if untold:
            lines.insert(0, _encode(Line(int(self._now() * 1000), "dropped", count=untold)))
        if not lines:
            return
        lines.append(b"")
        text = b"\n".join(lines)
        lines.pop()
        written = self._file.append(text)
        kept = len(lines) if written == len(text) else text.count(b"\n", 0, written)
        if kept:
            self._told += untold
        # The line about dropped ones is no decision.
        self._lost += len(lines) - kept - (1 if untold and not kept else 0)
        if self._file.error != self._error:
            self._error = self._file.error
            _LOG.warning(
                "audit: %s: %s; %d lines dropped", self.path, self._error or "well again", self.dropped
            )

    def _wait(self, line: Line) -> None:
        """Let a line wait for the thread; what is beyond the bound is dropped and counted."""
        waiting = len(self._queue)
        if waiting >= QUEUE:
            self._overflowed += 1
            return
        try:
            self._put(_encode(line))
        except UnicodeEncodeError:
            self._put(_encode(_in_unicode(line)))
        if waiting == WAKE:
            self._woken.set()

    def _is_one_of_many(self, now: float, event: str, reason: str) -> bool:
        """Whether a refusal is only counted, because its second has seen enough of them."""
        second = int(now)
        if second != self._second:
            self._turn(second)
        self._refused += 1
        if self._refused <= REFUSED_PER_SECOND:
            return False
        sums = self._sums
        kind = (event, reason)
        sums[kind] = sums.get(kind, 0) + 1
        return True

    def _turn(self, second: int) -> None:
        """Begin another second; the sums of the one before become lines, one a reason."""
        with self._turning:
            sums, self._sums = self._sums, {}
            ts = self._second * 1000 + 999
            self._second = second
            self._refused = 0
        for (event, reason), count in sums.items():
            self._wait(Line(ts, event, "refused", reason, count=count))

    def _run(self) -> None:
        while not self._stopping:
            self._woken.wait(self._flush_seconds)
            self._woken.clear()
            self._flush_surely()
        self._flush_surely(last=True)

    def _flush_surely(self, *, last: bool = False) -> None:
        try:
            self.flush(last=last)
        except Exception as error:  # noqa: BLE001 - a thread that dies would end the audit in silence
            _LOG.error("audit: unforeseen %s", type(error).__name__)


def _in_unicode(line: Line) -> Line:
    """The line with question marks for what a client sent that is no Unicode (lone surrogates)."""
    texts = {
        name: value.encode("utf-8", "replace").decode()
        for name, value in msgspec.structs.asdict(line).items()
        if isinstance(value, str)
    }
    return msgspec.structs.replace(line, **texts)


_NOBODY = ("", "", "", "", "")


def _who(grant: Grant) -> tuple[str, str, str, str, str]:
    """Asset, device, issuer, kid and digest of a verified token."""
    return grant.asset_id, grant.device_id, grant.issuer, grant.kid, grant.token_digest
