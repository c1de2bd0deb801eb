import hashlib

import pytest

from authplugin.errors import Reason
from authplugin.explanation import Check
from authplugin.jose.compact import split
from authplugin.jose.identity import IdForm
from authplugin.jose.respelling import respell
from authplugin.model import Allow, Deny
from authplugin.provisioned import parse_provisioned
from authplugin.revocation import NONE, Revocations, parse_revocations
from tests.support.gates import AID, CONFIG, DID, SHORT, Bench, refused
from tests.support.mints import mint

ISSUER = "https://acme.my.site.com"
PROVISIONED = CONFIG.replace(
    "[[service_accounts]]", 'require_provisioned = true\nprovisioned_file = "ids"\n[[service_accounts]]'
)


def revocations(*lines: str) -> Revocations:
    return parse_revocations("\n".join(lines).encode(), "revocations")


ASSET = revocations(f'{{"asset":"{SHORT}"}}')
OTHER = revocations('{"asset":"02iAB00000XdEfG"}')


ES256 = CONFIG.replace("[[service_accounts]]", 'algorithms = ["ES256"]\n[[service_accounts]]')


def failed(checks: list[Check]) -> Check:
    (check,) = [check for check in checks if check.passed is False]
    return check


def test_a_token_known_to_be_good_is_refused_once_it_is_revoked() -> None:
    bench = Bench()
    token = bench.mint.mint()
    assert isinstance(bench.connect(token), Allow)
    bench.gate.revoke(ASSET)
    decision = bench.connect(token)
    assert refused(decision) == "revoked"
    assert isinstance(decision, Deny)
    assert decision.grant is not None
    assert decision.grant.device_id == DID
    bench.gate.revoke(NONE)
    assert isinstance(bench.connect(token), Allow)


def test_a_revoked_token_costs_one_signature_and_no_more() -> None:
    bench = Bench()
    token = bench.mint.mint()
    bench.gate.revoke(ASSET)
    bench.publish(bench.mint, hard=10)
    assert refused(bench.connect(token)) == "revoked"
    bench.clock.advance(11)  # nothing can be verified any more
    assert refused(bench.connect(token)) == "revoked"
    bench.gate.revoke(OTHER)
    assert isinstance(bench.connect(token), Allow)


def test_a_revocation_makes_nobody_else_verify_again() -> None:
    bench = Bench()
    bench.publish(bench.mint, hard=10)
    token = bench.mint.mint()
    assert isinstance(bench.connect(token), Allow)
    bench.clock.advance(11)
    bench.gate.revoke(OTHER)
    assert isinstance(bench.connect(token), Allow)
    hits = bench.verdicts.hits
    assert isinstance(bench.connect(token), Allow)
    assert bench.verdicts.hits == hits + 1  # found at once again


def test_new_keys_make_everybody_verify_again_whatever_was_revoked_since() -> None:
    bench = Bench()
    token = bench.mint.mint()
    assert isinstance(bench.connect(token), Allow)
    bench.publish(bench.mint, {"keys": [bench.mint.jwk() | {"kid": "Next"}]})
    bench.gate.revoke(OTHER)
    assert refused(bench.connect(token)) == "key_unknown"


def test_a_revoked_live_session_goes_at_the_next_turn_and_nobody_elses() -> None:
    bench = Bench()
    bench.gate.open_session(AID, 1, bench.grant())
    other = bench.connect(bench.mint.mint(aid="02iAB00000XdEfG"), client_id="02iAB00000XdEfG")
    assert isinstance(other, Allow)
    bench.gate.open_session("02iAB00000XdEfG", 2, other.grant)
    assert bench.gate.revoke(ASSET) == 1
    assert [(kick.session.client_id, kick.reason) for kick in bench.gate.due()] == [(AID, "revoked")]
    bench.gate.close_session(AID, 1)
    assert [(session.client_id, reason) for session, reason in bench.witness.ended] == [(AID, "revoked")]


@pytest.mark.parametrize("length", [64, 16])
def test_a_revoked_es256_token_is_revoked_in_both_spellings_of_its_signature(length: int) -> None:
    bench = Bench(ES256, mints=(mint("ES256"),))
    tokens = [bench.mint.mint()]
    tokens.append(respell(split(tokens[0])))
    for token in tokens:
        decision = bench.connect(token)
        assert isinstance(decision, Allow)
        bench.gate.open_session(AID, 1, decision.grant)
        for named in tokens:
            digest = hashlib.sha256(named).hexdigest()[:length]
            assert bench.gate.revoke(revocations(f'{{"token":"{digest}"}}')) == 1
            assert [refused(bench.connect(one)) for one in tokens] == ["revoked", "revoked"]
            bench.verdicts.clear()
            assert [refused(bench.connect(one)) for one in tokens] == ["revoked", "revoked"]
            bench.gate.revoke(NONE)
        bench.gate.close_session(AID, 1)
    bench.gate.revoke(revocations(f'{{"token":"{hashlib.sha256(b"other").hexdigest()}"}}'))
    assert isinstance(bench.connect(tokens[1]), Allow)


def test_tokens_with_one_spelling_carry_nothing_for_another() -> None:
    assert Bench().grant().terms.respelled == b""


def test_a_broker_that_asks_again_hears_that_a_session_is_revoked() -> None:
    bench = Bench()
    token = bench.mint.mint()
    bench.gate.open_session(AID, 1, bench.grant())
    bench.connect(token)
    bench.gate.open_session(AID, 1, bench.grant())
    bench.verdicts.clear()
    bench.gate.revoke(ASSET)
    assert refused(bench.connect(token)) == "revoked"


def test_a_session_is_recalled_after_a_revocation_of_another_though_keys_are_gone() -> None:
    bench = Bench()
    bench.publish(bench.mint, hard=10)
    token = bench.mint.mint()
    assert isinstance(bench.connect(token), Allow)
    bench.gate.open_session(AID, 1, bench.grant())
    bench.verdicts.clear()
    bench.clock.advance(11)
    bench.gate.revoke(OTHER)
    assert isinstance(bench.connect(token), Allow)


def test_explain_says_what_is_revoked() -> None:
    bench = Bench()
    token = bench.mint.mint()
    digest = bench.grant().token_digest
    bench.gate.revoke(revocations(f'{{"token":"{digest}"}}'))
    assert failed(bench.gate.explain(token)).detail == "revoked: the token is revoked"
    bench.gate.revoke(NONE)
    bench.gate.quarantine(AID)
    assert failed(bench.gate.explain(token)).detail.startswith("quarantined")


def test_only_provisioned_assets_come_in_where_the_issuer_says_so() -> None:
    bench = Bench(PROVISIONED)
    token = bench.mint.mint()
    decision = bench.connect(token)
    assert refused(decision) == "asset_unknown"
    bench.gate.provision(ISSUER, parse_provisioned(b"02iAB00000XdEfG\n", "ids", IdForm.SALESFORCE))
    assert refused(bench.connect(token)) == "asset_unknown"
    bench.gate.provision(ISSUER, parse_provisioned(SHORT.encode(), "ids", IdForm.SALESFORCE))
    assert isinstance(bench.connect(token), Allow)
    bench.gate.provision(ISSUER, parse_provisioned(b"", "ids", IdForm.SALESFORCE))
    assert refused(bench.connect(token)) == "asset_unknown"


def test_the_list_of_another_issuer_lets_nobody_in() -> None:
    bench = Bench(PROVISIONED)
    bench.gate.provision("https://b.example.com", parse_provisioned(SHORT.encode(), "f", IdForm.SALESFORCE))
    assert refused(bench.connect(bench.mint.mint())) == "asset_unknown"


def test_work_from_other_threads_is_done_at_the_doors_turn_in_order() -> None:
    bench = Bench()
    done: list[int] = []

    def fail() -> None:
        raise LookupError

    for work in (lambda: done.append(1), fail, lambda: done.append(2)):
        bench.gate.post(work)
    assert done == []
    assert bench.gate.due() == []
    assert done == [1, 2]
    assert [type(error) for error in bench.witness.faults] == [LookupError]


def test_a_session_that_another_connection_took_over_ends_without_reason() -> None:
    bench = Bench()
    grant = bench.grant()
    bench.gate.open_session(AID, 1, grant)
    taken = bench.gate.open_session(AID, 2, grant)
    assert taken is not None
    assert taken.connection == 1
    assert bench.gate.close_session(AID, 1) is None
    assert [(session.connection, reason) for session, reason in bench.witness.ended] == [(1, None)]
    assert [session.connection for session in bench.witness.opened] == [1, 2]


def test_a_session_about_to_expire_is_told() -> None:
    bench = Bench(warning=60.0)
    bench.gate.open_session(AID, 1, bench.grant())
    bench.clock.advance(518_400)
    assert bench.gate.due() == []
    assert [session.client_id for session in bench.witness.expiring] == [AID]
    bench.clock.advance(60)
    assert [kick.reason for kick in bench.gate.due()] == [Reason.EXPIRED]
