"""The rules file while the worker runs: looked at each second, read anew at SIGHUP, refused whole."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from processor.metrics import WorkerMetrics
from processor.rules.load import RulesRefused, load_rules
from processor.rules.ruleset import RuleSet

_LOG = logging.getLogger(__name__)
#: Seconds between two looks.
_LOOK = 1.0

#: When its contents and its rights were changed, its size, and which file it is; None while there is none.
_Stamp = tuple[int, int, int, int] | None


class RuleFile:
    """One rules file.

    Args:
        path: where it is.
        look: seconds between two looks; a change is read when the next look finds no other.
    """

    def __init__(self, path: Path, *, look: float = _LOOK) -> None:
        self._path = path
        self._look = look
        self._read: _Stamp = None

    def read(self) -> RuleSet:
        """The rules as the file says them now.

        Raises:
            RulesRefused: with everything that is wrong.
        """
        # Before the reading: what changes meanwhile is a change.
        self._read = self._stamp()
        return load_rules(self._path)

    async def follow(
        self,
        hangup: asyncio.Event,
        prepare: Callable[[RuleSet], None],
        take: Callable[[RuleSet], Awaitable[None]],
        metrics: WorkerMetrics,
    ) -> None:
        """Hand over each good new version until it is cancelled.

        Args:
            hangup: asks for a reading now.
            prepare: compiles what rules need, in a thread: meanwhile the old ones judge.
            take: judges by them.
            metrics: what is counted.
        """
        found = self._read
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look):
                    await hangup.wait()
            asked = hangup.is_set()
            hangup.clear()
            before, found = found, self._stamp()
            # A file that is being written differs from look to look.
            if asked or found == before != self._read:
                rules = await self._reload(metrics)
                if rules is not None:
                    await asyncio.to_thread(prepare, rules)
                    await take(rules)

    async def _reload(self, metrics: WorkerMetrics) -> RuleSet | None:
        try:
            rules = await asyncio.to_thread(self.read)
        except RulesRefused as refused:
            metrics.rules_refused.inc()
            metrics.rules_good.set(0)
            # Made a text before: the log holds back what is of one template, and each refusal is another one.
            text = f"{self._path} is refused whole, the rules in force stay:\n{refused}"
            _LOG.error(text)
            return None
        metrics.rules_read.inc()
        metrics.rules_good.set(1)
        return rules

    def _stamp(self) -> _Stamp:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
