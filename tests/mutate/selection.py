"""The tests of a package, collected once: how long each takes, and which lines each of them reaches."""

import time
from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path

import pytest
from coverage import Coverage

from tests.mutate.mutants import Mutant

#: One quiet process: nothing is printed, cached, distributed or timed by pytest itself.
OPTIONS = [
    *("-o", "addopts=--import-mode=importlib"),
    *("-o", "timeout=0"),
    *("-p", "no:terminal"),
    *("-p", "no:cacheprovider"),
    *("-p", "no:faulthandler"),
    "--assert=plain",
    "--capture=no",
]


class Collected:
    """A pytest plugin that collects, runs everything once, and hands itself over while all is still set up.

    Args:
        package: folder of the modules whose lines are watched.
        work: what to do with the tests.
    """

    def __init__(self, package: Path, work: "Callable[[Collected], None]") -> None:
        self._package = package
        self._work = work
        self._session: pytest.Session | None = None
        self._seconds: dict[str, float] = {}
        self._reached: dict[Path, dict[int, list[str]]] = {}
        self.done = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of pytest's own loop."""
        self._session = session
        coverage = Coverage(data_file=None, include=[f"{self._package}/*"], config_file=False)
        coverage.start()
        for item in session.items:
            coverage.switch_context(item.nodeid)
            began = time.perf_counter()
            if not self.all_pass([item]):
                raise session.Failed(f"{item.nodeid} fails without any mutant")
            self._seconds[item.nodeid] = time.perf_counter() - began
        coverage.stop()
        data = coverage.get_data()
        self._reached = {Path(file): data.contexts_by_lineno(file) for file in data.measured_files()}
        self._work(self)
        self.done = True
        return True

    def that_reach(self, mutant: Mutant) -> tuple[list[pytest.Item], float]:
        """The tests that run a mutant's statement, shortest first, and the seconds they take together."""
        assert self._session is not None
        lines = self._reached.get(mutant.file, {})
        names = {name for line in mutant.lines for name in lines.get(line, ())}
        items = [item for item in self._session.items if item.nodeid in names]
        items.sort(key=lambda item: self._seconds[item.nodeid])
        return items, sum(self._seconds[item.nodeid] for item in items)

    def all_pass(self, items: Iterable[pytest.Item]) -> bool:
        """Run tests up to the first that fails."""
        assert self._session is not None
        items = list(items)
        for item, following in zip_longest(items, items[1:]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._session.testsfailed:
                return False
        return True
