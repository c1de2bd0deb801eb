"""The tool that judges our tests: it catches known mistakes, and says so when tests let one through."""

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.mutate.mutants import apply, find_mutants
from tests.mutate.score import Score, equivalents, stale_equivalents

SOURCE = '''"""Words for people."""

LIMIT = 3
__all__ = ["fits"]


def fits(count: int, name: str | None = None) -> bool:
    """More words."""
    if count > LIMIT or not name:
        raise ValueError("too many: 9")
    total = count + 1
    return total in (1, 2)
'''


def changes(source: str) -> set[tuple[str, str]]:
    return {(mutant.before, mutant.after) for mutant in find_mutants(Path("m.py"), source)}


def test_each_kind_of_mistake_is_made_and_words_stay() -> None:
    condition = "if count > LIMIT or not name:"
    assert changes(SOURCE) == {
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 2"),
        (condition, "if count > LIMIT and (not name):"),
        (condition, "if count >= LIMIT or not name:"),
        (condition, "if count <= LIMIT or not name:"),
        (condition, "if count > LIMIT or name:"),
        ("raise ValueError('too many: 9')", "(removed)"),
        ("total = count + 1", "total = count - 1"),
        ("total = count + 1", "total = count + 2"),
        ("total = count + 1", "total = count + 0"),
        ("return total in (1, 2)", "return None"),
        ("return total in (1, 2)", "return total not in (1, 2)"),
        ("return total in (1, 2)", "return total in (2, 2)"),
        ("return total in (1, 2)", "return total in (0, 2)"),
        ("return total in (1, 2)", "return total in (1, 3)"),
        ("return total in (1, 2)", "return total in (1, 1)"),
    }


def test_a_mutant_is_the_module_with_its_one_change() -> None:
    texts = [ast.unparse(apply(SOURCE, mutant)) for mutant in find_mutants(Path("m.py"), SOURCE)]
    assert len(set(texts)) == len(texts)
    before = ast.unparse(ast.parse(SOURCE)).splitlines()
    for text in texts:
        assert sum(one != other for one, other in zip(before, text.splitlines(), strict=True)) == 1


def run(folder: Path, tests: Path, *arguments: str) -> tuple[int, Score, str]:
    report = folder / "report.json"
    command = [
        sys.executable,
        "-m",
        "tests.mutate",
        "--tests",
        str(tests),
        "--report",
        str(report),
        *arguments,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert report.exists(), done.stderr
    (score,) = msgspec.json.decode(report.read_bytes(), type=list[Score])
    return done.returncode, score, done.stdout


WHOLE = """
from authplugin.topics.containment import overlaps

def test_filters_overlap():
    assert overlaps("a/+", "+/b") and overlaps("a/#", "a") and overlaps("a/+/c", "+/b/#")
    assert not overlaps("a/+", "b/+") and not overlaps("a", "a/b") and not overlaps("#", "$s")
    assert not overlaps("a/b", "a") and not overlaps("$s", "+") and overlaps("$s/+", "$s/a")
    assert not overlaps("", "/#") and not overlaps("/#", "") and overlaps("/", "/#") and overlaps("//#", "/")
    assert not overlaps("+", "") or True
"""


@pytest.mark.parametrize("blind", [False, True])
def test_known_mistakes_are_caught_by_tests_and_told_when_they_are_not(
    tmp_path: Path, *, blind: bool
) -> None:
    tests = tmp_path / "test_overlaps.py"
    tests.write_text(WHOLE.replace("assert ", "assert True or ") if blind else WHOLE)
    code, score, told = run(tmp_path, tests, "--package", "authplugin/topics", "--unit", "overlaps")
    lines = {(survivor.before, survivor.after) for survivor in score.survivors}
    wrong = ("if is_reserved(one) != is_reserved(other):", "if is_reserved(one) == is_reserved(other):")
    assert score.mutants > 15
    assert score.killed + len(score.survivors) == score.mutants
    if blind:
        assert score.killed == 0
        assert wrong in lines
        assert code == 1
        assert wrong[1] in told
    else:
        assert wrong not in lines
        assert score.score > 0.8


def test_tests_that_fail_by_themselves_judge_nothing(tmp_path: Path) -> None:
    tests = tmp_path / "test_failing.py"
    tests.write_text("def test_fails():\n    assert False\n")
    command = [sys.executable, "-m", "tests.mutate", "--package", "authplugin/topics", "--tests", str(tests)]
    command += ["--report", str(tmp_path / "report.json")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "do not pass as they are" in done.stderr
    assert not (tmp_path / "report.json").exists()


def test_every_mutant_that_is_left_out_is_one_and_has_its_reason() -> None:
    packages = (Path("authplugin/jose"), Path("authplugin/topics"))
    assert stale_equivalents(packages) == set()
    assert all(len(reason) > 20 for reason in equivalents().values())
