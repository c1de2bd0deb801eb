"""Is a key endpoint that hangs felt by tokens whose key is known? p99 against an endpoint that is up."""

import json
import random
import threading
import time

from authplugin.clock import SystemClock
from authplugin.jose.claims import peek_issuer
from authplugin.jose.compact import parse_header, split
from authplugin.jose.verify import verify_signature
from authplugin.keys.cache import KeyCache
from authplugin.keys.fetch import HttpSource
from authplugin.keys.refresher import Refresher
from authplugin.keys.schedule import Timing
from authplugin.keys.snapshot import take_snapshot
from authplugin.testing.keyserver import Behaviour, KeyServer
from authplugin.testing.mint import TokenMint
from tests.bench.figures import Spread, spread

_ALGORITHMS = frozenset({"RS256"})
# Far more often than any gate asks: a request hangs most of the time, and an answer comes a few times a
# second. The endpoint is a thread of this process, so asking without a pause would measure that thread.
_TIMING = Timing(soft=0.2, soft_least=0.1, soft_most=0.2, retry_first=0.05, retry_most=0.1, hard=3600.0)
_DEADLINE = 0.4
_PATIENCE = 30.0


def measure_outage(mint: TokenMint, tokens: list[bytes], *, rounds: int, verifications: int) -> Spread:
    """The ratio of the two p99s, round by round: hanging, then up.

    Args:
        mint: signed the tokens.
        tokens: whose key is known.
        rounds: alternating ones.
        verifications: in each, of which the p99 is taken; wall time, for waiting is what would show.
    """
    clock = SystemClock()
    cache = KeyCache([mint.issuer], clock=clock)
    with KeyServer(mint.jwks()) as server:
        refresher = Refresher(
            cache,
            mint.issuer,
            HttpSource(server.url, deadline_seconds=_DEADLINE),
            algorithms=_ALGORITHMS,
            clock=clock,
            jitter=random.random,
            timing=_TIMING,
        )
        body = json.dumps(mint.jwks()).encode()
        cache.install(
            mint.issuer, take_snapshot(body, _ALGORITHMS, fetched=clock.now()), clock.monotonic() + 3600.0
        )
        refresher.start()
        try:
            ratios = []
            for turn in range(rounds):
                order = (Behaviour.HANG, Behaviour.SERVE) if turn % 2 else (Behaviour.SERVE, Behaviour.HANG)
                taken = {mode: _p99(cache, server, mode, tokens, verifications) for mode in order}
                ratios.append(taken[Behaviour.HANG] / taken[Behaviour.SERVE])
        finally:
            server.behaviour = Behaviour.SERVE
            refresher.stop(_PATIENCE)
    return spread(ratios)


def _p99(
    cache: KeyCache, server: KeyServer, behaviour: Behaviour, tokens: list[bytes], verifications: int
) -> float:
    """The 99th percentile of so many verifications, seconds, while the endpoint behaves like that."""
    server.behaviour = behaviour
    asked = len(server.requests)
    deadline = time.monotonic() + _PATIENCE
    while len(server.requests) < asked + 1:
        if time.monotonic() > deadline:
            raise TimeoutError("the key endpoint was not asked")
        threading.Event().wait(0.005)
    taken = []
    for number in range(verifications):
        token = tokens[number % len(tokens)]
        began = time.perf_counter()
        compact = split(token)
        header = parse_header(compact.header, _ALGORITHMS)
        verify_signature(compact, header, cache.find(peek_issuer(compact.payload), header.kid))
        taken.append(time.perf_counter() - began)
    taken.sort()
    return taken[len(taken) * 99 // 100]
