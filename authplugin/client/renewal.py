"""Keeps a device's token fresh: the next one is asked for well before the present one ends.

A fleet that was installed in one day must not ask in one minute, so each token is renewed at a
moment drawn from a span of its life, and a failed attempt waits longer each time.
"""

import random
import threading
import time
from collections.abc import Callable

from authplugin.client.credentials import Credentials

EARLIEST, LATEST = 0.6, 0.85
"""The span in which a token is renewed, as shares of what was left of its life when it came."""

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 2.0, 300.0
"""Waits after failed attempts: doubled each time, and halved at most by chance."""


class TokenSource:
    """The device's token, and when the next is due; may be asked from several threads.

    Args:
        fetch: gets a new token from the issuer (`register`, or a function of your own); it blocks,
            and raises what it likes when there is none.
        credentials: of a token that is at hand, such as one kept in flash.
        now: seconds since the epoch.
        draw: a number from 0 to 1.
    """

    def __init__(
        self,
        fetch: Callable[[], Credentials],
        credentials: Credentials | None = None,
        *,
        now: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._draw = draw
        self._lock = threading.Lock()
        self._failures = 0
        # What the last attempt raised, until the next is due.
        self._error: Exception | None = None
        self._due = 0.0
        self._credentials = credentials
        if credentials is not None:
            self._due = self._schedule(credentials)

    def __repr__(self) -> str:
        return f"TokenSource({self._credentials!r})"

    def current(self) -> Credentials:
        """A token to connect with: the one at hand, or a new one when it is due.

        Raises:
            Exception: what ``fetch`` raised, when the token at hand has ended or there is none; again and
                without asking until the next attempt is due. While a token lasts a failure only
                postpones its renewal.
        """
        with self._lock:
            held = self._credentials
            now = self._now()
            if held is not None and now < min(self._due, held.expires):
                return held
            # A clock that was set back must not keep a device from its issuer for longer than it would wait.
            if self._error is not None and now < self._due <= now + LONGEST_RETRY_SECONDS:
                raise self._error.with_traceback(None)
            try:
                fresh = self._fetch()
            except Exception as error:
                self._failures += 1
                self._error = error
                self._due = now + self._retry_seconds()
                if held is None or now >= held.expires:
                    raise
                return held
            self._credentials, self._failures, self._error = fresh, 0, None
            self._due = self._schedule(fresh)
            return fresh

    def wait_seconds(self) -> float:
        """Seconds until `current` will ask for a new token; 0 when it would now."""
        with self._lock:
            return max(0.0, self._due - self._now())

    def drop(self) -> None:
        """Ask for a new token at the next `current`: the broker refused the one at hand."""
        with self._lock:
            self._credentials = self._error = None
            self._due = 0.0

    def _schedule(self, credentials: Credentials) -> float:
        now = self._now()
        left = credentials.expires - max(now, credentials.begins)
        share = EARLIEST + (LATEST - EARLIEST) * self._draw()
        return max(now, credentials.begins) + max(0.0, left) * share

    def _retry_seconds(self) -> float:
        longest = FIRST_RETRY_SECONDS * 2.0 ** min(self._failures - 1, 16)
        return min(LONGEST_RETRY_SECONDS, longest) * (0.5 + 0.5 * self._draw())
