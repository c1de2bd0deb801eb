"""The audit: one JSON line a decision, written by a thread of its own.

A decision only puts a line into a bounded queue. When the disk is slow or full, lines are dropped
and counted, and the next line that can be written says how many: an audit must never stop a broker.
User names are not written, for some put their token there, and client ids are cut for the same reason.
"""

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from authplugin.clock import Clock
from authplugin.model import Action, Allow, Connect, Decision, Grant, Possession

QUEUE = 10_000
"""Most lines that wait; some 4 MB."""

_SHOWN = 64

_LOG = logging.getLogger(__name__)


class Line(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One decision.

    Attributes:
        ts: milliseconds since the epoch.
        event: ``connect``, ``publish``, ``subscribe``, ``receive``, or ``dropped``.
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
        count: lines dropped before this one.
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
    """An `authplugin.gate.Observer` that writes JSON lines to a file.

    Args:
        path: file to append to; made with mode 0600.
        clock: for the lines' times.
        flush_seconds: most time a line waits.
        sample_allowed: share of the allowed connects that are written; allowed topics never are.
        draw: numbers in [0, 1), for the sample.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        flush_seconds: float,
        sample_allowed: float,
        draw: Callable[[], float],
    ) -> None:
        self.path = path
        self.dropped = 0
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._sample = sample_allowed
        self._draw = draw
        self._encode = msgspec.json.Encoder().encode
        self._queue: deque[bytes] = deque()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def authenticated(self, connect: Connect, decision: Decision, seconds: float) -> None:
        """Note a connect."""
        ts = int(self._clock.now() * 1000)
        client = connect.client_id[:_SHOWN]
        us = int(seconds * 1e6)
        if isinstance(decision, Allow):
            if self._sample < 1.0 and self._draw() >= self._sample:
                return
            grant = decision.grant
            self._put(
                Line(
                    ts,
                    "connect",
                    "allowed",
                    asset=grant.asset_id,
                    device=grant.device_id,
                    issuer=grant.issuer,
                    kid=grant.kid,
                    digest=grant.token_digest,
                    possession="" if decision.possession is Possession.NONE else decision.possession.value,
                    client=client,
                    address=connect.address,
                    us=us,
                )
            )
        else:
            self._put(
                Line(
                    ts,
                    "connect",
                    "refused",
                    decision.reason,
                    decision.detail,
                    client=client,
                    address=connect.address,
                    us=us,
                )
            )

    def authorized(self, grant: Grant, action: Action, topic: str, decision: Decision) -> None:
        """Note a refused topic."""
        if isinstance(decision, Allow):
            return
        self._put(
            Line(
                int(self._clock.now() * 1000),
                action.value,
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

    def start(self) -> None:
        """Start the writing thread."""
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Write what waits and end the thread, within ``timeout`` seconds."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def flush(self) -> None:
        """Write what waits, now; lines that cannot be written are dropped and counted."""
        lines = []
        with contextlib.suppress(IndexError):  # the queue is empty
            while True:
                lines.append(self._queue.popleft())
        if not lines:
            return
        dropped = self.dropped
        if dropped:
            lines.insert(0, self._encode(Line(int(self._clock.now() * 1000), "dropped", count=dropped)))
        try:
            self._append(b"\n".join(lines) + b"\n")
        except OSError as error:
            self.dropped += len(lines) - bool(dropped)
            _LOG.warning("audit: %s: %s; %d lines dropped", self.path, error.strerror, self.dropped)
        else:
            self.dropped -= dropped

    def _put(self, line: Line) -> None:
        if len(self._queue) >= QUEUE:
            self.dropped += 1
            return
        self._queue.append(self._encode(line))

    def _append(self, text: bytes) -> None:
        """Open anew each time, so that a rotated file is let go of by itself."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self.path, flags, 0o600), "wb", buffering=0) as file:
            while text:
                text = text[file.write(text) :]

    def _run(self) -> None:
        while not self._stopping.wait(self._flush_seconds):
            self.flush()
        self.flush()
