"""The CBOR reader against the examples of RFC 8949, appendix A, and what is not well-formed (appendix F)."""

import math

import pytest

from processor.codec.cbor import CborError, decode


def read(text: str, items: int = 1000) -> object:
    return decode(bytes.fromhex(text), items=items)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00", 0), ("17", 23), ("1818", 24), ("1903e8", 1000), ("1a000f4240", 1000000),
        ("1bffffffffffffffff", 18446744073709551615), ("20", -1), ("3903e7", -1000),
        ("3bffffffffffffffff", -18446744073709551616), ("f90000", 0.0), ("f93c00", 1.0), ("f97bff", 65504.0),
        ("fa47c35000", 100000.0), ("fb3ff199999999999a", 1.1), ("f90001", 5.960464477539063e-8),
        ("f97c00", math.inf),
        ("f4", False), ("f5", True), ("f6", None), ("f7", None), ("4401020304", b"\x01\x02\x03\x04"),
        ("40", b""),
        ("6449455446", "IETF"), ("62c3bc", "ü"), ("80", []), ("83010203", [1, 2, 3]),
        ("8301820203820405", [1, [2, 3], [4, 5]]), ("a0", {}), ("a201020304", {1: 2, 3: 4}),
        ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"), ("7f657374726561646d696e67ff", "streaming"),
        ("9fff", []), ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("c48221196ab3", 273.15), ("c4822019ffff", 6553.5), ("d9d9f783010203", [1, 2, 3]),
        ("c4821a7fffffff01", math.inf),
    ],
)  # fmt: skip
def test_an_item_of_the_rfc_is_read_as_what_it_says(text: str, value: object) -> None:
    found = read(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "", "18", "19ff", "1c", "1f", "3f", "41", "5a00000002ff", "61ff", "62c328", "81", "9f", "a1",
        "a10f", "bf0f",
        "ff", "81ff", "a1ff00", "a100ff", "bf00ff", "5f00ff", "5f6100ff", "7f4100ff", "df00ff", "f8",
        "f818", "fc", "f0",
        "0000", "a201020103", "a1820102f6", "a1f93c0001", "a1f501",
        "c074323031332d30332d32315432303a30343a30305a",
        "c249010000000000000000", "c401", "c482f90000f90000", "c482f501", "8181818181818100", "d9d9f7",
        "9bffffffffffffffff", "bbffffffffffffffff", "5bffffffffffffffff", "7bffffffffffffffff",
    ],
)  # fmt: skip
def test_what_is_no_well_formed_item_or_nothing_that_senml_uses_is_refused(text: str) -> None:
    with pytest.raises(CborError):
        read(text)


def test_items_are_bounded() -> None:
    assert read("83010203", items=4) == [1, 2, 3]
    with pytest.raises(CborError):
        read("83010203", items=3)
