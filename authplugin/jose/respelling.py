"""The other spelling of an ES256 token, which anyone who has the one can write.

When (r, s) is a signature, so is (r, n - s) (SEC 1 §4.1.4 compares r alone), so such a token has two
forms that differ in their last letters. Issuers send either, so neither can be refused; whoever names
a token by a digest of its bytes must know both.
"""

from authplugin.jose.base64url import encode
from authplugin.jose.compact import Compact

_HALF = 32
_ORDER = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
"""Of the curve P-256 (FIPS 186-4 §D.1.2.3)."""


def respell(compact: Compact) -> bytes:
    """The other compact serialization of a token whose ES256 signature holds (RFC 7518 §3.4: r, then s)."""
    r, s = compact.signature[:_HALF], int.from_bytes(compact.signature[_HALF:])
    return compact.signing_input + b"." + encode(r + (_ORDER - s).to_bytes(_HALF)).encode()
