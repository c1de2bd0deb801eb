import re
from pathlib import Path

import yaml

from processor.detect.catalog import DETECTORS
from processor.rules import parse_rules
from processor.rules.reference import write_reference

DOCS = Path(__file__).parents[4] / "docs"


def test_the_reference_page_is_what_the_code_says() -> None:
    page = (DOCS / "reference" / "rules.md").read_text("utf-8")
    assert page == write_reference(), "run: processor rules reference > docs/reference/rules.md"


def test_every_key_of_the_language_is_described() -> None:
    rows = [line for line in write_reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert all(len(row.split(" | ")) == 4 and row.split(" | ")[3].strip(" |") for row in rows)


def test_the_examples_in_the_documentation_are_good_rules() -> None:
    text = (DOCS / "rules.md").read_text("utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        assert parse_rules(example).rules
        assert yaml.safe_load(example)
    assert all(f"| `{name}` |" in text for name in DETECTORS)
