"""Passwords that are no token at all."""

import pytest

from tests.support.gates import Bench, refused


@pytest.mark.parametrize(
    "password",
    [b"admin", b"e", b"eyJ", b"ey" * 600, b".", b"..", b"a.b.c", b"\x00", b"\xff" * 100, b"{}.e.e"],
)
def test_a_guess_is_malformed(password: bytes) -> None:
    bench = Bench()
    assert refused(bench.connect(password)) == "malformed"
    assert not bench.witness.faults


@pytest.mark.parametrize("space", [b"", b" ", b"\t", b"\r\n"])
def test_white_space_before_a_header_makes_no_guess_of_a_token(space: bytes) -> None:
    bench = Bench()
    header = space + b'{"kid":"Assets","typ":"JWT","alg":"RS256"}'
    token = bench.mint.sign(bench.mint.claims(), header=header)
    assert type(bench.connect(token)).__name__ == "Allow"
