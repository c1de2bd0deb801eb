"""Issuers that were not made for assets: their tokens work, and their other tokens do not."""

import pytest

from authplugin.model import Action, Allow, Decision
from tests.support.gates import Bench, refused

CONFIG = """
[[issuers]]
issuer = "https://acme.my.site.com"
audiences = ["https://ingest.example.com"]
id_form = "opaque"
asset_claim = "/machine/asset"
device_claim = "sub"
allowed_claims = ["scp"]
assets = {prefixes = ["pump-"]}

[[issuers.required_claims]]
claim = "typ"
values = ["Bearer"]

[[issuers.attributes]]
name = "site"
claim = "/machine/site"

[topics]
publish = ["{site}/{aid}/telemetry/#"]
subscribe = ["{site}/{aid}/commands"]
"""
MACHINE = {"asset": "pump-7", "site": "north"}


class Mapped(Bench):
    """A gate for tokens as an identity provider writes them."""

    def __init__(self) -> None:
        super().__init__(CONFIG)

    def come(self, **changes: object) -> Decision:
        claims = {
            "aid": None,
            "did": None,
            "sub": "board-1",
            "typ": "Bearer",
            "scp": "mqtt",
            "machine": MACHINE,
        }
        return self.connect(self.mint.mint(**{**claims, **changes}), client_id="pump-7")


def test_a_token_of_another_shape_speaks_for_its_asset() -> None:
    door = Mapped()
    decision = door.come()
    assert isinstance(decision, Allow), decision
    grant = decision.grant
    assert (grant.asset_id, grant.device_id) == ("pump-7", "board-1")
    assert (grant.publish, grant.subscribe) == (("north/pump-7/telemetry/#",), ("north/pump-7/commands",))
    assert isinstance(door.gate.authorize(grant, Action.PUBLISH, "north/pump-7/telemetry/x"), Allow)
    for topic in ("south/pump-7/telemetry/x", "{site}/pump-7/telemetry/x", "north/pump-8/telemetry/x"):
        assert refused(door.gate.authorize(grant, Action.PUBLISH, topic)) == "topic_denied"


def test_grants_of_one_site_share_their_topics() -> None:
    door = Mapped()
    one, two, other = (
        door.come(nbf=int(door.clock.now()) - age, machine={"asset": "pump-7", "site": site})
        for age, site in ((1, "north"), (2, "north"), (3, "south"))
    )
    assert isinstance(one, Allow)
    assert isinstance(two, Allow)
    assert isinstance(other, Allow)
    assert one.grant.digest != two.grant.digest
    assert one.grant.rights is two.grant.rights
    again = door.come(nbf=int(door.clock.now()) - 1, id="05bAB0000000002")
    assert isinstance(again, Allow)
    assert again.grant.terms is one.grant.terms
    assert one.grant.rights is not other.grant.rights


def test_tokens_that_differ_in_their_site_alone_have_topics_of_their_own() -> None:
    door = Mapped()
    granted = {}
    for site in ("north", "south", "north"):
        decision = door.come(machine={"asset": "pump-7", "site": site})
        assert isinstance(decision, Allow)
        granted[site] = decision.grant.publish
    assert granted == {"north": ("north/pump-7/telemetry/#",), "south": ("south/pump-7/telemetry/#",)}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"typ": "ID"}, "not_asset_token"),
        ({"typ": None}, "not_asset_token"),
        ({"at_hash": "x"}, "not_asset_token"),
        ({"nonce": "x"}, "not_asset_token"),
        ({"machine": {"asset": "pump-7"}}, "claims_malformed"),
        ({"machine": {"asset": "pump-7", "site": "a/b"}}, "claims_malformed"),
        ({"machine": {"asset": "pump-7", "site": "#"}}, "claims_malformed"),
        ({"machine": {"asset": 7, "site": "north"}}, "claims_malformed"),
        ({"machine": {"site": "north"}}, "asset_missing"),
        ({"machine": "pump-7"}, "asset_missing"),
        ({"machine": {"asset": "valve-7", "site": "north"}}, "foreign_asset"),
        ({"sub": None}, "device_missing"),
    ],
)
def test_other_tokens_of_that_issuer_come_in_for_nothing(changes: dict[str, object], word: str) -> None:
    assert refused(Mapped().come(**changes)) == word


def test_a_type_of_its_own_tells_tokens_apart_by_their_header() -> None:
    both = CONFIG.replace('[[issuers.required_claims]]\nclaim = "typ"\nvalues = ["Bearer"]\n', "").replace(
        'id_form = "opaque"', 'id_form = "opaque"\ntoken_types = ["asset+jwt"]'
    )
    door = Bench(both)
    claims = door.mint.claims(aid=None, did=None, sub="board-1", machine=MACHINE)
    for typ, word in (
        ("asset+jwt", None),
        ("JWT", "header_not_allowed"),
        (None, "header_not_allowed"),
        (7, "header_not_allowed"),
    ):
        token = door.mint.sign(claims, header=door.mint.header({"typ": typ}))
        decision = door.connect(token, client_id="pump-7")
        assert (None if isinstance(decision, Allow) else refused(decision)) == word


def test_a_type_of_one_issuer_is_none_of_anothers() -> None:
    door = Bench(
        """
        [[issuers]]
        issuer = "https://acme.my.site.com"
        audiences = ["https://ingest.example.com"]
        assets = {prefixes = ["02i"]}
        [[issuers]]
        issuer = "https://other.example.com"
        audiences = ["https://ingest.example.com"]
        assets = {prefixes = ["03i"]}
        token_types = ["asset+jwt"]
        """
    )
    token = door.mint.sign(door.mint.claims(), header=door.mint.header({"typ": "asset+jwt"}))
    assert refused(door.connect(token)) == "header_not_allowed"
    assert isinstance(door.connect(door.mint.mint()), Allow)
