"""The gate whole: who comes in, as what, and what every refusal says.

Long, because one gate is asked everything that a door may ask, and what it answers is read together.
"""

import hashlib
from pathlib import Path

import pytest

from authplugin.clones import Finding
from authplugin.errors import Reason
from authplugin.explanation import ON_DEMAND, ROWS
from authplugin.model import Action, Allow, Connect, Decision, Deny, Grant
from authplugin.observer import Observer, hearing
from authplugin.sessions import Session
from authplugin.settings import parse
from authplugin.testing import TokenMint
from authplugin.testing.mint import base64url
from tests.support.gates import AID, CONFIG, DID, SHORT, Bench, refused
from tests.support.mints import CLOCK, mint

OTHER = "02iAB00000XdEfGYAV"
FOREIGN = CONFIG.replace("[[service_accounts]]", 'assets = { prefixes = ["02iZ"] }\n[[service_accounts]]')
OPAQUE = CONFIG.replace("[[service_accounts]]", 'id_form = "opaque"\n[[service_accounts]]')
DEVICES = CONFIG.replace("[[service_accounts]]", "did_as_client_id = true\n[[service_accounts]]")


@pytest.fixture(name="bench")
def make_bench() -> Bench:
    return Bench()


def test_a_good_token_is_let_in_as_its_asset(bench: Bench) -> None:
    token = bench.mint.mint()
    decision = bench.connect(token)
    assert isinstance(decision, Allow)
    grant = decision.grant
    assert (grant.asset_id, grant.device_id, grant.kid) == (AID, DID, "Assets")
    assert grant.issuer == "https://acme.my.site.com"
    assert grant.expires == CLOCK.now() + 518_400
    assert grant.token_digest == hashlib.sha256(token).hexdigest()[:16]
    assert grant.key_thumbprint is not None
    assert grant.publish == (f"assets/{AID}/telemetry/#", f"assets/{AID}/events/#", f"assets/{AID}/status")
    assert grant.subscribe == (f"assets/{AID}/commands/#",)
    assert bench.witness.decisions == [decision]


def hostile(issuer: TokenMint) -> list[tuple[bytes | None, Reason]]:
    head, payload, signature = issuer.mint().split(b".")
    return [
        (None, Reason.MALFORMED),
        (b"", Reason.MALFORMED),
        (b"secret", Reason.MALFORMED),
        (b"\xff\xfe", Reason.MALFORMED),
        (b"a.b.c=", Reason.MALFORMED),
        (head + b"." + payload + b".", Reason.SIGNATURE_INVALID),
        (head + b"." + payload + b"." + signature + b"AAAA", Reason.SIGNATURE_INVALID),
        (b"a" * 8193, Reason.TOO_LONG),
        (b"." * 65_535, Reason.TOO_LONG),
        (issuer.alg_none(), Reason.ALG_NOT_ALLOWED),
        (issuer.hmac_with_public_key(), Reason.ALG_NOT_ALLOWED),
        (issuer.sign(issuer.claims(), header=issuer.header({"jku": "https://x"})), Reason.HEADER_NOT_ALLOWED),
        (issuer.sign(issuer.claims(), header=issuer.header({"kid": "../k"})), Reason.KID_INVALID),
        (issuer.sign(b"[]"), Reason.CLAIMS_MALFORMED),
        (issuer.mint(iss=None), Reason.ISSUER_UNKNOWN),
        (issuer.unknown_issuer(), Reason.ISSUER_UNKNOWN),
        (issuer.unknown_key(), Reason.KEY_UNKNOWN),
        (issuer.forged(), Reason.SIGNATURE_INVALID),
        (issuer.mint(exp="soon"), Reason.CLAIMS_MALFORMED),
        (issuer.mint(cnf={"jwk": {"kty": "oct", "k": "AAAA"}}), Reason.CLAIMS_MALFORMED),
        (issuer.without_expiry(), Reason.EXP_MISSING),
        (issuer.expired(), Reason.EXPIRED),
        (issuer.not_yet_valid(), Reason.NOT_YET_VALID),
        (issuer.wrong_audience(), Reason.AUDIENCE_MISMATCH),
        (issuer.id_token(), Reason.NOT_ASSET_TOKEN),
        (issuer.access_token(), Reason.NOT_ASSET_TOKEN),
        (issuer.mint(aid=None), Reason.ASSET_MISSING),
        (issuer.mint(did=None), Reason.DEVICE_MISSING),
        (issuer.mint(did="x" * 129), Reason.CLAIMS_MALFORMED),
        (issuer.mint(aid="02iAB/0000CdEfG"), Reason.ASSET_UNSAFE),
        (issuer.mint(aid=AID[:17] + "X"), Reason.ASSET_UNSAFE),
    ]


@pytest.mark.parametrize(("token", "reason"), hostile(mint()), ids=lambda value: str(value)[:24])
def test_a_bad_token_is_refused_with_its_reason_each_time(bench: Bench, token: bytes, reason: Reason) -> None:
    assert refused(bench.connect(token)) == reason
    assert refused(bench.connect(token)) == reason
    assert not bench.witness.faults


@pytest.mark.parametrize(("token", "reason"), hostile(mint()), ids=lambda value: str(value)[:24])
def test_explain_and_authenticate_agree(bench: Bench, token: bytes | None, reason: Reason) -> None:
    checks = bench.gate.explain(token or b"")
    results = [check.passed for check in checks]
    failed = results.index(False)
    assert checks[failed].detail.startswith(reason.value)
    assert results == [True] * failed + [False] + [None] * (len(results) - failed - 1)
    assert [check.name for check in checks] == [name for name, _ in ROWS if name not in ON_DEMAND]


def test_an_asset_of_another_issuer_is_foreign() -> None:
    assert refused(Bench(FOREIGN).connect(mint().mint())) == "foreign_asset"


def test_an_algorithm_of_another_issuer_is_not_allowed() -> None:
    second = '[[issuers]]\nissuer = "https://b.example.com"\naudiences = ["x"]\nalgorithms = ["ES256"]\n'
    config = FOREIGN.replace("[[service", second + 'assets = { exact = ["02iAB00000CdEfG"] }\n[[service')
    elliptic = mint("ES256", issuer="https://b.example.com")
    bench = Bench(config, mints=(mint(), elliptic))
    token = bench.mint.sign(elliptic.claims(aud=["x"]))
    assert refused(bench.connect(token)) == "alg_not_allowed"
    assert isinstance(bench.connect(elliptic.mint(aud=["x"])), Allow)


@pytest.mark.parametrize("aid", ["bridge", "assetgate-bridge"])
def test_the_name_of_a_service_account_or_of_a_program_is_no_asset(aid: str) -> None:
    bench = Bench(OPAQUE)
    assert refused(bench.connect(bench.mint.mint(aid=aid), client_id=aid)) == "asset_unsafe"


@pytest.mark.parametrize("client_id", [AID, SHORT, f"{AID}:1", f"{SHORT}:a.b_c-d:e", f"{AID}:{'x' * 237}"])
def test_a_client_id_is_the_asset_id_with_any_suffix(bench: Bench, client_id: str) -> None:
    assert isinstance(bench.connect(bench.mint.mint(), client_id=client_id), Allow)


@pytest.mark.parametrize(
    "client_id",
    [
        "",
        DID,
        OTHER,
        f"{AID}:",
        f"{AID}1",
        f"{AID} ",
        f"{AID}:a/b",
        f"{AID}:{'x' * 238}",
        AID.lower(),
        f":{AID}",
    ],
)
def test_any_other_client_id_is_refused(bench: Bench, client_id: str) -> None:
    assert refused(bench.connect(bench.mint.mint(), client_id=client_id)) == "client_id_mismatch"


def test_the_short_form_of_an_opaque_id_is_another_asset() -> None:
    bench = Bench(OPAQUE)
    assert refused(bench.connect(bench.mint.mint(aid=AID), client_id=SHORT)) == "client_id_mismatch"


def test_a_device_id_is_a_client_id_where_the_issuer_vouches_for_it() -> None:
    bench = Bench(DEVICES)
    assert isinstance(bench.connect(bench.mint.mint(), client_id=DID), Allow)


@pytest.mark.parametrize("did", [OTHER[:15], f"{OTHER[:15]}:x", "bridge", "bridge:2", "assetgate-bridge"])
def test_a_device_id_that_could_be_an_asset_or_a_program_takes_over_nothing(did: str) -> None:
    bench = Bench(DEVICES)
    assert refused(bench.connect(bench.mint.mint(did=did), client_id=did)) == "client_id_mismatch"


@pytest.mark.parametrize("username", [None, "", AID, SHORT, DID])
def test_a_user_name_is_absent_empty_or_the_clients_own(bench: Bench, username: str | None) -> None:
    assert isinstance(bench.connect(bench.mint.mint(), username=username), Allow)


@pytest.mark.parametrize("username", [OTHER, "admin", "bridge", AID.lower(), " "])
def test_any_other_user_name_is_refused(bench: Bench, username: str) -> None:
    assert refused(bench.connect(bench.mint.mint(), username=username)) == "username_mismatch"


def test_a_device_called_like_a_service_account_does_not_get_its_road(bench: Bench) -> None:
    assert refused(bench.connect(bench.mint.mint(did="bridge"), username="bridge")) == "username_mismatch"


def test_a_token_is_verified_once(bench: Bench) -> None:
    token = bench.mint.mint()
    bench.connect(token)
    bench.connect(token)
    assert (bench.verdicts.hits, bench.verdicts.misses) == (1, 1)


def test_client_rules_hold_for_a_remembered_token_too(bench: Bench) -> None:
    token = bench.mint.mint()
    bench.connect(token)
    assert refused(bench.connect(token, client_id=OTHER)) == "client_id_mismatch"
    assert refused(bench.connect(token, username="admin")) == "username_mismatch"


@pytest.mark.parametrize(("seconds", "in_time"), [(518_429, True), (518_430, False)])
def test_a_remembered_token_ends_at_exp_and_leeway(seconds: float, *, in_time: bool) -> None:
    bench = Bench()
    token = bench.mint.mint()
    bench.connect(token)
    bench.clock.advance(seconds)
    decision = bench.connect(token)
    assert isinstance(decision, Allow) if in_time else refused(decision) == "expired"


def test_the_age_an_issuer_allows_ends_remembered_tokens_and_sessions_too() -> None:
    bench = Bench(CONFIG.replace("audiences", "max_token_age_s = 600\naudiences", 1))
    token = bench.mint.mint(exp=bench.clock.now() + 86_400)
    decision = bench.connect(token)
    assert isinstance(decision, Allow)
    bench.gate.open_session(AID, 1, decision.grant)
    bench.clock.advance(629)
    assert isinstance(bench.connect(token), Allow)
    assert bench.gate.due() == []
    bench.clock.advance(1)
    assert refused(bench.connect(token)) == Reason.EXPIRED
    assert [kick.reason for kick in bench.gate.due()] == [Reason.EXPIRED]


def test_a_token_refused_under_a_wrong_clock_comes_in_once_it_is_set_right(bench: Bench) -> None:
    token = bench.mint.mint()
    bench.clock.step(10 * 86_400)
    assert refused(bench.connect(token)) == Reason.EXPIRED
    bench.clock.step(-10 * 86_400)
    assert isinstance(bench.connect(token), Allow)


def test_a_key_withdrawn_takes_its_tokens_along() -> None:
    own = TokenMint(clock=CLOCK, key=mint().key, device_key=mint().key)
    bench = Bench(mints=(own,))
    token = own.mint()
    assert isinstance(bench.connect(token), Allow)
    bench.publish(own, mint(kid="Next").jwks())
    assert refused(bench.connect(token)) == "key_unknown"


def test_a_bad_token_is_judged_again_under_new_keys() -> None:
    own = TokenMint(clock=CLOCK, key=mint().key, device_key=mint().key)
    bench = Bench(mints=(mint(kid="Next"),))
    token = mint(kid="Next").sign(own.claims(), key=own.key)
    assert refused(bench.connect(token)) == "signature_invalid"
    bench.publish(own, {"keys": [own.jwk() | {"kid": "Next"}]})
    assert isinstance(bench.connect(token), Allow)


def test_a_new_policy_judges_remembered_tokens_again(bench: Bench) -> None:
    token = bench.mint.mint()
    bench.connect(token)
    bench.gate.adopt(Bench(FOREIGN).policy)
    assert refused(bench.connect(token)) == "foreign_asset"
    assert AID not in bench.gate.policy.service_accounts


def test_stale_keys_refuse_newcomers_and_keep_live_sessions(bench: Bench) -> None:
    bench.publish(bench.mint, hard=1000)
    token, newcomer = bench.mint.mint(), bench.mint.mint(id="05bAB0000000002")
    decision = bench.connect(token)
    assert isinstance(decision, Allow)
    assert bench.gate.open_session(AID, 1, decision.grant) is None
    bench.clock.advance(1001)
    assert bench.connect(token) == decision
    assert refused(bench.connect(newcomer, client_id=f"{AID}:2")) == "keys_stale"
    bench.clock.advance(518_400)
    assert refused(bench.connect(token)) == "keys_stale"


def test_a_live_session_does_not_outlive_its_key(bench: Bench) -> None:
    token = bench.mint.mint()
    grant = bench.grant()
    bench.gate.open_session(AID, 1, grant)
    bench.publish(bench.mint, mint(kid="Next").jwks())
    assert refused(bench.connect(token)) == "key_unknown"


def test_a_session_whose_verdict_is_gone_is_judged_again(bench: Bench) -> None:
    grant = bench.grant()
    bench.verdicts.clear()
    bench.gate.open_session(AID, 1, grant)
    session = bench.sessions.find(AID)
    assert session is not None
    assert session.generation == 0


def test_a_session_of_an_issuer_just_removed_gets_no_leeway(bench: Bench) -> None:
    grant = bench.grant()
    other = parse(CONFIG.replace("acme.my", "other"), name="gate.toml", environ={}, base=Path())
    bench.gate.adopt(other.policy)
    bench.gate.open_session(AID, 1, grant)
    bench.clock.advance(518_400)
    assert [kick.reason for kick in bench.gate.due()] == ["expired"]


def test_sessions_open_and_close_through_the_gate(bench: Bench) -> None:
    grant = bench.grant()
    bench.gate.open_session(AID, 1, grant)
    bench.sessions.kick(AID, Reason.REVOKED)
    assert [kick.reason for kick in bench.gate.due()] == ["revoked"]
    assert bench.gate.close_session(AID, 1) is not None
    assert len(bench.sessions) == 0


def test_a_fault_below_denies_is_counted_and_shows_no_token(bench: Bench) -> None:
    token = bench.mint.mint()

    class Broken:
        generation = 0

        def find(self, _issuer: str, kid: str) -> object:
            raise LookupError(f"{kid} {token!r}")

    bench.gate = type(bench.gate)(
        bench.policy,
        Broken(),  # type: ignore[arg-type] # broken on purpose
        clock=bench.clock,
        sessions=bench.sessions,
        verdicts=bench.verdicts,
        metrics=bench.witness,
    )
    assert bench.connect(token) == Deny(Reason.INTERNAL, "LookupError")
    assert [check.detail for check in bench.gate.explain(token) if check.passed is False] == [
        "internal: LookupError"
    ]
    assert len(bench.witness.faults) == 2


def test_an_observer_hears_what_it_does_not_inherit_and_nothing_else(bench: Bench) -> None:
    class Own(Observer):
        def __init__(self) -> None:
            self.heard = list[Session]()
            self.session_opened = self.heard.append  # type: ignore[assignment, method-assign] # its own

        def session_ended(self, session: Session, _reason: Reason | None) -> None:
            self.heard.append(session)

    own = Own()
    assert hearing((own, Observer()), "session_opened") == (own.session_opened,)
    assert hearing((Observer(), own), "session_ended") == (own.session_ended,)
    assert hearing((own, bench.witness), "authenticated") == (bench.witness.authenticated,)


def test_an_observer_that_fails_changes_no_decision(bench: Bench) -> None:
    class Broken(Observer):
        def authenticated(self, _connect: Connect, _decision: Decision, _seconds: float) -> None:
            raise OSError

        def authorized(self, _grant: Grant, _action: Action, _topic: str, _decision: Decision) -> None:
            raise OSError

        def failed(self, _error: Exception) -> None:
            raise OSError

        def session_opened(self, _session: Session) -> None:
            raise OSError

        def session_expiring(self, _session: Session) -> None:
            raise OSError

        def session_ended(self, _session: Session, _reason: Reason | None) -> None:
            raise OSError

        def clone_found(self, _finding: Finding) -> None:
            raise OSError

    gate = type(bench.gate)(
        bench.policy,
        bench.keys,
        clock=bench.clock,
        sessions=bench.sessions,
        verdicts=bench.verdicts,
        metrics=Broken(),
        audit=bench.witness,
    )
    decision = gate.authenticate(Connect(AID, None, bench.mint.mint(), "192.0.2.1"))
    assert isinstance(decision, Allow)
    assert gate.authorize(decision.grant, Action.PUBLISH, f"assets/{AID}/status") == decision
    assert refused(gate.authorize(decision.grant, "x", "y")) == "internal"  # type: ignore[arg-type] # as above
    assert bench.witness.decisions[:2] == [decision, decision]
    assert gate.open_session(AID, 1, decision.grant) is None
    assert gate.close_session(AID, 1) is not None


def test_explain_shows_every_check_that_held_and_the_topic(bench: Bench) -> None:
    checks = bench.gate.explain(bench.mint.mint(), f"assets/{AID}/status")
    assert [check.name for check in checks] == [
        name for name, _ in ROWS if name not in {"client id", "user name"}
    ]
    assert all(check.passed for check in checks)
    assert len(bench.verdicts) == 0


def test_explain_names_a_topic_that_is_refused(bench: Bench) -> None:
    *held, topic = bench.gate.explain(bench.mint.mint(), "assets/x/status")
    assert all(check.passed for check in held)
    assert topic.passed is False
    assert topic.detail.startswith("topic_denied")


def test_a_bad_token_never_reaches_the_topic(bench: Bench) -> None:
    assert bench.gate.explain(bench.mint.expired(), f"assets/{AID}/status")[-1].passed is None


def test_no_decision_and_no_explanation_repeats_a_token(bench: Bench) -> None:
    good = bench.mint.mint()
    for token, _ in [*hostile(bench.mint), (good, None)]:
        if token is None or len(token) < 20:
            continue
        decision = bench.connect(token, client_id="x")
        texts = [repr(decision), repr(bench.gate.explain(token)), repr(Connect("a", None, token, "b"))]
        for part in token.decode(errors="replace").split("."):
            assert not any(part in text for text in texts if len(part) >= 20), part[:8]


def test_payload_bytes_of_two_readings_are_refused(bench: Bench) -> None:
    payload = b'{"iss":"https://acme.my.site.com","iss":"https://acme.my.site.com"}'
    assert refused(bench.connect(bench.mint.sign(payload))) == "claims_malformed"
    unsigned = base64url(b"{}") + b"." + base64url(payload) + b".AAAA"
    assert refused(bench.connect(unsigned)) == "alg_not_allowed"
