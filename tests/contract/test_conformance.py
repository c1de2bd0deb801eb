"""docs/conformance.md names tests that exist, so that no row is only a claim."""

import ast
import re
from pathlib import Path

import pytest

TABLE = Path("docs/conformance.md")
SUITE = Path("tests/integration/mosquitto")
NAMED = re.compile(r"`(test_[a-z_]+)::(test_\w+)`")
ROWS = [
    line
    for line in TABLE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| what goes", "| ---"))
]


def names_in(module: str) -> set[str]:
    tree = ast.parse((SUITE / f"{module}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_row_is_held_by_tests_that_exist(row: str) -> None:
    held = NAMED.findall(row)
    assert held, "a row without a test"
    # Nothing else is quoted as a test that is none.
    assert len(held) == row.count("::")
    for module, name in held:
        assert name in names_in(module)


def test_no_row_is_there_twice() -> None:
    titles = [row.split("|")[1] for row in ROWS]
    assert len(set(titles)) == len(titles)
