"""The directory of assets: what a dictionary and two lists would tell, from columns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.codec.usual import SHAPES
from processor.engine import Engine
from processor.engine.directory import Directory, find
from processor.engine.passes import ordering
from processor.rules import parse_rules
from tests.support.telemetry import START, rules_text, sent

PASSES = ordering(jit=True)
keys = st.binary(min_size=1, max_size=64)


def look_up(directory: Directory, key: bytes) -> int:
    slots, ends, letters, *_ = directory.columns
    return int(find(np.frombuffer(key, np.uint8), 0, len(key), slots, ends, letters))


@settings(max_examples=100, deadline=None)
@given(groups=st.lists(st.lists(keys, max_size=60, unique=True), max_size=5), other=keys)
def test_it_tells_what_a_dictionary_would(groups: list[list[bytes]], other: bytes) -> None:
    directory, known = Directory(PASSES.enter), dict[bytes, int]()
    for group in groups:
        for key in group:
            if key not in known:
                known[key] = directory.add(key)
        assert all(look_up(directory, key) == at for key, at in known.items())
    assert directory.recall(other) == -1
    assert look_up(directory, other) == known.get(other, -1)
    assert list(known.values()) == list(range(len(directory)))
    assert directory[:] == list(directory) == list(known)
    assert directory[1:3] == list(known)[1:3]
    assert directory[len(known) :] == []


def test_those_added_since_the_columns_were_asked_for_are_recalled_until_they_are_in_them() -> None:
    directory = Directory(PASSES.enter)
    directory.add(b"a")
    assert directory.recall(b"a") == 0
    assert look_up(directory, b"a") == 0
    directory.add(b"b")
    assert (directory.recall(b"a"), directory.recall(b"b")) == (-1, 1)


def test_columns_of_an_earlier_life_tell_the_same() -> None:
    old = Directory(PASSES.enter)
    for n in range(1000):
        old.set_shape(old.add(b"asset-%d" % n), ("a", "b")[: 1 + n % 2])
    lengths = np.diff(old.ends[: len(old) + 1]).astype(np.uint8)
    new = Directory(PASSES.enter)
    new.adopt(old.letters[: old.ends[1000]].copy(), lengths, old.number[:1000].copy(), [("a",), ("a", "b")])
    new.add(b"later")
    assert list(new) == [*old, b"later"]
    assert [look_up(new, key) for key in new] == list(range(1001))
    shapes = [new.shape(at) for at in range(2)]
    assert [shape.names for shape in shapes if shape is not None] == [("a",), ("a", "b")]
    assert new.shape(1000) is None


@pytest.mark.parametrize(
    ("lengths", "number"), [([1, 1], [-1, -1]), ([1, 2], [-1]), ([1, 2], [-2, -1]), ([1, 2], [0, 1])]
)
def test_columns_that_do_not_fit_together_are_refused(lengths: list[int], number: list[int]) -> None:
    letters = np.frombuffer(b"abb", np.uint8)
    with pytest.raises(ValueError, match=r"asset|shape"):
        Directory(PASSES.enter).adopt(
            letters, np.array(lengths, np.uint8), np.array(number, np.int32), [("a",)]
        )


def test_assets_of_more_shapes_than_have_columns_are_judged_as_well() -> None:
    engine = Engine(parse_rules(rules_text("{threshold: {above: 80}}")), partition=0)
    for turn in range(2):
        outcome = engine.advance(
            [
                sent(f"asset-{n}", START + turn * 1000, temperature=90, **{f"m{n}": n})
                for n in range(SHAPES + 10)
            ]
        )
        assert outcome.counts.judged == 2 * (SHAPES + 10)
    assert len(engine.index.keys.shapes) == SHAPES + 10
    assert engine.rows["series"] == 2 * (SHAPES + 10)
    again = Engine.load(engine.dump(), engine.rules, partition=0)
    assert again.dump() == engine.dump()
    assert again.advance([sent("asset-1030", START + 2000, temperature=7, m1030=1)]).counts.judged == 2
