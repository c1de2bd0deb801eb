"""Keys by issuer and kid, found without I/O, without a lock and without waiting.

The reader's side: one dict lookup in an immutable snapshot. The `Refresher` of each issuer swaps
snapshots from its own thread by one assignment. A kid nobody knows is refused now and noted, so that
the refresher may look for it within its budget; nothing a token says makes a request wait.
"""

from collections.abc import Callable, Iterable

import msgspec

from authplugin.clock import Clock
from authplugin.errors import Reason, Refused
from authplugin.jose.jwk import LeftOut
from authplugin.jose.key import VerifyingKey
from authplugin.keys.snapshot import KeySnapshot

MAX_ASKED = 1024
"""Most unknown kids noted for one fetch: the rest of a flood is refused and forgotten."""

MAX_ABSENT = 1024
"""Most kids remembered as absent."""


class Held(msgspec.Struct, frozen=True):
    """A snapshot in use.

    Attributes:
        snapshot: the keys.
        until: monotonic seconds at which the set is too old to trust (hard TTL).
    """

    snapshot: KeySnapshot
    until: float


class KeyState(msgspec.Struct, frozen=True):
    """What is held for one issuer, for people and metrics.

    Attributes:
        issuer: its name.
        usable: whether tokens of it can be verified now.
        age: seconds since the issuer last vouched for the set, None when there is none.
        keys: fit keys.
        left_out: published keys that are not used, and why.
        error: why the last attempt failed, None when it did not.
        attempts: fetches tried.
        failures: fetches that brought no usable set.
        misses: tokens whose kid was not held.
    """

    issuer: str
    usable: bool
    age: float | None
    keys: tuple[VerifyingKey, ...]
    left_out: tuple[LeftOut, ...]
    error: str | None
    attempts: int
    failures: int
    misses: int


class KeySlot:
    """One issuer's place in the cache: written by its refresher, read by requests.

    Attributes:
        held: the set in use, None before the first good one.
        lapsed: the set in use passed its hard age, and verdicts reached with it were told so.
        asked: unknown kids seen since the last attempt, at most `MAX_ASKED`.
        error: why the last attempt failed, None when it did not.
        attempts: fetches tried.
        failures: fetches that brought no usable set.
        misses: tokens whose kid was not held.
        wake: called when there is a first kid to look for; cheap, from any thread.
    """

    __slots__ = ("_absent", "asked", "attempts", "error", "failures", "held", "lapsed", "misses", "wake")

    def __init__(self) -> None:
        self.held: Held | None = None
        self.lapsed = False
        self.asked: set[str] = set()
        self.error: str | None = None
        self.attempts = 0
        self.failures = 0
        self.misses = 0
        self.wake: Callable[[], None] = _nobody
        self._absent: dict[str, float] = {}

    def miss(self, kid: str, now: float) -> None:
        """Note a kid that is not held, unless the issuer's set was just read without it."""
        self.misses += 1
        if self._absent.get(kid, now) > now:
            return
        asked = self.asked
        first = not asked
        if len(asked) < MAX_ASKED:
            asked.add(kid)
        if first:
            self.wake()

    def answer(self, asked: Iterable[str], until: float) -> None:
        """Remember, until a monotonic time, which of the kids asked for are not in the set held."""
        held = self.held
        absent = {kid: until for kid in asked if held is None or kid not in held.snapshot.keys}
        for kid, end in self._absent.items():
            if len(absent) >= MAX_ABSENT:
                break
            absent.setdefault(kid, end)
        self._absent = absent

    def absent_count(self) -> int:
        """How many kids are remembered as absent."""
        return len(self._absent)


def _nobody() -> None:
    """No refresher is attached yet."""


class KeyCache:
    """The keys of every configured issuer.

    Attributes:
        generation: grows whenever any issuer's key material changes or passes its hard age; a
            verdict reached under an older one is judged again.
    """

    def __init__(self, issuers: Iterable[str], *, clock: Clock) -> None:
        """Start with no keys: every token is refused as ``keys_stale`` until a set is installed."""
        self.generation = 0
        self._slots = {issuer: KeySlot() for issuer in issuers}
        self._clock = clock
        self._monotonic = clock.monotonic

    def find(self, issuer: str, kid: str) -> VerifyingKey:
        """The key that ``issuer`` published as ``kid``; never waits.

        Raises:
            Refused: ``issuer_unknown``, ``keys_stale`` (no set yet, or none younger than the hard
                TTL), ``key_unknown``.
        """
        slot = self._slots.get(issuer)
        if slot is None:
            raise Refused(Reason.ISSUER_UNKNOWN, "no key set is configured for the issuer")
        held = slot.held
        now = self._monotonic()
        if held is None or now >= held.until:
            raise Refused(Reason.KEYS_STALE, "no key set of the issuer is recent enough to trust")
        key = held.snapshot.keys.get(kid)
        if key is None:
            slot.miss(kid, now)
            raise Refused(Reason.KEY_UNKNOWN, "the issuer's key set has no usable key of that kid")
        return key

    def assign(self, issuers: Iterable[str]) -> None:
        """Have a place for these issuers from now on: known ones keep their keys, others lose theirs."""
        self._slots = {issuer: self._slots.get(issuer) or KeySlot() for issuer in issuers}

    def usable_until(self, issuer: str) -> float:
        """Monotonic seconds until which the issuer's keys may be used; 0 when there are none."""
        held = self._slots[issuer].held
        return held.until if held is not None else 0.0

    def slot(self, issuer: str) -> KeySlot:
        """The issuer's place, for its refresher."""
        return self._slots[issuer]

    def install(self, issuer: str, snapshot: KeySnapshot, until: float) -> None:
        """Put a snapshot in use; called by the issuer's refresher only.

        Args:
            issuer: one of the configured ones.
            snapshot: judged keys.
            until: monotonic seconds at which it is too old to trust.
        """
        slot = self._slots.get(issuer)
        if slot is None:
            return  # it was taken off the configuration while its refresher was asking
        before = slot.held
        slot.held = Held(snapshot, until)
        slot.lapsed = False
        if before is None or material(before.snapshot) != material(snapshot):
            # After the swap: a verdict that read the old number is judged again, never kept.
            self.generation += 1

    def lapse(self, issuer: str) -> None:
        """Let verdicts lapse with a set that passed its hard age; called by the issuer's refresher only."""
        slot = self._slots.get(issuer)
        if (
            slot is not None
            and slot.held is not None
            and not slot.lapsed
            and self._monotonic() >= slot.held.until
        ):
            slot.lapsed = True
            self.generation += 1

    def ready(self) -> bool:
        """Whether tokens of every issuer can be verified."""
        return all(self._usable(slot) for slot in self._slots.values())

    def states(self) -> list[KeyState]:
        """What is held, issuer by issuer."""
        now = self._clock.now()
        return [self._state(issuer, slot, now) for issuer, slot in self._slots.items()]

    def _usable(self, slot: KeySlot) -> bool:
        held = slot.held
        return held is not None and self._monotonic() < held.until

    def _state(self, issuer: str, slot: KeySlot, now: float) -> KeyState:
        snapshot = slot.held.snapshot if slot.held is not None else None
        return KeyState(
            issuer=issuer,
            usable=self._usable(slot),
            age=None if snapshot is None else now - snapshot.fetched,
            keys=() if snapshot is None else tuple(snapshot.keys.values()),
            left_out=() if snapshot is None else snapshot.left_out,
            error=slot.error,
            attempts=slot.attempts,
            failures=slot.failures,
            misses=slot.misses,
        )


def material(snapshot: KeySnapshot) -> dict[str, str]:
    """Thumbprint by kid: equal exactly when the same keys have the same names."""
    return {kid: key.thumbprint for kid, key in snapshot.keys.items()}
