"""What the documents say to write is taken as it stands."""

import re
from pathlib import Path

import pytest

from authplugin.settings import parse

PAGES = [Path(__file__).parents[2] / "docs" / name for name in ("issuers.md", "gate.md")]
TABLES = [
    pytest.param(text, id=f"{page.name}-{position}")
    for page in PAGES
    for position, text in enumerate(
        re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
    if "[[issuers]]" in text
]


def test_there_are_tables_to_take() -> None:
    assert len(TABLES) >= 5


@pytest.mark.parametrize("text", TABLES)
def test_a_table_of_the_documents_is_a_good_configuration(text: str) -> None:
    assert parse(text, name="the page", environ={}, base=Path()).policy.issuers
