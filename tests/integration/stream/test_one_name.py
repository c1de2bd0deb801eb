"""Two workers with one `instance_id`, as of a settings file that was copied to a second host."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kafka import ApacheKafka, until
from tests.support.telemetry import rules_text
from tests.support.watch import Watch

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("java", "maven")]


@pytest.fixture
def pair(apache_node: ApacheKafka, tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(apache_node, tmp_path, partitions=2)
    (tmp_path / "rules.yaml").write_text(rules_text("{threshold: {above: 80}}"))
    watch.run("topics", "create", "--config", watch.settings())
    yield watch
    watch.close()


def test_of_two_workers_with_one_name_one_ends_and_says_why_and_the_other_goes_on(pair: Watch) -> None:
    settings = pair.settings(worker__instance_id="w1")
    both = [pair.start("worker", "--config", settings), pair.launch("worker", "--config", settings)]
    until(lambda: any(each.process.poll() is not None for each in both), 40, "one ends")
    time.sleep(4)
    ended = [each for each in both if each.process.poll() is not None]
    (one,) = ended
    assert one.process.poll() == 1
    assert f"another worker of {pair.group}, at /127.0.0.1, has the worker.instance_id 'w1'" in one.said
    assert "give each its own" in one.said
    assert "Traceback" not in one.said


def test_a_worker_that_is_killed_and_started_again_under_its_name_meets_nobody(pair: Watch) -> None:
    settings = pair.settings(worker__instance_id="w1")
    pair.start("worker", "--config", settings).process.kill()
    again = pair.start("worker", "--config", settings)
    time.sleep(5)
    assert again.process.poll() is None, again.said
    assert again.end() == 0
