"""Connecting again and again, and the ends of a connection that no new one mends (MQTT 5)."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

_LOG = logging.getLogger(__name__)
_FIRST_BACKOFF = 0.3
_LONGEST_BACKOFF = 5.0

SESSION_TAKEN_OVER = 0x8E
"""DISCONNECT's reason (3.14.2.1) for one whose client id connected elsewhere."""

REFUSALS = frozenset({0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95, 0x9D})
"""CONNACK's reasons (3.2.2.2) that a retry repeats: say so and stop."""


async def keep_connected(
    session: Callable[[], Awaitable[None]], closing: asyncio.Event, *, where: str, jitter: random.Random
) -> None:
    """Run sessions one after another until ``closing``, with longer pauses while none lasts.

    Args:
        session: one connection, from connect to its end; `OSError` and `TimeoutError` are an end after
            which the next one is tried, whatever else it raises is raised here.
        closing: set when no further one is wanted.
        where: the broker, for the log.
        jitter: draws from 0 to 1, to spread reconnects.
    """
    loop = asyncio.get_running_loop()
    backoff = _FIRST_BACKOFF
    while not closing.is_set():
        started = loop.time()
        try:
            await session()
        except (OSError, TimeoutError) as error:
            _LOG.warning("MQTT %s: %s; connecting again", where, str(error) or "no answer in time")
        if loop.time() - started > _LONGEST_BACKOFF:
            backoff = _FIRST_BACKOFF
        try:
            async with asyncio.timeout(backoff * (0.5 + jitter.random())):
                await closing.wait()
        except TimeoutError:
            backoff = min(backoff * 2, _LONGEST_BACKOFF)
