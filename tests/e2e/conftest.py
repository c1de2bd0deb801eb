"""One demo for every test that only looks, with a Prometheus beside it from its first connect on."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.demo import RunningDemo, left
from tests.support.prometheus import Prometheus, prometheus

#: Often enough that what lasts only seconds is seen, and out of step with devices that report once a second.
SCRAPE_INTERVAL = "730ms"


@pytest.fixture(scope="session")
def started_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A demo that stays up, still telling its story. It ends by Ctrl-C, and leaves nothing."""
    with ExitStack() as stack:
        running = stack.enter_context(RunningDemo(tmp_path_factory.mktemp("demo"), "--stay"))
        addresses = running.addresses()
        if shutil.which("prometheus", path=os.environ["PATH"]):
            # From the first connect on: rates of what happens only once are seen while it happens.
            running.prometheus = stack.enter_context(
                prometheus(
                    tmp_path_factory.mktemp("prometheus"), addresses.targets(), interval=SCRAPE_INTERVAL
                )
            )
        yield running
        children = running.descendants()
    assert left(children) == set(), "Ctrl-C left processes behind"
    assert running.process.returncode == 0, running.output


@pytest.fixture(scope="session")
def demo(started_demo: RunningDemo) -> RunningDemo:
    """The same with its story told to the end."""
    started_demo.told()
    return started_demo


@pytest.fixture(scope="session")
def watching(demo: RunningDemo) -> Prometheus:
    """The Prometheus that has watched the demo from its start."""
    assert demo.prometheus is not None
    return demo.prometheus
