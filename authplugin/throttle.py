"""Failure throttling before signature work, by the peer's address and by nothing a token says.

Whatever a client claims (kid, did, aid, client id) is the attacker's word until its signature holds,
so none of it may slow anyone. Every refused token is a debt of its address, paid off by time; an
address too deep in debt is refused before any work, and its tokens that are known to be good still
come in. An address where a token was good lately may be a whole site behind one translator, with one
attacker in it: it has a budget of its own, which grows with every good token.

A debt is one float, the time by which it is paid (the generic cell rate algorithm, ITU-T I.371), and
both tables are bounded: addresses that fail can push out addresses that fail, and no others.
"""

import socket
from collections import OrderedDict

import msgspec

from authplugin.clock import Clock
from authplugin.errors import Reason

NO_DEBT = frozenset({Reason.KEY_UNKNOWN, Reason.KEYS_STALE, Reason.INTERNAL, Reason.THROTTLED})
"""Refusals that are nobody's debt: keys we do not have (an unknown kid spends the budget of key
fetches, and nothing else), and faults of our own."""


class Limits(msgspec.Struct, frozen=True):
    """How much an address may fail.

    Attributes:
        per_second: failures a second, from an address where no token was good lately.
        burst: failures at once there.
        known_per_second: failures a second, from an address where a token was good lately.
        known_burst: failures at once there.
        credit: failures there that every newly verified good token pays for.
        known_s: seconds for which an address stays known after a good token or the end of a session.
        capacity: addresses remembered, of each kind.
    """

    per_second: float = 5.0
    burst: float = 50.0
    known_per_second: float = 1000.0
    known_burst: float = 20_000.0
    credit: float = 10.0
    known_s: float = 86_400.0
    capacity: int = 100_000


class _Known(msgspec.Struct, gc=False):
    """An address where a token was good: until when that counts, and when its debt is paid."""

    until: float
    paid: float


class Throttle:
    """Debts by address; for one thread at a time.

    Attributes:
        refused: attempts refused so far.
    """

    def __init__(self, limits: Limits | None = None, *, clock: Clock) -> None:
        """Start with no debts; ``limits`` are the defaults when None."""
        self._limits = Limits() if limits is None else limits
        self._monotonic = clock.monotonic
        # How far ahead a debt may reach, and what one failure and one good token are worth, in seconds.
        self._reach = (self._limits.burst - _LAST) / self._limits.per_second
        self._known_reach = (self._limits.known_burst - _LAST) / self._limits.known_per_second
        self._credit = self._limits.credit / self._limits.known_per_second
        # Both in the order of their last failure or success: what goes first matters least.
        self._strange: OrderedDict[bytes, float] = OrderedDict()
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        # One decision asks twice about one address.
        self._last = ("", network(""))
        self.refused = 0

    def __len__(self) -> int:
        return len(self._strange) + len(self._known)

    def admits(self, address: str) -> bool:
        """Whether a token that is not known to be good may be judged for this address."""
        key = self._network(address)
        known = self._known.get(key)
        paid = self._strange.get(key)
        if known is None and paid is None:
            return True
        now = self._monotonic()
        if known is not None and now < known.until:
            held = known.paid - now <= self._known_reach
        else:
            held = paid is None or paid - now <= self._reach
        if not held:
            self.refused += 1
        return held

    def failed(self, address: str, reason: Reason) -> None:
        """A token was judged and refused: the address owes one more, unless that is nobody's debt."""
        if reason in NO_DEBT:
            return
        key = self._network(address)
        now = self._monotonic()
        known = self._find(key, now)
        if known is not None:
            known.paid = max(known.paid, now) + 1.0 / self._limits.known_per_second
            return
        self._strange[key] = max(self._strange.get(key, now), now) + 1.0 / self._limits.per_second
        self._strange.move_to_end(key)
        if len(self._strange) > self._limits.capacity:
            self._strange.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """A token was verified and held: the address is known, and part of its debt is paid."""
        self._know(address).paid -= self._credit

    def vouch(self, address: str) -> None:
        """A client that was let in is or was connected from here: the address is known."""
        self._know(address)

    def _know(self, address: str) -> _Known:
        key = self._network(address)
        now = self._monotonic()
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(0.0, now)
            self._strange.pop(key, None)
            if len(self._known) > self._limits.capacity:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
            known.paid = max(known.paid, now)
        known.until = now + self._limits.known_s
        return known

    def _network(self, address: str) -> bytes:
        last, key = self._last
        if address is not last:
            key = network(address)
            self._last = (address, key)
        return key

    def _find(self, key: bytes, now: float) -> _Known | None:
        known = self._known.get(key)
        if known is not None and now >= known.until:
            del self._known[key]
            return None
        return known


def network(address: str) -> bytes:
    """What an address is throttled as: IPv4 by itself, IPv6 by its first 64 bits.

    One host has all 2^64 addresses of its network at hand. What is no address (a door that does not
    know its peer, a socket file) is throttled as one network of its own, apart from all others.
    """
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address)
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return b""
    return packed[12:] if packed.startswith(_MAPPED) else packed[:8]


_LAST = 1.0 - 1e-6
"""The failure that fills the burst is still allowed, whatever rounding adds to a debt."""

_MAPPED = bytes(10) + b"\xff\xff"
"""IPv4 addresses as a dual-stack socket shows them (RFC 4291 §2.5.5.2)."""
