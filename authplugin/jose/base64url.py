"""Base64url as tokens and keys use it: unpadded, one spelling for every text (RFC 7515 §2, RFC 4648 §3.5)."""

import binascii

import msgspec

LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""The alphabet."""

TO_STANDARD = bytes.maketrans(b"-_", b"+/")
"""Into the standard alphabet, which decoders read."""

LAST = (frozenset[int](), frozenset[int](), frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))
"""By length modulo 4: the last letters whose unused bits are zero. One letter over four holds no
byte, so none is right; of whole fours each ends rightly."""

_TO_URL = bytes.maketrans(b"+/", b"-_")

# msgspec decodes base64 inside a JSON string in less than half of binascii's time.
_PADDING = (b'"', b'"', b'=="', b'="')
_decode_quoted = msgspec.json.Decoder(bytes).decode


def decode_letters(part: bytes) -> bytes:
    """Decode text whose letters are known to be right, in the *standard* alphabet and without padding.

    Raises:
        ValueError: it does not end as the one spelling of its bytes does.
    """
    remainder = len(part) & 3
    if remainder and part[-1] not in LAST[remainder]:
        raise ValueError("does not end as base64url must")
    return _decode_quoted(b'"' + part + _PADDING[remainder])


def encode(octets: bytes) -> str:
    """Write ``octets``."""
    return binascii.b2a_base64(octets, newline=False).translate(_TO_URL, b"=").decode()
