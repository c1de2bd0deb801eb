from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
import yaml

from tests.support.demo import PROGRAMS, ROOT, RunningDemo, left

pytestmark = [
    pytest.mark.needs("mosquitto", "cc"),
    pytest.mark.timeout(400),
]

RULES = ROOT / "deploy" / "demo" / "rules.yaml"


class Told(NamedTuple):
    """A demo that has ended: its exit code, what it said, and what it had started."""

    code: int
    output: str
    children: set[int]


class Stories(NamedTuple):
    true: Told
    untrue: Told


@pytest.fixture(scope="module")
def stories(started_demo: RunningDemo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    """Two demos side by side, told once: as shipped, and judged by rules that know no silence.

    They tell theirs while the one that stays up tells its own.
    """
    del started_demo
    rules = yaml.safe_load(RULES.read_text())
    rules["rules"] = [rule for rule in rules["rules"] if "silence" not in rule["detect"]]
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(rules))
    with ExitStack() as stack:
        demos = [
            stack.enter_context(RunningDemo(tmp_path_factory.mktemp("story"), "--once", *words))
            for words in ((), ("--rules", str(file)))
        ]
        children = []
        for demo in demos:
            demo.addresses()
            children.append(demo.descendants())
        yield Stories(
            *(Told(demo.wait(), demo.output, pids) for demo, pids in zip(demos, children, strict=True))
        )


def test_every_line_of_the_story_comes_true(stories: Stories) -> None:
    assert stories.true.code == 0, stories.true.output
    assert "✗" not in stories.true.output
    assert "lines came true" in stories.true.output


@pytest.mark.parametrize(
    "title", ["overheats", "has fallen silent", "will soon be empty", "asks for supplies"]
)
def test_each_case_is_told_with_the_time_it_took_and_what_was_seen(stories: Stories, title: str) -> None:
    lines = stories.true.output.splitlines()
    (place,) = [number for number, line in enumerate(lines) if title in line and " s after " in line]
    assert "seen " in lines[place + 1]
    assert "expected " in lines[place + 1]


def test_the_story_fits_a_terminal_of_a_hundred_columns(stories: Stories) -> None:
    assert max(len(line) for line in stories.true.output.splitlines()) <= 100


def test_a_line_that_does_not_come_true_is_named_and_is_the_exit_code(stories: Stories) -> None:
    assert stories.untrue.code == 1, stories.untrue.output
    verdict = stories.untrue.output.partition("did not come true:")[2]
    assert "case.silence: " in verdict
    assert "cases.exact: " in verdict
    assert "case.overheating" not in verdict


def test_a_story_that_is_told_leaves_no_process_behind(stories: Stories) -> None:
    for told in stories:
        assert len(told.children) == PROGRAMS
        assert left(told.children) == set()


def test_it_stays_up_after_the_story_when_asked_to(demo: RunningDemo) -> None:
    assert demo.told() == 0, demo.output
    assert demo.process.poll() is None
    assert len(demo.descendants()) == PROGRAMS
