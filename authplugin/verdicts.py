"""Verified tokens, remembered: a good token is verified once, then found by the digest of its bytes.

The key is the SHA-256 of *all* bytes: another payload under a cached signature finds nothing, and
memory holds no bearer token. Only verified tokens get in, so nobody without a key can fill it. Bad
tokens have a small memory of their own, for a shared one would let floods push good tokens out.
"""

from collections import OrderedDict

import msgspec

from authplugin.errors import Reason
from authplugin.model import Grant

CAPACITY = 100_000
TTL_SECONDS = 900.0
REFUSED_CAPACITY = 4_096
REFUSED_TTL_SECONDS = 30.0

_FRESH = 0.99
_AT_ONCE = 4

LASTING = frozenset(
    {
        Reason.SIGNATURE_INVALID,
        Reason.NOT_ASSET_TOKEN,
        Reason.CLAIMS_MALFORMED,
        Reason.EXP_MISSING,
        Reason.EXPIRED,
        Reason.AUDIENCE_MISMATCH,
        Reason.ASSET_MISSING,
        Reason.DEVICE_MISSING,
        Reason.ASSET_UNSAFE,
        Reason.FOREIGN_ASSET,
        Reason.ASSET_UNKNOWN,
        Reason.REVOKED,
    }
)
"""Refusals that the same bytes earn again under the same keys, policy and revocations. ``key_unknown``,
``keys_stale`` and ``not_yet_valid`` end by themselves; the form of a token is cheaper to judge
again than to remember."""


class Belief(msgspec.Struct, frozen=True, gc=False):
    """For how long a verdict is believed; shared by the verdicts of some seconds.

    Attributes:
        until: last moment, seconds since the epoch.
        generation: of the keys and policy it was judged under.
    """

    until: float
    generation: int


class Verdict(Grant, frozen=True, gc=False):
    """A verified token: its grant, and for how long that is believed."""

    belief: Belief


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A token known to be bad, with the same fields as `Belief` and why."""

    until: float
    generation: int
    reason: Reason
    detail: str


class VerdictCache:
    """Verified tokens by their SHA-256: at least the ``capacity`` used last, at most twice as many.

    Two generations, as two dicts: a verdict enters the young one, and enters it again when it is
    used; when the young one is full it becomes the old one, and what was old is let go of, a few at
    a time, so that no decision pays for all. A list of last use would double the memory and cost
    every hit.

    For one thread at a time. ``hits`` and ``misses`` count lookups of good tokens.

    Args:
        capacity: good tokens remembered; about 0.5 kB each.
        ttl: seconds after which a good token is judged again, however long it lives: bounds how
            long a verdict outlives a key set gone stale. Up to a hundredth less.
        refused_capacity: bad tokens remembered.
        refused_ttl: seconds for which a bad token is remembered.
    """

    def __init__(
        self,
        *,
        capacity: int = CAPACITY,
        ttl: float = TTL_SECONDS,
        refused_capacity: int = REFUSED_CAPACITY,
        refused_ttl: float = REFUSED_TTL_SECONDS,
    ) -> None:
        self._capacity = capacity
        self._ttl = ttl
        self._refused_capacity = refused_capacity
        self._refused_ttl = refused_ttl
        self._young: dict[bytes, Verdict] = {}
        self._old: dict[bytes, Verdict] = {}
        self._leaving: dict[bytes, Verdict] = {}
        self._belief = Belief(0.0, 0)
        self._bad: OrderedDict[bytes, Refusal] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, digest: bytes, generation: int, now: float) -> Grant | None:
        """The grant of a token verified before, None when it must be verified (again)."""
        verdict = self._young.get(digest)
        if verdict is None:
            verdict = self._old.pop(digest, None)
            if verdict is None:
                self.misses += 1
                return None
            self._keep(verdict)
        belief = verdict.belief
        if belief.generation == generation and now < belief.until:
            self.hits += 1
            return verdict
        if now >= belief.until:
            del self._young[digest]
        self.misses += 1
        return None

    def find_since(self, digest: bytes, since: int, now: float) -> Grant | None:
        """The grant of a token whose signature was verified in generation ``since`` or later.

        What changed afterwards (revocations, provisioned assets) is to be checked again, see `renew`.
        """
        verdict = self._peek(digest)
        if verdict is None or verdict.belief.generation < since or now >= verdict.belief.until:
            return None
        return verdict

    def renew(self, digest: bytes, generation: int) -> None:
        """Carry a verdict over into another generation; it lives no longer for it."""
        verdict = self._peek(digest)
        if verdict is not None:
            self._old.pop(digest, None)
            self._keep(_believe(verdict, Belief(verdict.belief.until, generation)))

    def remember(self, grant: Grant, generation: int, now: float, *, leeway: float) -> Grant:
        """Remember a token that has just been verified, until ``exp`` and leeway at the latest.

        Returns:
            The grant as remembered: whoever keeps it shares the cache's memory.
        """
        if self._capacity == 0:
            return grant
        belief = self._belief
        left = belief.until - now
        if belief.generation != generation or not self._ttl * _FRESH <= left <= self._ttl:
            belief = self._belief = Belief(now + self._ttl, generation)
        if grant.expires + leeway < belief.until:
            belief = Belief(grant.expires + leeway, generation)
        if self._old:
            self._old.pop(grant.digest, None)
        verdict = _believe(grant, belief)
        self._keep(verdict)
        return verdict

    def generation(self, digest: bytes) -> int:
        """The generation a token was judged under, 0 when it is not remembered."""
        verdict = self._peek(digest)
        return 0 if verdict is None else verdict.belief.generation

    def _peek(self, digest: bytes) -> Verdict | None:
        return self._young.get(digest) or self._old.get(digest)

    def _keep(self, verdict: Verdict) -> None:
        """Put a verdict among the young ones, and let go of some that nobody uses."""
        leaving = self._leaving
        if leaving:
            for _ in range(min(_AT_ONCE, len(leaving))):
                leaving.popitem()
        young = self._young
        young[verdict.digest] = verdict
        if len(young) > self._capacity:
            del young[verdict.digest]
            self._young, self._old, self._leaving = {verdict.digest: verdict}, young, self._old

    def find_refused(self, digest: bytes, generation: int, now: float) -> Refusal | None:
        """Why a token was refused before, None when it must be judged."""
        refusal = self._bad.get(digest)
        if refusal is None or refusal.generation != generation:
            return None
        # What a wrong clock has called expired is judged again once that is set back.
        return refusal if 0 < refusal.until - now <= self._refused_ttl else None

    def remember_refused(
        self, digest: bytes, generation: int, now: float, reason: Reason, detail: str
    ) -> None:
        """Remember a token just refused, if the same bytes would be refused again."""
        if reason not in LASTING or self._refused_capacity == 0:
            return
        self._bad[digest] = Refusal(now + self._refused_ttl, generation, reason, detail)
        self._bad.move_to_end(digest)
        if len(self._bad) > self._refused_capacity:
            self._bad.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old, self._leaving = {}, {}, {}
        self._bad.clear()


def _believe(grant: Grant, belief: Belief) -> Verdict:
    return Verdict(
        grant.asset_id,
        grant.device_id,
        grant.expires,
        grant.digest,
        grant.confirmation,
        grant.terms,
        belief,
    )
