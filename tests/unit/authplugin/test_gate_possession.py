"""Proof of possession at the gate: challenges, certificates, and who must bring one."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authplugin.ace import write_proof, write_token
from authplugin.errors import Reason
from authplugin.jose.base64url import encode
from authplugin.model import Allow, Connect, Decision, Deny, Possession
from authplugin.proof import Challenge
from tests.support.bearers import Bearer
from tests.support.gates import AID, CONFIG, DID, SHORT, Bench, refused

ALGORITHMS = ("RS256", "ES256", "EdDSA")
OPTIONAL = CONFIG.replace("[[service", '[issuers.possession]\nmode = "optional"\n[[service')
REQUIRED = OPTIONAL.replace("optional", "required")


class Door(Bench):
    """What a broker's door does with clients that prove something."""

    def challenge(self, token: bytes, *, client_id: str = AID, **changes: object) -> Challenge | Deny:
        connect = Connect(client_id, None, write_token(token), "192.0.2.1")
        return self.gate.challenge(connect, **changes)  # type: ignore[arg-type] # renews only

    def challenged(self, token: bytes) -> Challenge:
        challenge = self.challenge(token)
        assert isinstance(challenge, Challenge), challenge
        return challenge

    def present(self, token: bytes, certificate: bytes | None) -> Decision:
        return self.gate.authenticate(Connect(AID, None, token, "192.0.2.1", certificate))


def possession(decision: Decision) -> Possession:
    assert isinstance(decision, Allow), decision
    return decision.possession


@pytest.mark.parametrize("config", [CONFIG, OPTIONAL, REQUIRED])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_holder_of_the_bound_key_comes_in_by_signing_a_nonce(algorithm: str, config: str) -> None:
    door, bearer = Door(config), Bearer(algorithm)
    challenge = door.challenged(door.mint.mint(cnf={"jwk": bearer.jwk}))
    assert len(challenge.nonce) == 8
    decision = door.gate.prove(challenge, bearer.answer(challenge.nonce))
    assert possession(decision) is Possession.NONCE
    assert door.witness.decisions == [decision]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_bound_by_its_thumbprint_is_shown_with_the_proof(algorithm: str) -> None:
    door, bearer, other = Door(REQUIRED), Bearer(algorithm), Bearer(algorithm, "other")
    challenge = door.challenged(door.mint.mint(cnf=bearer.jkt))
    assert possession(door.gate.prove(challenge, bearer.answer(challenge.nonce, shows_key=True))) is (
        Possession.NONCE
    )
    for answer in (bearer.answer(challenge.nonce), other.answer(challenge.nonce, shows_key=True)):
        assert refused(door.gate.prove(challenge, answer)) == "possession_failed"


def test_a_copied_token_does_not_come_in_without_its_key() -> None:
    door, bearer, thief = Door(REQUIRED), Bearer(), Bearer(name="thief")
    token = door.mint.mint(cnf={"jwk": bearer.jwk})
    challenge = door.challenged(token)
    earlier = bearer.answer(door.challenged(token).nonce)
    for answer in (thief.answer(challenge.nonce), earlier, b"", b"12345678", bytes(72), bytes(5000)):
        assert refused(door.gate.prove(challenge, answer)) == "possession_failed"
    assert refused(door.connect(token)) == "possession_required"
    assert refused(door.present(token, thief.certificate)) == "possession_failed"


def test_a_nonce_is_drawn_for_each_challenge() -> None:
    door, bearer = Door(REQUIRED), Bearer()
    token = door.mint.mint(cnf={"jwk": bearer.jwk})
    assert len({door.challenged(token).nonce for _ in range(100)}) == 100


@pytest.mark.parametrize(("seconds", "word"), [(9.9, None), (10.0, "possession_failed")])
def test_a_challenge_holds_for_ten_seconds(seconds: float, word: str | None) -> None:
    door, bearer = Door(REQUIRED), Bearer()
    challenge = door.challenged(door.mint.mint(cnf={"jwk": bearer.jwk}))
    door.clock.advance(seconds)
    decision = door.gate.prove(challenge, bearer.answer(challenge.nonce))
    assert (decision.reason.value if isinstance(decision, Deny) else None) == word


def test_a_token_that_ends_between_challenge_and_proof_does_not_come_in() -> None:
    door, bearer = Door(REQUIRED), Bearer()
    now = int(door.clock.now())
    challenge = door.challenged(door.mint.mint(cnf={"jwk": bearer.jwk}, nbf=now - 10, exp=now - 25))
    door.clock.advance(6)
    assert refused(door.gate.prove(challenge, bearer.answer(challenge.nonce))) == "expired"


@pytest.mark.parametrize(
    ("cnf", "word"),
    [
        (None, "possession_failed"),
        (Bearer().x5t, "possession_failed"),
        ({"jwk": {"kty": "RSA", "n": encode(b"\xff" * 128), "e": "AQAB"}}, "possession_failed"),
        ({"jwk": {**Bearer().jwk, "use": "enc"}}, "possession_failed"),
        ({"kid": "x"}, "claims_malformed"),
    ],
)
def test_a_token_bound_to_no_key_that_can_sign_is_not_challenged(cnf: object, word: str) -> None:
    door = Door(REQUIRED)
    answer = door.challenge(door.mint.mint(cnf=cnf))
    assert isinstance(answer, Deny)
    assert answer.reason == word
    assert door.witness.decisions == [answer]


def test_a_weak_key_shown_with_a_proof_proves_nothing() -> None:
    door, bearer = Door(REQUIRED), Bearer()
    challenge = door.challenged(door.mint.mint(cnf=bearer.jkt))
    for jwk in ({"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "n": encode(b"\xff" * 128), "e": "AQAB"}, {}):
        assert (
            refused(door.gate.prove(challenge, write_proof(bytes(8), bytes(64), jwk))) == "possession_failed"
        )


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"kty":"OKP","kty":"OKP"}'])
def test_a_text_that_is_no_key_proves_nothing(text: bytes) -> None:
    door, bearer = Door(REQUIRED), Bearer()
    challenge = door.challenged(door.mint.mint(cnf=bearer.jkt))
    answer = bytes(8) + write_token(text) + bytes(64)
    assert refused(door.gate.prove(challenge, answer)) == "possession_failed"


def test_everything_else_is_checked_before_a_challenge() -> None:
    door = Door(REQUIRED)
    for token, word in (
        (door.mint.forged(), "signature_invalid"),
        (door.mint.expired(), "expired"),
        (b"x" * 9000, "too_long"),
        (b"", "malformed"),
    ):
        answer = door.challenge(token)
        assert isinstance(answer, Deny)
        assert answer.reason == word
    stranger = door.challenge(door.mint.mint(), client_id="02iAB00000CdEfH")
    assert isinstance(stranger, Deny)
    assert stranger.reason is Reason.CLIENT_ID_MISMATCH
    nothing = door.gate.challenge(Connect(AID, None, None, "192.0.2.1"))
    assert isinstance(nothing, Deny)
    assert nothing.reason is Reason.MALFORMED


def test_a_session_is_renewed_for_its_own_asset_only() -> None:
    config = OPTIONAL.replace("[issuers.poss", "did_as_client_id = true\n[issuers.poss")
    door, bearer = Door(config), Bearer()
    grant = door.grant(cnf={"jwk": bearer.jwk})
    same = door.challenge(door.mint.mint(cnf={"jwk": bearer.jwk}), client_id=DID, renews=grant)
    assert isinstance(same, Challenge)
    other = door.mint.mint(cnf={"jwk": bearer.jwk}, aid="02iAB00000CdEfH")
    answer = door.challenge(other, client_id=DID, renews=grant)
    assert isinstance(answer, Deny)
    assert answer.reason is Reason.CLIENT_ID_MISMATCH


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_certificate_of_the_bound_key_is_a_proof(algorithm: str) -> None:
    door, bearer = Door(REQUIRED), Bearer(algorithm)
    for cnf in ({"jwk": bearer.jwk}, bearer.jkt, bearer.x5t):
        assert possession(door.present(door.mint.mint(cnf=cnf), bearer.certificate)) is Possession.CERTIFICATE


def test_a_proof_is_asked_of_whom_the_policy_names() -> None:
    door, bearer, other = Door(OPTIONAL), Bearer(), Bearer(name="other")
    token = door.mint.mint(cnf={"jwk": bearer.jwk})
    assert possession(door.present(token, bearer.certificate)) is Possession.CERTIFICATE
    assert possession(door.present(token, other.certificate)) is Possession.NONE
    assert possession(door.present(token, b"no certificate")) is Possession.NONE
    assert possession(door.present(token, None)) is Possession.NONE
    assert possession(Door().present(token, bearer.certificate)) is Possession.NONE
    assert (
        refused(Door(REQUIRED).present(door.mint.mint(cnf=None), bearer.certificate)) == "possession_required"
    )


def test_an_asset_may_have_a_mode_of_its_own() -> None:
    table = '[[issuers.possession.assets]]\nmode = "{}"\n{}\n'
    tables = [
        ("off", 'prefixes = ["02i"]'),
        ("required", 'prefixes = ["02iAB"]'),
        ("off", f'exact = ["{SHORT}"]'),
    ]
    lines = "".join(table.format(mode, names) for mode, names in tables)
    door = Door(REQUIRED.replace("[[service", lines + "[[service"))
    assert possession(door.connect(door.mint.mint())) is Possession.NONE
    guarded = door.mint.mint(aid="02iAB00000CdEfH")
    assert refused(door.connect(guarded, client_id="02iAB00000CdEfH")) == "possession_required"
    assert isinstance(door.connect(door.mint.mint(aid="02iAC00000CdEfH"), client_id="02iAC00000CdEfH"), Allow)
    assert refused(door.connect(door.mint.mint(aid="03iAC00000CdEfH"), client_id="03iAC00000CdEfH")) == (
        "possession_required"
    )


def test_what_fails_inside_denies() -> None:
    bearer = Bearer()

    def broken(count: int) -> bytes:
        raise OSError(count)

    door = Door(REQUIRED, random=broken)
    answer = door.challenge(door.mint.mint(cnf={"jwk": bearer.jwk}))
    assert isinstance(answer, Deny)
    assert answer.reason is Reason.INTERNAL
    door = Door(REQUIRED)
    challenge = door.challenged(door.mint.mint(cnf={"jwk": bearer.jwk}))
    broken_challenge = msgspec.structs.replace(challenge, made=None)
    assert refused(door.gate.prove(broken_challenge, bearer.answer(challenge.nonce))) == "internal"


def test_a_challenge_shows_no_token() -> None:
    door, bearer = Door(REQUIRED), Bearer()
    token = door.mint.mint(cnf={"jwk": bearer.jwk})
    text = repr(door.challenged(token))
    assert AID in text
    assert not any(part in text for part in token.decode().split("."))


def test_an_address_that_fails_to_prove_is_asked_no_more_and_slows_nobody_else() -> None:
    door, bearer, thief = Door(REQUIRED), Bearer(), Bearer(name="thief")
    token = door.mint.mint(cnf={"jwk": bearer.jwk})

    def come(who: Bearer, address: str) -> Decision:
        challenge = door.gate.challenge(Connect(AID, None, write_token(token), address))
        assert isinstance(challenge, Challenge)
        return door.gate.prove(challenge, who.answer(challenge.nonce))

    assert isinstance(come(bearer, "192.0.2.9"), Allow)
    words = [refused(come(thief, "192.0.2.66")) for _ in range(200)]
    assert set(words) == {"possession_failed", "throttled"}
    assert words.index("throttled") >= 40
    assert isinstance(come(bearer, "192.0.2.9"), Allow)


def test_a_refused_proof_names_the_asset_that_somebody_posed_as() -> None:
    door, bearer, thief = Door(REQUIRED), Bearer(), Bearer(name="thief")
    token = door.mint.mint(cnf={"jwk": bearer.jwk})
    challenge = door.challenged(token)
    for decision in (
        door.gate.prove(challenge, thief.answer(challenge.nonce)),
        door.present(token, thief.certificate),
        door.connect(token),
        door.present(door.mint.mint(cnf=None), None),
    ):
        assert isinstance(decision, Deny)
        assert decision.grant is not None
        assert decision.grant.asset_id == AID


@settings(deadline=None, max_examples=30)  # each example makes a gate
@given(position=st.integers(0, 71), bit=st.integers(0, 7), cut=st.integers(1, 72))
def test_no_other_answer_is_a_proof(position: int, bit: int, cut: int) -> None:
    door, bearer = Door(REQUIRED), Bearer()
    challenge = door.challenged(door.mint.mint(cnf={"jwk": bearer.jwk}))
    right = bearer.answer(challenge.nonce)
    other = bytearray(right)
    other[position] ^= 1 << bit
    for answer in (bytes(other), right[:-cut], right + bytes(cut), bytes(8) + right):
        assert refused(door.gate.prove(challenge, answer)) in {"possession_failed", "throttled"}
    assert isinstance(door.gate.prove(door.challenged(door.mint.mint(cnf={"jwk": bearer.jwk})), right), Deny)
