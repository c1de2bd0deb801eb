import pytest
from hypothesis import given
from hypothesis import strategies as st

from authplugin.errors import ConfigurationErrors
from authplugin.jose.identity import IdForm
from authplugin.provisioned import parse_provisioned
from tests.support.gates import AID, SHORT

IDS = st.text("abcXYZ019-_", min_size=1, max_size=64)


@given(st.sets(IDS, max_size=50), IDS)
def test_exactly_the_ids_of_the_file_are_there(ids: set[str], other: str) -> None:
    assets = parse_provisioned("\n".join(sorted(ids)).encode(), "f", IdForm.OPAQUE)
    assert len(assets) == len(ids)
    assert all(asset_id in assets for asset_id in ids)
    assert (other in assets) is (other in ids)


def test_either_form_of_a_record_id_and_comments_are_understood() -> None:
    text = f"# fleet of 2026\n\n{SHORT}   # the pump\r\n{AID}\n  02iAB00000XdEfG\n".encode()
    assets = parse_provisioned(text, "f", IdForm.SALESFORCE)
    assert len(assets) == 2
    assert AID in assets
    assert SHORT not in assets


@pytest.mark.parametrize("part", ["a\nb", "\n", "", "#", "a "])
def test_nothing_but_a_whole_id_is_found(part: str) -> None:
    assert part not in parse_provisioned(b"a\nb\nab\n", "f", IdForm.OPAQUE)


def test_a_line_that_is_no_id_refuses_the_file_and_is_named() -> None:
    with pytest.raises(ConfigurationErrors) as raised:
        parse_provisioned(f"{AID}\na/b\n\xff\n".encode("latin-1"), "ids", IdForm.SALESFORCE)
    first, second = raised.value.errors
    assert str(first).startswith("ids:2: the line: found 'a/b', which is not a record id")
    assert second.line == 3


def test_of_a_file_that_is_wrong_all_over_the_first_lines_are_told() -> None:
    with pytest.raises(ConfigurationErrors) as raised:
        parse_provisioned(b"a/b\n" * 1000, "ids", IdForm.OPAQUE)
    assert len(raised.value.errors) == 20
