"""Which 32 bytes are a sound Ed25519 key, against the curve's own arithmetic (RFC 8032 §5.1)."""

import random
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authplugin.jose.edwards import is_sound

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493
SIGN = 1 << 255
Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    """§5.1.4, in plain coordinates."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P) % P


def multiply(point: Point, factor: int) -> Point:
    result = (0, 1)
    while factor:
        if factor & 1:
            result = add(result, point)
        point, factor = add(point, point), factor >> 1
    return result


def decompress(y: int) -> Point | None:
    """§5.1.3 without the sign: a point of that y, None when there is none."""
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if x * x % P != x2:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (x, y) if x * x % P == x2 else None


def encoded(y: int, *, sign: bool = False) -> bytes:
    return (y | SIGN * sign).to_bytes(32, "little")


@cache
def torsion() -> frozenset[Point]:
    """The eight points whose order divides 8."""
    source = random.Random(8)
    while True:
        point = decompress(source.randrange(P))
        small = multiply(point, ORDER) if point else (0, 1)
        if multiply(small, 4) != (0, 1):
            return frozenset(multiply(small, factor) for factor in range(8))


def test_every_key_that_is_generated_is_sound() -> None:
    for _ in range(100):
        assert is_sound(Ed25519PrivateKey.generate().public_key().public_bytes_raw())


def test_exactly_the_points_of_the_curve_are_sound() -> None:
    source = random.Random(25519)
    on_the_curve = 0
    for _ in range(300):
        y = source.randrange(P)
        point = decompress(y)
        on_the_curve += point is not None
        for sign in (False, True):
            assert is_sound(encoded(y, sign=sign)) == (point is not None)
    assert 100 < on_the_curve < 200


def test_no_point_of_an_order_up_to_8_is_sound() -> None:
    assert len(torsion()) == 8
    for _, y in torsion():
        for sign in (False, True):
            assert not is_sound(encoded(y, sign=sign))


def test_a_sound_point_beside_a_small_one_is_sound() -> None:
    """The eight points that differ from a key by a small one are of a large order as well."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    point = decompress(int.from_bytes(key, "little") % SIGN)
    assert point is not None
    for small in torsion():
        assert is_sound(encoded(add(point, small)[1]))


@pytest.mark.parametrize("above", range(19))
def test_a_y_that_is_not_reduced_is_not_sound(above: int) -> None:
    for sign in (False, True):
        assert not is_sound(encoded(P + above, sign=sign))
