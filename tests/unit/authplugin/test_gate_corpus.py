"""Every token of the corpus through the whole gate, in one life of it: each refused, each time."""

import json

import pytest

from authplugin.errors import KeySetError
from authplugin.keys.snapshot import take_snapshot
from authplugin.model import Allow, Connect
from tests.support.corpus import ALGORITHMS, RIVAL, ROWS, published_sets
from tests.support.gates import AID, Bench, refused
from tests.support.mints import mint

CONFIG = f"""
[[issuers]]
issuer = "{mint().issuer}"
audiences = ["https://ingest.example.com"]
algorithms = ["RS256", "ES256", "EdDSA"]
assets = {{ prefixes = ["02iAB"] }}

[[issuers]]
issuer = "{RIVAL}"
audiences = ["https://ingest.example.com"]
assets = {{ prefixes = ["02iCD"] }}
"""


FIT = [("RS256", "Assets"), ("ES256", "Curve"), ("EdDSA", "Edwards")]


def publish(bench: Bench, issuer: str, jwks: dict[str, object]) -> None:
    snapshot = take_snapshot(json.dumps(jwks).encode(), ALGORITHMS, fetched=bench.clock.now())
    bench.keys.install(issuer, snapshot, bench.clock.monotonic() + 1e9)


@pytest.fixture(name="bench", scope="module")
def make_bench() -> Bench:
    bench = Bench(CONFIG)
    for issuer, jwks in published_sets().items():
        publish(bench, issuer, jwks)
    return bench


@pytest.mark.parametrize("row", ROWS)
def test_every_token_of_a_row_is_refused_with_its_reason_each_time(bench: Bench, row: str) -> None:
    place = list(ROWS).index(row)
    for number, (what, token, reason) in enumerate(ROWS[row]()):
        for _ in range(2):
            # Each attacker has an address of its own: how many may fail from one is not asked here.
            connect = Connect(AID, None, token, f"2001:db8:{place:x}:{number:x}::1")
            assert refused(bench.gate.authenticate(connect)) == reason, what
    assert not bench.witness.faults
    assert len(bench.verdicts) == 0
    assert len(bench.sessions) == 0


@pytest.mark.parametrize(
    ("algorithm", "kid"), [("RS256", "Assets"), ("ES256", "Curve"), ("EdDSA", "Edwards")]
)
def test_the_good_token_beside_them_is_let_in(algorithm: str, kid: str) -> None:
    bench = Bench(CONFIG)
    for issuer, jwks in published_sets().items():
        publish(bench, issuer, jwks)
    assert isinstance(bench.connect(mint(algorithm, kid).mint()), Allow)


LEAKS: tuple[dict[str, object], ...] = (
    {"kty": "oct", "k": "AAAA", "kid": "secret"},
    {"kty": "oct"},
    {"kty": "RSA", "d": "AQAB"},
    {"kty": "RSA", "p": "AQAB"},
    {"kty": "RSA", "q": "AQAB"},
    {"kty": "RSA", "dp": "AQAB"},
    {"kty": "RSA", "dq": "AQAB"},
    {"kty": "RSA", "qi": "AQAB"},
    {"kty": "RSA", "oth": []},
    {"kty": "EC", "crv": "P-256", "d": "AQAB"},
    {"kty": "OKP", "crv": "Ed25519", "d": "AQAB"},
    {"kty": "unknown", "k": None},
)


@pytest.mark.parametrize("leak", LEAKS, ids=str)
def test_a_set_with_a_secret_beside_good_keys_lets_nobody_in(leak: dict[str, object]) -> None:
    bench = Bench()
    with pytest.raises(KeySetError, match="refused whole"):
        bench.publish(mint(), {"keys": [mint(kid="New").jwk(), leak]})
    assert refused(bench.connect(mint(kid="New").mint())) == "key_unknown"
