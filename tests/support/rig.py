"""One issuer's key cache and its refresher, moved by hand."""

import time

import pytest

from authplugin.errors import Reason, Refused
from authplugin.jose.key import VerifyingKey
from authplugin.keys.cache import KeyCache
from authplugin.keys.lastgood import LastGoodFile
from authplugin.keys.refresher import Refresher
from authplugin.keys.schedule import HTTP_TIMING
from authplugin.keys.source import KeySource
from authplugin.testing import FakeClock

ISSUER = "https://acme.my.site.com"
TIMING = HTTP_TIMING


class Rig:
    """One issuer with its server, cache and refresher; time moves by hand, nothing runs by itself."""

    def __init__(
        self, source: KeySource, last_good: LastGoodFile | None = None, clock: FakeClock | None = None
    ) -> None:
        self.clock = clock or FakeClock()
        self.cache = KeyCache([ISSUER], clock=self.clock)
        self.refresher = Refresher(
            self.cache,
            ISSUER,
            source,
            algorithms=["RS256"],
            clock=self.clock,
            jitter=lambda: 0.5,
            last_good=last_good,
        )

    def find(self, kid: str = "Assets") -> VerifyingKey:
        return self.cache.find(ISSUER, kid)

    def refusal(self, kid: str = "Assets") -> Reason:
        with pytest.raises(Refused) as refused:
            self.find(kid)
        return refused.value.reason

    def run(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass as the thread would see it."""
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            self.refresher.step()


def poll(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
