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


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """A verified token.

    Attributes:
        until: last moment it may be believed, seconds since the epoch.
        generation: of the keys, policy and revocations it was judged under.
        grant: what it allows.
    """

    until: float
    generation: int
    grant: Grant


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A token known to be bad, with the same fields as `Verdict` and why."""

    until: float
    generation: int
    reason: Reason
    detail: str


class VerdictCache:
    """Least recently used verdicts, by the SHA-256 of the token.

    For one thread at a time. ``hits`` and ``misses`` count lookups of good tokens.

    Args:
        capacity: good tokens remembered; about 0.5 kB each.
        ttl: seconds after which a good token is judged again, however long it lives: bounds how
            long a verdict outlives a key set gone stale.
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
        self._good: OrderedDict[bytes, Verdict] = OrderedDict()
        self._bad: OrderedDict[bytes, Refusal] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._good)

    def find(self, digest: bytes, generation: int, now: float) -> Grant | None:
        """The grant of a token verified before, None when it must be verified (again)."""
        verdict = self._good.get(digest)
        if verdict is None:
            self.misses += 1
            return None
        if verdict.generation != generation:
            self.misses += 1
            return None
        if now >= verdict.until:
            del self._good[digest]
            self.misses += 1
            return None
        self._good.move_to_end(digest)
        self.hits += 1
        return verdict.grant

    def find_since(self, digest: bytes, since: int, now: float) -> Grant | None:
        """The grant of a token whose signature was verified in generation ``since`` or later.

        What changed afterwards (revocations, provisioned assets) is to be checked again, see `renew`.
        """
        verdict = self._good.get(digest)
        return (
            verdict.grant
            if verdict is not None and since <= verdict.generation and now < verdict.until
            else None
        )

    def renew(self, digest: bytes, generation: int) -> None:
        """Carry a verdict over into another generation; it lives no longer for it."""
        verdict = self._good.get(digest)
        if verdict is not None:
            self._good[digest] = Verdict(verdict.until, generation, verdict.grant)

    def remember(self, grant: Grant, generation: int, now: float, *, leeway: float) -> None:
        """Remember a token that has just been verified, until ``exp`` and leeway at the latest."""
        if self._capacity == 0:
            return
        until = min(grant.expires + leeway, now + self._ttl)
        self._good[grant.digest] = Verdict(until, generation, grant)
        if len(self._good) > self._capacity:
            self._good.popitem(last=False)

    def generation(self, digest: bytes) -> int:
        """The generation a token was judged under, 0 when it is not remembered."""
        verdict = self._good.get(digest)
        return 0 if verdict is None else verdict.generation

    def find_refused(self, digest: bytes, generation: int, now: float) -> Refusal | None:
        """Why a token was refused before, None when it must be judged."""
        refusal = self._bad.get(digest)
        if refusal is None or refusal.generation != generation or now >= refusal.until:
            return None
        return refusal

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
        self._good.clear()
        self._bad.clear()
