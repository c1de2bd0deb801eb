"""A genuine token opens its own asset and nothing else, whatever its device id or its issuer says."""

import itertools

import pytest

from authplugin.model import Action, Allow, Connect, Decision
from authplugin.testing import TokenMint
from tests.support.gates import AID, SHORT, Bench, refused
from tests.support.mints import mint

VICTIM = "02iAB00000XdEfGaAV"
RIVAL = "https://rival.my.site.com"
AUDIENCE = "https://ingest.example.com"
NAMES = (
    SHORT,
    AID,
    f"{AID}:1",
    "02iAB00000XdEfG",
    "02iAB00000XdEfG:1",
    "pump-7",
    "pump-7:1",
    "bridge",
    "02iab00000xdefg",
)


def config(mine: str, theirs: str) -> str:
    """Two issuers; the first speaks for the victim's asset, the second for assets of its own."""
    return f"""
[[issuers]]
issuer = "{mint().issuer}"
audiences = ["{AUDIENCE}"]
{mine}

[[issuers]]
issuer = "{RIVAL}"
audiences = ["{AUDIENCE}"]
{theirs}

[[service_accounts]]
name = "bridge"
publish = ["assetgate/heartbeat"]
subscribe = ["assets/#"]
"""


POLICIES = {
    "two of Salesforce": config('assets = { prefixes = ["02iAB"] }', 'assets = { prefixes = ["02iCD"] }'),
    "device ids as client ids": config(
        'assets = { prefixes = ["02iAB"] }\ndid_as_client_id = true',
        'assets = { prefixes = ["02iCD"] }',
    ),
    "an opaque one beside": config(
        'assets = { prefixes = ["02iAB"] }\ndid_as_client_id = true',
        'assets = { prefixes = ["pump-"] }\nid_form = "opaque"',
    ),
}


def rival() -> TokenMint:
    return mint(issuer=RIVAL)


def gate(policy: str) -> Bench:
    return Bench(POLICIES[policy], mints=(mint(), rival()))


def connect(bench: Bench, token: bytes, client_id: str, username: str | None = None) -> Decision:
    """From an address of its own: how many refusals one address may earn is not asked here."""
    number = len(bench.witness.decisions)
    return bench.gate.authenticate(Connect(client_id, username, token, f"2001:db8:{number:x}::1"))


@pytest.mark.parametrize("policy", POLICIES)
def test_no_device_id_lets_a_token_in_under_anothers_client_id_or_user_name(policy: str) -> None:
    bench = gate(policy)
    mine = {SHORT, AID, f"{AID}:1"}
    let_in = 0
    for did in NAMES:
        token = bench.mint.mint(did=did)
        for client_id, username in itertools.product(NAMES, (None, *NAMES)):
            decision = connect(bench, token, client_id, username)
            if not isinstance(decision, Allow):
                assert refused(decision) in {"client_id_mismatch", "username_mismatch"}
                continue
            let_in += 1
            grant = decision.grant
            assert grant.asset_id == AID
            assert all(f"/{AID}/" in text for text in (*grant.publish, *grant.subscribe))
            assert username in {None, SHORT, AID, did}
            assert username != "bridge"
            # A device id may be a client id where the issuer vouches for it, but never one that any
            # issuer's asset could have.
            assert client_id in mine or (client_id == did and policy != "two of Salesforce")
            assert client_id in mine or client_id in {VICTIM[:15].lower(), "pump-7", "pump-7:1"}
            if policy == "an opaque one beside":
                assert not client_id.startswith("pump-")
    assert let_in > 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("aid", [SHORT, AID, VICTIM[:15]])
@pytest.mark.parametrize("did", ["device", AID, SHORT, "bridge"])
def test_a_token_of_another_issuer_that_names_an_asset_gets_nothing(policy: str, aid: str, did: str) -> None:
    bench = gate(policy)
    token = rival().mint(aid=aid, did=did)
    for client_id, username in itertools.product((aid, AID, SHORT, did), (None, aid, did)):
        word = refused(connect(bench, token, client_id, username))
        assert word == ("username_mismatch" if username == "bridge" else "foreign_asset")
    stolen = rival().sign(rival().claims(iss=mint().issuer, aid=aid))
    assert refused(connect(bench, stolen, aid)) == "signature_invalid"
    assert refused(connect(bench, mint().sign(mint().claims(iss=RIVAL, aid=aid)), aid)) == "signature_invalid"
    assert len(bench.sessions) == 0
    assert len(bench.verdicts) == 0


def test_the_other_issuers_own_asset_is_let_in_and_reaches_nothing_of_the_first() -> None:
    bench = gate("an opaque one beside")
    decision = connect(bench, rival().mint(aid="pump-7"), "pump-7")
    assert isinstance(decision, Allow)
    for asset in (AID, SHORT, "+", "#"):
        for action in Action:
            answer = bench.gate.authorize(decision.grant, action, f"assets/{asset}/telemetry/t")
            assert refused(answer) == "topic_denied"


def test_a_victims_session_stands_through_every_attempt() -> None:
    bench = gate("device ids as client ids")
    decision = connect(bench, bench.mint.mint(), AID)
    assert isinstance(decision, Allow)
    bench.gate.open_session(AID, 1, decision.grant)
    before = bench.sessions.find(AID)
    for token in (
        bench.mint.mint(aid=VICTIM[:15], did=AID),
        bench.mint.mint(aid=VICTIM[:15], did=SHORT),
        rival().mint(did=AID),
        rival().mint(aid="02iCD00000CdEfG", did=AID),
    ):
        for client_id in (AID, SHORT):
            assert refused(connect(bench, token, client_id)) in {"client_id_mismatch", "foreign_asset"}
    assert bench.sessions.find(AID) is before
    assert bench.gate.due() == []
