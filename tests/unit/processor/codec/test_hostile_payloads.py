"""The short form of ``python -m tests.fuzz.payloads``."""

import contextlib
import time

import pytest

from processor.codec.formats import Codec
from processor.errors import DeadLetter
from processor.limits import Limits
from tests.fuzz.payloads import FORMATS, LARGEST, LONGEST, bombs, feed
from tests.support.payloads import ASSET, RECEIVED


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_hostile_payload_is_read_or_set_aside_and_counted_to_the_sample(format_name: str) -> None:
    tally = feed(format_name, 3000, seed=7)
    assert tally.payloads == 3000
    # The generator must reach both sides of every check.
    assert tally.read > 300
    assert len(tally.reasons) >= (3 if format_name == "text" else 6)


@pytest.mark.parametrize(("format_name", "value"), list(bombs()), ids=lambda each: str(each)[:20])
def test_what_costs_most_for_its_size_is_bounded(format_name: str, value: bytes) -> None:
    limits = Limits(payload_bytes=LARGEST, messages=200, formats={"assets/+/#": format_name})  # type: ignore[dict-item] # a parameter
    codec = Codec(limits)
    began = time.process_time()
    with contextlib.suppress(DeadLetter):
        codec.read(b"telemetry/a", value, RECEIVED, ASSET)
    assert time.process_time() - began < LONGEST
