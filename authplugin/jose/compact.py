"""Compact JWS: three base64url parts and a header that says little (RFC 7515 §7.1, RFC 8725 §3.14).

Nothing is decoded before its length and letters are known to be right, and every token has exactly
one spelling: no padding, no white space, and last letters whose unused bits are zero (RFC 4648
§3.5), so that a digest of the bytes names the token.
"""

from functools import lru_cache
from typing import TypeGuard

import msgspec

from authplugin.errors import Reason, Refused
from authplugin.jose.base64url import LAST, LETTERS, TO_STANDARD, decode_letters
from authplugin.jose.json import parse_object

MAX_TOKEN_BYTES = 8192
"""Longest token that is looked at; an asset token has about 1,200 bytes."""

MAX_HEADER_BYTES = 1024
"""Longest decoded header; an asset token's has about 42 bytes."""

MAX_KID_CHARACTERS = 256

DEFAULT_TYPE = "JWT"
"""What a token is whose header names no ``typ`` (RFC 7519 §5.1)."""

DEFAULT_TYPES = frozenset({DEFAULT_TYPE})

BEGINNINGS = frozenset(b"eICD")
"""What a token can begin with: a brace, or white space before it, in base64url."""

_ENDS = b"} \t\n\r"
ENDINGS = (
    frozenset([LETTERS[end & 63] for end in _ENDS]),
    frozenset[int](),
    frozenset([LETTERS[(end & 3) << 4] for end in _ENDS]),
    frozenset([LETTERS[(end & 15) << 2] for end in _ENDS]),
)
"""What its header can end with, by the header's length modulo 4: a brace, or white space behind it."""

# Letters of the standard alphabet that base64url has others for, padding, and the escape of the JSON
# strings in which parts are decoded: the only bytes outside the alphabet that the decoder would take.
_PLUS, _SLASH, _EQUALS, _ESCAPE = b"+/=\\"
# What a part of that length modulo 4 is followed by, in ``["<payload>","<signature>"]``.
_AFTER_PAYLOAD = (b'","', b'","', b'==","', b'=","')
_AFTER_SIGNATURE = (b'"]', b'"]', b'=="]', b'="]')
_decode_parts = msgspec.json.Decoder(tuple[bytes, bytes]).decode

_KID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/@+=,#")

# Members that would change what is verified or by which key (RFC 7515 §4.1, RFC 7516 §4.1.3,
# RFC 7797 §3): a token may not bring its own key, nor rules we do not know.
_FORBIDDEN = frozenset({"crit", "zip", "b64", "jku", "jwk", "x5u", "x5c"})


class Compact(msgspec.Struct, frozen=True, gc=False):
    """A token in parts.

    Attributes:
        header: decoded bytes of the protected header.
        payload: decoded bytes of the payload.
        signing_input: what the signature is over: header and payload as sent, one dot between
            them and none after.
        signature: decoded signature; empty for an unsigned token.
    """

    header: bytes
    payload: bytes
    signing_input: bytes
    signature: bytes

    def __repr__(self) -> str:
        """Sizes only: the parts together are the bearer's secret."""
        return f"Compact({len(self.header)} + {len(self.payload)} + {len(self.signature)} bytes)"


class Header(msgspec.Struct, frozen=True, gc=False):
    """What a header may say: which algorithm, and which of the issuer's keys.

    Attributes:
        alg: one of the allowed algorithms.
        kid: name of the key; unique for one issuer only, and never a path or number to us.
        typ: one of the allowed types; ``JWT`` when the header names none.
    """

    alg: str
    kid: str
    typ: str = DEFAULT_TYPE


def split(token: bytes) -> Compact:
    """Split a compact JWS into its decoded parts.

    Raises:
        Refused: ``too_long`` beyond 8,192 bytes; ``malformed`` unless there are exactly two dots,
            only base64url letters, canonical endings and no padding.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise Refused(Reason.TOO_LONG, f"{len(token)} bytes, at most {MAX_TOKEN_BYTES} are read")
    # Dots first: finding them costs a twentieth of looking at every letter.
    first = token.find(b".")
    second = token.find(b".", first + 1)
    if first < 0 or second < 0 or token.find(b".", second + 1) >= 0:
        raise Refused(Reason.MALFORMED, "not three parts with a dot between them")
    # A flood of letters and dots ends here, before the rest of it is decoded and a parser fails.
    header = _decode_header(token[:first])
    if _PLUS in token or _SLASH in token or _EQUALS in token or _ESCAPE in token:
        raise Refused(Reason.MALFORMED, _fault(token))
    # By length modulo 4, for the ends depend on it; no last letter differs in the two alphabets.
    payload, signature = (second - first - 1) & 3, (len(token) - second - 1) & 3
    if (payload and token[second - 1] not in LAST[payload]) or (
        signature and token[-1] not in LAST[signature]
    ):
        raise Refused(Reason.MALFORMED, _fault(token))
    standard = token.replace(b"-", b"+").replace(b"_", b"/")
    try:
        parts = _decode_parts(
            b'["%b%b%b%b'
            % (
                standard[first + 1 : second],
                _AFTER_PAYLOAD[payload],
                standard[second + 1 :],
                _AFTER_SIGNATURE[signature],
            )
        )
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(Reason.MALFORMED, _fault(token)) from None
    return Compact(header, parts[0], token[:second], parts[1])


@lru_cache(maxsize=1024)
def _decode_header(part: bytes) -> bytes:
    """Decode a header that can be a JSON object; remembered, bounded, as in `parse_header`.

    `split` looks at the letters that the decoder takes and base64url has not.

    Raises:
        Refused: ``malformed``.
    """
    if not part:
        raise Refused(Reason.MALFORMED, "the header is empty")
    try:
        header = decode_letters(part.translate(TO_STANDARD))
    except ValueError:
        raise Refused(Reason.MALFORMED, _fault(part)) from None
    if len(header) > MAX_HEADER_BYTES:
        raise Refused(Reason.MALFORMED, _too_long(header))
    text = header.strip(b" \t\n\r")
    if not (text.startswith(b"{") and text.endswith(b"}")):
        raise Refused(Reason.MALFORMED, "the header is not a JSON object")
    return header


def _too_long(header: bytes) -> str:
    return f"the header has {len(header)} bytes, at most {MAX_HEADER_BYTES} are read"


def _fault(text: bytes) -> str:
    """What is wrong with the letters of a part, or of several with dots between them."""
    if text.translate(None, LETTERS + b"."):
        return "not only base64url letters and dots"
    return "a part does not end as base64url must"


@lru_cache(maxsize=1024)
def parse_header(raw: bytes, algorithms: frozenset[str], types: frozenset[str] = DEFAULT_TYPES) -> Header:
    """Parse the protected header and check everything in it that can be refused without a key.

    Remembered by its bytes: the tokens of one issuer share one header. The memory is bounded, for
    the bytes are anyone's choice, and holds accepted headers only.

    Args:
        raw: decoded header.
        algorithms: the names ``alg`` may have.
        types: the names ``typ`` may have (RFC 8725 §3.11), letter by letter.

    Raises:
        Refused: ``malformed`` (not one UTF-8 JSON object with one reading), ``alg_not_allowed``,
            ``not_asset_token`` (``tty``: an access token of the same issuer),
            ``header_not_allowed``, ``kid_invalid``.
    """
    if len(raw) > MAX_HEADER_BYTES:
        raise Refused(Reason.MALFORMED, _too_long(raw))
    try:
        header = parse_object(raw)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, f"the header {error}") from None
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in algorithms:
        raise Refused(Reason.ALG_NOT_ALLOWED, f"alg is not one of {', '.join(sorted(algorithms))}")
    forbidden = _FORBIDDEN.intersection(header)
    if forbidden:
        raise Refused(Reason.HEADER_NOT_ALLOWED, f"{', '.join(sorted(forbidden))} may not be in the header")
    typ = header.get("typ", DEFAULT_TYPE)
    if not isinstance(typ, str) or typ not in types:
        raise Refused(Reason.HEADER_NOT_ALLOWED, f"typ is not {' or '.join(sorted(types))}")
    if "tty" in header:
        raise Refused(Reason.NOT_ASSET_TOKEN, "tty marks an access token")
    kid = header.get("kid")
    if not is_kid(kid):
        raise Refused(Reason.KID_INVALID, "kid is not a string of 1 to 256 characters that name a key")
    return Header(alg, kid, typ)


def is_kid(value: object) -> TypeGuard[str]:
    """Whether ``value`` can name a key: a bounded string that is no path, query or control text."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_KID_CHARACTERS
        and _KID_CHARACTERS.issuperset(value)
        and ".." not in value
    )
