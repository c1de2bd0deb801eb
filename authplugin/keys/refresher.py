"""Keeps one issuer's keys fresh from a thread of its own, so that no issuer waits for another.

`step` is one turn without waiting or threads: ask if an attempt is due, say when the next one is.
The thread only calls it and sleeps until then or until a token names an unknown kid.
"""

import logging
import threading
from collections.abc import Callable, Collection

from authplugin.clock import Clock
from authplugin.errors import KeySetError
from authplugin.keys.cache import KeyCache
from authplugin.keys.lastgood import LastGoodFile
from authplugin.keys.schedule import HTTP_TIMING, Schedule, Timing
from authplugin.keys.snapshot import KeySnapshot, take_snapshot
from authplugin.keys.source import Answer, KeySource

_LOG = logging.getLogger(__name__)


class Refresher:
    """The only writer of one issuer's place in a `KeyCache`: one thread, so one fetch at a time."""

    def __init__(
        self,
        cache: KeyCache,
        issuer: str,
        source: KeySource,
        *,
        algorithms: Collection[str],
        clock: Clock,
        jitter: Callable[[], float],
        timing: Timing = HTTP_TIMING,
        last_good: LastGoodFile | None = None,
    ) -> None:
        """Take the last good set from disk, if it may be used.

        Args:
            cache: where the keys go.
            issuer: whose keys.
            source: who is asked.
            algorithms: what the issuer may sign with.
            clock: for ages on disk (now) and for the schedule (monotonic).
            jitter: numbers in [0, 1).
            timing: how often.
            last_good: where the last good set is kept, None for nowhere.
        """
        self._cache = cache
        self._issuer = issuer
        self._slot = cache.slot(issuer)
        self._source = source
        self._algorithms = frozenset(algorithms)
        self._clock = clock
        self._timing = timing
        self._schedule = Schedule(timing, jitter)
        self._last_good = last_good
        self._woken = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        # What this source answered with last. A set from before (a last good file, other settings) is
        # held on, but its entity tag says nothing to another address, nor about other algorithms.
        self._answered: KeySnapshot | None = None
        self._slot.wake = self._woken.set
        self._load()

    def step(self) -> float:
        """Attempt a fetch if one is due; return the seconds until the next may be."""
        now = self._clock.monotonic()
        if now >= self._schedule.due(asked=bool(self._slot.asked)):
            self._attempt(now)
        return max(0.0, self._schedule.due(asked=bool(self._slot.asked)) - self._clock.monotonic())

    def start(self) -> None:
        """Start the thread; the first attempt follows at once."""
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Ask the thread to end and wait at most ``timeout`` seconds; whether it has ended."""
        self._stopping = True
        self._woken.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            self._woken.wait(self.step())
            self._woken.clear()

    def _attempt(self, now: float) -> None:
        slot = self._slot
        asked, slot.asked = slot.asked, set()
        self._schedule.began(now)
        slot.attempts += 1
        fetched = self._clock.now()
        try:
            answer = self._ask()
            snapshot = self._judge(answer, fetched)
        except KeySetError as error:
            self._fail(str(error))
            return
        except Exception as error:  # noqa: BLE001 - a thread that dies would let keys grow stale in silence
            self._fail(f"unforeseen {type(error).__name__}")
            return
        if self._stopping:
            return  # another one may fill this place by now
        self._cache.install(self._issuer, snapshot, now + self._timing.hard)
        self._answered = snapshot
        done = self._clock.monotonic()
        self._schedule.succeeded(done, answer.max_age)
        slot.answer(asked, done + self._timing.absent)
        if slot.error is not None:
            _LOG.info("key set of %s is usable again", self._issuer)
        slot.error = None
        self._save(snapshot)

    def _ask(self) -> Answer:
        return self._source.fetch(None if self._answered is None else self._answered.etag)

    def _judge(self, answer: Answer, fetched: float) -> KeySnapshot:
        if answer.body is not None:
            return take_snapshot(answer.body, self._algorithms, fetched=fetched, etag=answer.etag)
        before = self._answered
        if before is None:
            raise KeySetError("the source says unchanged, but has answered with no set yet")
        return KeySnapshot(before.keys, before.left_out, fetched, before.etag, before.body)

    def _fail(self, why: str) -> None:
        slot = self._slot
        slot.failures += 1
        self._schedule.failed(self._clock.monotonic())
        self._cache.lapse(self._issuer)
        if slot.error != why:
            _LOG.warning("key set of %s was not refreshed: %s", self._issuer, why)
        slot.error = why

    def _load(self) -> None:
        if self._last_good is None or self._slot.held is not None:
            return
        now = self._clock.now()
        try:
            record = self._last_good.load(now=now, hard=self._timing.hard)
            if record is None:
                return
            snapshot = take_snapshot(record.body, self._algorithms, fetched=record.fetched)
        except KeySetError as error:
            _LOG.warning("last good key set of %s is not used: %s", self._issuer, error)
            return
        left = self._timing.hard - (now - record.fetched)
        self._cache.install(self._issuer, snapshot, self._clock.monotonic() + left)

    def _save(self, snapshot: KeySnapshot) -> None:
        if self._last_good is None:
            return
        try:
            self._last_good.save(snapshot)
        except OSError as error:
            _LOG.warning("last good key set of %s was not saved: %s", self._issuer, error.strerror)
