"""Which 32 bytes may be an Ed25519 public key (RFC 8032 §5.1.3).

OpenSSL loads any 32 bytes and only stumbles later, or never: under a point of order 8 or less, a
signature can hold for messages nobody signed. So a key is checked when it arrives.
"""

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


def is_sound(encoded: bytes) -> bool:
    """Whether ``encoded`` is one canonical point of the curve, of an order above 8."""
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    if y >= _P:
        return False
    square = y * y % _P
    # -x² + y² = 1 + d·x²·y²: on the curve when x² is a square; its denominator is never zero.
    if pow((square - 1) * (_D * square + 1), (_P - 1) // 2, _P) not in {0, 1}:
        return False
    # Order 1 or 2: x = 0. Order 4: y = 0. Order 8: doubled, y is 0, so x² = -y².
    return (square - 1) * square * (_D * square * square + 2 * square - 1) % _P != 0
