"""What a client shows to prove that it holds its token's key, and what the policy makes of it.

Two proofs: a TLS client certificate that the token is bound to, which comes with the connect, and
the answer to a challenge (RFC 9431 §2.2.4.2), which takes a question first. The gate has verified
the token before either is looked at.
"""

from collections.abc import Mapping

import msgspec

from authplugin.ace import parse_proof, signed_text
from authplugin.errors import Reason, Refused
from authplugin.jose.json import parse_object
from authplugin.jose.key import VerifyingKey
from authplugin.jose.possession import bound_key, check_proof, fits_certificate, shown_key
from authplugin.model import Connect, Grant, GrantRefused, Possession
from authplugin.policy import PossessionMode

CHALLENGE_SECONDS = 10.0
"""How long a client may take to answer a challenge."""


class Challenge(msgspec.Struct, frozen=True):
    """What a client must sign, and what the gate needs to know when it has: kept by the door for seconds.

    Attributes:
        connect: who asks; its password is the token.
        nonce: what the client is sent: its AUTH packet's Authentication Data.
        key: the key that must sign, None when the client has to show it.
        made: when, on the monotonic clock.
        seconds: what judging the token took.
    """

    connect: Connect
    nonce: bytes
    key: VerifyingKey | None
    made: float
    seconds: float

    def __repr__(self) -> str:
        """Who asks; never what may hold a token."""
        return f"Challenge({self.connect!r})"


def read_certificate(mode: PossessionMode, connect: Connect, grant: Grant) -> Possession:
    """What a client that answers no challenge has shown: its certificate, or nothing.

    Raises:
        GrantRefused: ``possession_required possession_failed``.
    """
    if mode is PossessionMode.OFF:
        return Possession.NONE
    certificate = connect.certificate
    if certificate is not None and fits_certificate(grant.confirmation, certificate):
        return Possession.CERTIFICATE
    if mode is PossessionMode.OPTIONAL:
        return Possession.NONE
    if not grant.confirmation:
        raise GrantRefused(
            Reason.POSSESSION_REQUIRED, "the token is bound to no key that could be proved", grant
        )
    if certificate is None:
        raise GrantRefused(
            Reason.POSSESSION_REQUIRED, "neither a TLS client certificate nor method ace", grant
        )
    raise GrantRefused(
        Reason.POSSESSION_FAILED, "the token is bound to another key than the client certificate's", grant
    )


def tell_possession(mode: PossessionMode, connect: Connect, grant: Grant) -> str:
    """For a person: what the policy asks for, and what a certificate, when there is one, makes of it.

    Raises:
        GrantRefused: ``possession_required possession_failed``; never for lack of a certificate, for
            a client could answer a challenge.
    """
    if connect.certificate is not None or not grant.confirmation:
        return f"{mode}; shown: {read_certificate(mode, connect, grant)}"
    return f"{mode}; a client can show it"


def ask(
    connect: Connect, cnf: Mapping[str, object] | None, *, nonce: bytes, now: float, seconds: float
) -> Challenge:
    """The challenge for a client whose token holds.

    Args:
        connect: who asks; its password is the token.
        cnf: the token's claim.
        nonce: fresh random bytes.
        now: monotonic seconds.
        seconds: what judging the token took.

    Raises:
        Refused: ``possession_failed`` when the token is bound to no key that can sign.
    """
    return Challenge(connect, nonce, bound_key(cnf), now, seconds)


def check_answer(challenge: Challenge, grant: Grant, answer: bytes, *, now: float) -> None:
    """Check that the holder of the token's key has signed the challenge, in time.

    Args:
        challenge: what was asked.
        grant: of the challenge's token, judged again.
        answer: Authentication Data of the client's AUTH packet.
        now: monotonic seconds.

    Raises:
        GrantRefused: ``possession_failed``.
    """
    try:
        _check_answer(challenge, grant, answer, now)
    except Refused as refused:
        raise GrantRefused(refused.reason, refused.detail, grant) from None


def _check_answer(challenge: Challenge, grant: Grant, answer: bytes, now: float) -> None:
    if now - challenge.made >= CHALLENGE_SECONDS:
        raise Refused(Reason.POSSESSION_FAILED, f"no answer within {CHALLENGE_SECONDS:.0f} s")
    proof = parse_proof(answer, shows_key=challenge.key is None)
    key = challenge.key
    if key is None:
        key = shown_key(_parse_key(proof.key), grant.confirmation)
    check_proof(key, signed_text(challenge.nonce, proof.nonce), proof.signature)


def _parse_key(text: bytes) -> Mapping[str, object]:
    try:
        return parse_object(text)
    except ValueError as error:
        raise Refused(
            Reason.POSSESSION_FAILED,
            f"the token has a key's thumbprint only, and the JWK in the proof {error}",
        ) from None
