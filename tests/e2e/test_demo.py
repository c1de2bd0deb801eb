import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.support.demo import ROOT, RunningDemo, left

pytestmark = [
    pytest.mark.needs("mosquitto", "cc"),
    pytest.mark.xdist_group("demo"),
    pytest.mark.timeout(400),
]

#: Kafka, issuer, broker, bridge, worker.
PROGRAMS = 5
RULES = ROOT / "deploy" / "demo" / "rules.yaml"


def test_every_line_of_the_story_comes_true(tmp_path: Path) -> None:
    with RunningDemo(tmp_path, "--once") as demo:
        assert demo.wait() == 0, demo.output
    assert "✗" not in demo.output
    assert "lines came true" in demo.output


def test_a_line_that_does_not_come_true_is_named_and_is_the_exit_code(tmp_path: Path) -> None:
    rules = yaml.safe_load(RULES.read_text())
    rules["rules"] = [rule for rule in rules["rules"] if "silence" not in rule["detect"]]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules))
    with RunningDemo(tmp_path, "--once", "--rules", str(file)) as demo:
        assert demo.wait() == 1, demo.output
    assert "case.silence" in demo.output
    assert "did not come true" in demo.output


def test_it_stays_until_interrupted_and_leaves_no_process_behind(demo: RunningDemo) -> None:
    assert demo.told() == 0, demo.output
    assert demo.process.poll() is None
    assert len(demo.descendants()) == PROGRAMS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_is_ended_midway_it_leaves_no_process_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    with RunningDemo(tmp_path, "--once") as demo:
        demo.addresses()
        children = demo.descendants()
        assert len(children) == PROGRAMS
        os.kill(demo.process.pid, number)
        demo.process.wait(40)
        end = demo.process.returncode
    assert end == (130 if number != signal.SIGKILL else -signal.SIGKILL), demo.output
    assert left(children) == set()
