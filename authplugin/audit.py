"""The audit: one JSON line a decision, written by a thread of its own.

A decision only lets a line wait; every fiftieth encodes what waits, while all that is named is still
at hand (the thread would have to read that memory again), and the thread writes. When the disk is
slow or full, lines are dropped and counted, and the next line that can be written says how many: an
audit must never stop a broker. A flood of refusals is summed, one line a reason and second, for it
must not fill the disk either. User names are not written, for some put their token there, and client
ids are cut for the same reason.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from authplugin.auditfile import AuditFile
from authplugin.clock import Clock
from authplugin.clones import Finding
from authplugin.errors import Reason
from authplugin.model import Action, Allow, Connect, Decision, Deny, Grant, Possession
from authplugin.observer import Observer
from authplugin.sessions import Session

BATCH = 50
"""Lines encoded at once."""

QUEUE = 10_000
"""Most lines that wait, some batches; 4 MB."""

WAKE = 1_000
"""Lines in batches, at which the thread is woken ahead of its time."""

REFUSED_PER_SECOND = 100
"""Refusals written one by one in one second; the rest of that second is summed."""

_SHOWN = 64
_NOT_SHOWN = Possession.NONE

_LOG = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode_lines


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


class _LetIn(msgspec.Struct, frozen=True, gc=False):
    """The line that most are, a connect let in on its token alone: members of `Line` that it has."""

    ts: int
    event: str
    outcome: str
    asset: str
    device: str
    issuer: str
    kid: str
    digest: str
    client: str
    address: str
    us: int


class Audit(Observer):
    """Writes JSON lines to a file.

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
        # Lines, and batches of them with their number; who takes from either holds the lock, and the
        # thread that decides never waits for it.
        self._lines: list[Line | _LetIn] = []
        self._put = self._lines.append
        self._batches: list[tuple[int, bytes]] = []
        self._gathering = threading.Lock()
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
            if decision.possession is not _NOT_SHOWN:
                self._wait(_about_connect(self._now(), connect, decision, seconds))
                return
            # As above, without the calls: this is every connect of a fleet.
            if len(self._lines) >= BATCH and not self._gather():
                return
            terms = grant.terms
            self._put(
                _LetIn(
                    int(self._now() * 1000.0),
                    "connect",
                    "allowed",
                    grant.asset_id,
                    grant.device_id,
                    terms.issuer,
                    terms.kid,
                    grant.digest[:8].hex(),
                    connect.client_id[:_SHOWN],
                    connect.address,
                    int(seconds * 1e6),
                )
            )
            return
        now = self._now()
        if self._is_one_of_many(now, "connect", decision.reason):
            return
        self._wait(_about_connect(now, connect, decision, seconds))

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
        with self._gathering:
            self._encode_lines()
            batches, self._batches = self._batches, []
        untold = self.dropped - self._told
        if untold:
            told = Line(int(self._now() * 1000), "dropped", count=untold)
            batches.insert(0, (1, _write([told])))
        if not batches:
            return
        count = sum([lines for lines, _ in batches])
        text = b"".join([encoded for _, encoded in batches])
        written = self._file.append(text)
        kept = count if written == len(text) else text.count(b"\n", 0, written)
        if kept:
            self._told += untold
        # The line about dropped ones is no decision.
        self._lost += count - kept - (1 if untold and not kept else 0)
        if self._file.error != self._error:
            self._error = self._file.error
            _LOG.warning(
                "audit: %s: %s; %d lines dropped", self.path, self._error or "well again", self.dropped
            )

    def _wait(self, line: Line) -> None:
        """Let a line wait for the thread; what is beyond the bound is dropped and counted."""
        if len(self._lines) < BATCH or self._gather():
            self._put(line)

    def _gather(self) -> bool:
        """Make a batch of the lines that wait; False when that many wait that the next one is dropped."""
        if not self._gathering.acquire(blocking=False):
            return True  # the writer is at it
        try:
            if len(self._batches) >= QUEUE // BATCH - 1:
                self._overflowed += 1
                return False
            self._encode_lines()
            if len(self._batches) == WAKE // BATCH:
                self._woken.set()
        finally:
            self._gathering.release()
        return True

    def _encode_lines(self) -> None:
        """Move the lines that wait into a batch; whoever decides may let more wait meanwhile."""
        lines = self._lines
        count = len(lines)
        if count:
            self._batches.append((count, _write(lines[:count])))
            del lines[:count]

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


def _write(lines: list[Line | _LetIn]) -> bytes:
    """The lines as JSON, a line end behind each."""
    try:
        return _encode(lines)
    except UnicodeEncodeError:
        return _encode([_in_unicode(line) for line in lines])


def _in_unicode(line: Line | _LetIn) -> Line | _LetIn:
    """The line with question marks for what a client sent that is no Unicode (lone surrogates)."""
    texts = {
        name: value.encode("utf-8", "replace").decode()
        for name, value in msgspec.structs.asdict(line).items()
        if isinstance(value, str)
    }
    return msgspec.structs.replace(line, **texts)


def _about_connect(now: float, connect: Connect, decision: Decision, seconds: float) -> Line:
    if isinstance(decision, Deny):
        outcome, reason, detail, possession = "refused", decision.reason.value, decision.detail, ""
    else:
        outcome, reason, detail, possession = "allowed", "", "", decision.possession.value
    return Line(
        int(now * 1000.0),
        "connect",
        outcome,
        reason,
        detail,
        *(_NOBODY if decision.grant is None else _who(decision.grant)),
        possession=possession,
        client=connect.client_id[:_SHOWN],
        address=connect.address,
        us=int(seconds * 1e6),
    )


_NOBODY = ("", "", "", "", "")


def _who(grant: Grant) -> tuple[str, str, str, str, str]:
    """Asset, device, issuer, kid and digest of a verified token."""
    return grant.asset_id, grant.device_id, grant.issuer, grant.kid, grant.token_digest
