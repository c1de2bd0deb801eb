"""Access tokens and ID tokens of the development issuer: signed by the same keys as asset tokens.

That they share keys is the point: a gate that only looks at signatures would take them for asset
tokens. Access tokens carry ``tty`` in their header, ID tokens ``at_hash``, ``sub`` and a string
``aud``.
"""

import hashlib
from base64 import urlsafe_b64encode

from authplugin.errors import Refused
from authplugin.issuer.keyring import KeyRing
from authplugin.jose.compact import split
from authplugin.jose.json import parse_object

ACCESS_SECONDS = 3600
"""How long an access token lives."""

ID_SECONDS = 120
"""How long an ID token lives."""

_TOKEN_TYPE = "sfdc-core-token"  # noqa: S105 - the header's word for an access token


def make_access_token(
    keys: KeyRing, *, issuer: str, client_id: str, user: str, scope: str, now: int, token_id: str
) -> str:
    """A JWT access token for this issuer's own interfaces (RFC 9068 in the vendor's dress)."""
    claims = {
        "scp": scope,
        "aud": [issuer],
        "sub": f"uid:{user}",
        "nbf": now,
        "iss": issuer,
        "exp": now + ACCESS_SECONDS,
        "iat": now,
        "jti": token_id,
        "client_id": client_id,
    }
    return keys.sign(claims, header={"tty": _TOKEN_TYPE, "ver": "1.0"})


def make_id_token(keys: KeyRing, *, issuer: str, client_id: str, subject: str, now: int, access: str) -> str:
    """An ID token beside that access token (OpenID Connect Core §2, §3.1.3.6)."""
    half = hashlib.sha256(access.encode()).digest()[:16]
    claims = {
        "at_hash": urlsafe_b64encode(half).rstrip(b"=").decode(),
        "sub": subject,
        "aud": client_id,
        "iss": issuer,
        "exp": now + ID_SECONDS,
        "iat": now,
    }
    return keys.sign(claims)


def is_access_token(keys: KeyRing, token: str, *, issuer: str, now: float) -> bool:
    """Whether ``token`` is an access token of this issuer, still valid; no other kind will do."""
    try:
        compact = split(token.encode())
        header = parse_object(compact.header)
        key = keys.verifying_key(header.get("kid"))
        if header.get("tty") != _TOKEN_TYPE or key is None or header.get("alg") != key.algorithm:
            return False
        if not key.holds(compact.signing_input, compact.signature):
            return False
        claims = parse_object(compact.payload)
    except (Refused, ValueError):
        return False
    expires = claims.get("exp")
    return claims.get("iss") == issuer and isinstance(expires, int) and now < expires
