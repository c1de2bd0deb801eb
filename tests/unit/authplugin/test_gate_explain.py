"""A judgement told row by row: what the gate does beyond the token, and who refuses it."""

import pytest

from authplugin.explanation import Check
from tests.support.bearers import Bearer
from tests.support.gates import AID, CONFIG, DID, Bench

REQUIRED = CONFIG.replace("[[service", '[issuers.possession]\nmode = "required"\n[[service')
ATTRIBUTES = """
[[issuers]]
issuer = "https://acme.my.site.com"
audiences = ["https://ingest.example.com"]
attributes = [{name = "site", claim = "site"}]
required_claims = [{claim = "kind", values = ["asset"]}]
[topics]
publish = ["assets/{aid}/{site}"]
"""


def rows(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_every_check_beyond_the_token_has_its_row() -> None:
    bench, bearer = Bench(REQUIRED), Bearer()
    token = bench.mint.mint(cnf={"jwk": bearer.jwk})
    told = rows(
        bench.gate.explain(
            token, f"assets/{AID}/status", client_id=f"{AID}:1", username=DID, certificate=bearer.certificate
        )
    )
    assert all(check.passed for check in told.values())
    details = {name: check.detail for name, check in told.items()}
    assert details["binding"] == "to a key"
    assert details["revocation"] == "not revoked"
    assert details["provisioned"] == "not asked for"
    assert (details["client id"], details["user name"]) == (f"{AID}:1", DID)
    assert details["possession"] == "required; shown: certificate"
    assert list(told)[-4:] == ["client id", "user name", "possession", "topic"]


def test_without_a_certificate_the_policy_is_told() -> None:
    bound = Bench().mint.mint()
    assert rows(Bench().gate.explain(bound))["possession"].detail == "off; a client can show it"
    assert rows(Bench(REQUIRED).gate.explain(bound))["possession"].detail == "required; a client can show it"
    unbound = Bench().mint.mint(cnf=None)
    assert rows(Bench().gate.explain(unbound))["possession"].detail == "off; shown: none"
    assert rows(Bench(REQUIRED).gate.explain(unbound))["possession"].passed is False


@pytest.mark.parametrize(
    ("asked", "row", "word"),
    [
        ({"client_id": "02iAB00000CdEfH"}, "client id", "client_id_mismatch"),
        ({"client_id": AID, "username": "someone"}, "user name", "username_mismatch"),
        ({"username": "bridge"}, "user name", "username_mismatch"),
        ({"certificate": b"none"}, "possession", "possession_failed"),
    ],
)
def test_what_a_client_says_wrongly_is_refused_in_its_row(
    asked: dict[str, object], row: str, word: str
) -> None:
    bench = Bench(REQUIRED)
    told = rows(bench.gate.explain(bench.mint.mint(), "x", **asked))  # type: ignore[arg-type] # a table
    assert told[row].passed is False
    assert told[row].detail.startswith(word)
    assert told["topic"].passed is None
    assert [name for name, check in told.items() if check.passed is False] == [row]


def test_attributes_and_demands_have_their_rows() -> None:
    bench = Bench(ATTRIBUTES)
    told = rows(bench.gate.explain(bench.mint.mint(kind="asset", site="north"), f"assets/{AID}/north"))
    assert told["attributes"].detail == "site = north"
    assert all(check.passed for check in told.values())
    for claims, row in (
        ({"site": "north"}, "token type"),
        ({"kind": "asset"}, "attributes"),
        ({"kind": "asset", "site": "a/b"}, "attributes"),
        ({"kind": "asset", "site": "north", "cnf": {}}, "binding"),
        ({"kind": "asset", "site": "north", "did": "a\nb"}, "identity"),
        ({"kind": "asset", "site": "north", "aid": "a/b"}, "asset"),
    ):
        told = rows(bench.gate.explain(bench.mint.mint(**claims)))
        assert [name for name, check in told.items() if check.passed is False] == [row]
