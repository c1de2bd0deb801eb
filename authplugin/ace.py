"""Authentication Data of method ``ace``: what MQTT 5 client and broker say to prove a key (RFC 9431 §2.2).

The proof is the challenge and response of §2.2.4.2, in three packets::

    CONNECT, or AUTH 0x19 to re-authenticate; client to broker
        2 bytes   length of the token, most significant first
        n bytes   the token
    AUTH 0x18, broker to client
        8 bytes   the broker's nonce
    AUTH 0x18, client to broker
        8 bytes   the client's nonce
        n bytes   signature over the broker's nonce and the client's, 16 bytes

Where the token is bound to a thumbprint only (``cnf.jkt``), the key has to be shown. That is an
extension of ours; the last packet is then::

        8 bytes   the client's nonce
        2 bytes   length of the key, most significant first
        n bytes   the public key: a JWK, UTF-8
        n bytes   signature over the broker's nonce and the client's, 16 bytes

A signature is written as in a JWS (RFC 7518 §3, RFC 8037 §3.1): RS256 as long as the modulus, ES256
as r and s of 32 bytes each, EdDSA 64 bytes. The other proof of RFC 9431, a signature in the CONNECT
over a value exported from TLS, is refused: the broker does not tell plugins that value.

Both sides use these functions, so they need the standard library only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from authplugin.errors import Reason, Refused

METHOD = "ace"
"""The Authentication Method."""

NONCE_BYTES = 8
"""Length of each nonce."""

MAX_PROOF_BYTES = 4096
"""Longest answer that is looked at: a signature of 1,024 bytes and a key of twice that fit."""

_LENGTH_BYTES = 2


@dataclass(frozen=True, slots=True)
class Proof:
    """A client's answer to a challenge.

    Attributes:
        nonce: the client's.
        key: the public key the client shows, JSON text of a JWK; empty when its token has it.
        signature: over `signed_text` of both nonces.
    """

    nonce: bytes
    key: bytes
    signature: bytes = field(repr=False)


def write_token(token: bytes) -> bytes:
    """What a client's CONNECT carries, or its AUTH to re-authenticate."""
    return len(token).to_bytes(_LENGTH_BYTES, "big") + token


def parse_token(data: bytes) -> bytes:
    """The token in what `write_token` wrote.

    Raises:
        Refused: ``malformed`` (no token, or another length than it says), ``possession_failed`` (a
            proof by exported TLS value follows the token).
    """
    length = int.from_bytes(data[:_LENGTH_BYTES], "big")
    token = data[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if not token or len(token) != length:
        raise Refused(Reason.MALFORMED, "the Authentication Data is not a length of two bytes and a token")
    if len(data) > _LENGTH_BYTES + length:
        raise Refused(
            Reason.POSSESSION_FAILED,
            "a proof by exported TLS value cannot be checked here: send the token alone, sign the nonce",
        )
    return token


def parse_challenge(data: bytes) -> bytes:
    """The broker's nonce, from the Authentication Data of its AUTH packet; for clients.

    Raises:
        ValueError: it is not 8 bytes long: signing another text could sign something else.
    """
    if len(data) != NONCE_BYTES:
        raise ValueError(f"the broker's challenge has {len(data)} bytes, not {NONCE_BYTES}")
    return data


def signed_text(broker_nonce: bytes, client_nonce: bytes) -> bytes:
    """What the client signs."""
    return broker_nonce + client_nonce


def write_proof(nonce: bytes, signature: bytes, jwk: Mapping[str, object] | None = None) -> bytes:
    """What a client answers a challenge with.

    Args:
        nonce: 8 fresh random bytes of the client.
        signature: over `signed_text` of the broker's nonce and this one.
        jwk: the public key, for tokens that are bound to its thumbprint only.
    """
    key = b"" if jwk is None else write_token(json.dumps(jwk, separators=(",", ":")).encode())
    return nonce + key + signature


def parse_proof(data: bytes, *, shows_key: bool) -> Proof:
    """Read what `write_proof` wrote.

    Args:
        data: Authentication Data of the client's AUTH packet.
        shows_key: whether the client has to show its key.

    Raises:
        Refused: ``possession_failed``.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise Refused(
            Reason.POSSESSION_FAILED, f"the proof has {len(data)} bytes, at most {MAX_PROOF_BYTES} are read"
        )
    nonce, rest = data[:NONCE_BYTES], data[NONCE_BYTES:]
    key = b""
    if shows_key:
        length = int.from_bytes(rest[:_LENGTH_BYTES], "big")
        key, rest = rest[_LENGTH_BYTES : _LENGTH_BYTES + length], rest[_LENGTH_BYTES + length :]
    form = "a nonce of 8 bytes, a length of two, a JWK and" if shows_key else "a nonce of 8 bytes and"
    if not rest:
        raise Refused(Reason.POSSESSION_FAILED, f"the proof is not {form} a signature")
    return Proof(nonce, key, rest)
