"""Every token of the corpus against the pure line of checks: each refused, each for its own reason."""

from collections.abc import Mapping
from functools import cache

import pytest

from authplugin.errors import Reason, Refused
from authplugin.jose import verify_jws
from authplugin.jose.jwk import admit_set
from authplugin.jose.key import VerifyingKey
from authplugin.testing.mint import base64url
from tests.support.corpus import ALGORITHMS, NOW, ROWS, encoded_message, parts, published_sets, rsa_key
from tests.support.judge import judge
from tests.support.mints import mint

CASES = [
    pytest.param(token, reason, id=f"{name}: {what}")
    for name, make in ROWS.items()
    for what, token, reason in make()
]
FIT = [("RS256", "Assets"), ("ES256", "Curve"), ("EdDSA", "Edwards")]
#: Refused by what they say, not by how they are signed: `verify_jws` looks at no claims.
CLAIMS = {
    Reason.CLAIMS_MALFORMED,
    Reason.ISSUER_UNKNOWN,
    Reason.EXP_MISSING,
    Reason.EXPIRED,
    Reason.NOT_YET_VALID,
    Reason.AUDIENCE_MISMATCH,
    Reason.ASSET_MISSING,
    Reason.ASSET_UNSAFE,
    Reason.DEVICE_MISSING,
}


@cache
def admitted() -> dict[str, Mapping[str, VerifyingKey]]:
    return {issuer: admit_set(jwks, ALGORITHMS).keys for issuer, jwks in published_sets().items()}


@pytest.mark.parametrize(("token", "reason"), CASES)
def test_hostile_token_is_refused_with_its_reason(token: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        judge(token, now=NOW, algorithms=ALGORITHMS, keys=admitted())
    assert refused.value.reason is reason
    assert token.decode("latin-1") not in str(refused.value) or len(token) < 3


def test_what_is_wrong_without_any_claim_is_refused_by_the_bare_signature_check_too() -> None:
    jwks = published_sets()[mint().issuer]
    refused = 0
    for row, make in ROWS.items():
        if row in {"other_tenants", "tokens_of_another_kind"}:
            continue
        for what, token, reason in make():
            if reason not in CLAIMS:
                with pytest.raises(Refused) as refusal:
                    verify_jws(token, jwks, algorithms=ALGORITHMS)
                assert refusal.value.reason is reason, (row, what)
                refused += 1
    assert refused >= 250


def test_every_row_has_eight_tokens_or_more_and_all_rows_three_hundred() -> None:
    sizes = {name: sum(1 for _ in make()) for name, make in ROWS.items()}
    assert min(sizes.values()) >= 8, sizes
    assert sum(sizes.values()) >= 300, sizes
    assert len(sizes) >= 17, sizes


@pytest.mark.parametrize(
    ("algorithm", "kid"), [("RS256", "Assets"), ("ES256", "Curve"), ("EdDSA", "Edwards")]
)
def test_the_good_token_beside_them_is_accepted(algorithm: str, kid: str) -> None:
    good = mint(algorithm, kid)
    claims = judge(good.mint(), now=NOW, algorithms=ALGORITHMS, keys=admitted())
    assert claims.aid == "02iAB00000CdEfG"


def test_the_padded_hash_that_the_forgeries_change_is_the_right_one() -> None:
    good = mint()
    numbers = rsa_key(good).private_numbers()
    head, payload, _ = parts(good.mint())
    message = int.from_bytes(encoded_message(head + b"." + payload), "big")
    signature = pow(message, numbers.d, numbers.public_numbers.n).to_bytes(256, "big")
    assert judge(head + b"." + payload + b"." + base64url(signature), good, now=NOW).iss == good.issuer
