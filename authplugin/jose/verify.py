"""One signature check, in one straight line: split, header, key, signature.

`verify_signature` is what the gate strings between issuer and claims; `verify_jws` is the same road
for a caller that has a token and a key set and nothing else.
"""

from collections.abc import Collection, Mapping

from authplugin.errors import KeySetError, Reason, Refused
from authplugin.jose.compact import Compact, Header, parse_header, split
from authplugin.jose.jwk import SUPPORTED_ALGORITHMS, admit_set
from authplugin.jose.key import VerifyingKey


def verify_signature(compact: Compact, header: Header, key: VerifyingKey) -> None:
    """Check that ``key``'s private half signed header and payload exactly as sent.

    Raises:
        Refused: ``alg_not_allowed`` (the header names another algorithm than the key is for),
            ``signature_invalid``.
    """
    if header.alg != key.algorithm:
        raise Refused(Reason.ALG_NOT_ALLOWED, f"the key is for {key.algorithm} only")
    if not key.holds(compact.signing_input, compact.signature):
        raise Refused(Reason.SIGNATURE_INVALID, "the signature does not hold")


def verify_jws(token: bytes, jwks: Mapping[str, object], *, algorithms: Collection[str]) -> bytes:
    """Verify a compact JWS against a JWK Set and return its payload's bytes.

    Judges the set exactly as key admission does, each time; a service that sees many tokens keeps
    a `KeyCache` instead. Claims are not looked at.

    Args:
        token: the compact serialization.
        jwks: a parsed JWK Set of public keys.
        algorithms: what the caller accepts, of ``RS256``, ``ES256`` and ``EdDSA``; other names
            accept nothing.

    Raises:
        Refused: ``too_long malformed alg_not_allowed header_not_allowed not_asset_token
            kid_invalid key_unknown signature_invalid``.
    """
    allowed = SUPPORTED_ALGORITHMS.intersection(algorithms)
    compact = split(token)
    header = parse_header(compact.header, allowed)
    try:
        admission = admit_set(jwks, allowed)
    except KeySetError as error:
        raise Refused(Reason.KEY_UNKNOWN, str(error)) from None
    key = admission.keys.get(header.kid)
    if key is None:
        why = [f"key {out.position} {out.detail}" for out in admission.left_out if out.kid == header.kid]
        raise Refused(Reason.KEY_UNKNOWN, "; ".join(why) or "the set has no key of that kid")
    verify_signature(compact, header, key)
    return compact.payload
