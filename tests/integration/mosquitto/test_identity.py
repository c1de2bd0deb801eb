"""Two issuers at one broker: a genuine token takes over nothing that is not its own."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from authplugin.testing import TokenMint
from tests.support.mqtt import Client

from .conftest import ASSET, AUDIENCE, OTHER, OTHER_SHORT, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
RIVAL = "https://rival.my.site.com"
RIVALS_ASSET = "02iCD00000CdEfG"


@pytest.fixture(scope="module")
def rival() -> TokenMint:
    return TokenMint(RIVAL, AUDIENCE)


@pytest.fixture(scope="module")
def shared(gate_of: Gates, rival: TokenMint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """A gate of two issuers; device ids of the first may be client ids."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "rival.json").write_text(json.dumps(rival.jwks()))
    mine = 'assets = { prefixes = ["02iAB"] }\ndid_as_client_id = true'
    theirs = f"""
[[issuers]]
issuer = "{RIVAL}"
audiences = ["{AUDIENCE}"]
jwks_file = "rival.json"
assets = {{ prefixes = ["02iCD"] }}
"""
    with gate_of(folder, issuer=mine, extra=theirs) as gated:
        yield gated


def attempt(client_id: str, username: str | None, token: bytes) -> Callable[[Client], int]:
    return lambda client: client.connect(client_id, username, token)


@pytest.mark.parametrize("did", [OTHER, OTHER_SHORT, f"{OTHER}:press", f"{OTHER_SHORT}:press"])
def test_a_device_called_like_another_asset_takes_over_nothing(shared: Gated, did: str) -> None:
    with shared.device(OTHER_SHORT, suffix=":press") as victim:
        assert victim.subscribe(f"assets/{OTHER}/commands/#") == [1]
        token = shared.token(SHORT, did=did)
        for client_id in (did, OTHER, OTHER_SHORT, f"{OTHER}:press", f"{OTHER_SHORT}:press"):
            assert shared.refusal(attempt(client_id, "", token)) == "client_id_mismatch"
        # Its own device id is a user name it may have: it opens its own asset all the same.
        with shared.client() as client:
            assert client.connect(f"{SHORT}:thief", did, token) == 0
            assert client.subscribe(f"assets/{OTHER}/commands/#", f"assets/{ASSET}/commands/#") == [0x87, 1]
            assert client.publish(f"assets/{OTHER}/telemetry/t", b"x", qos=1) == 0x87
        victim.ping()


@pytest.mark.parametrize("aid", [SHORT, ASSET, OTHER_SHORT])
def test_another_issuers_token_for_an_asset_is_refused_under_every_name(
    shared: Gated, rival: TokenMint, aid: str
) -> None:
    with shared.device(suffix=":press") as victim:
        token = rival.mint(aid=aid, did=f"{SHORT}:press")
        for client_id, username in ((aid, None), (f"{SHORT}:press", ""), (f"{ASSET}:press", aid)):
            assert shared.refusal(attempt(client_id, username, token)) == "foreign_asset"
        posing = rival.sign(rival.claims(iss=shared.mint.issuer, aid=aid))
        assert shared.refusal(attempt(aid, "", posing)) == "signature_invalid"
        victim.ping()


def test_another_issuers_own_device_reaches_nothing_of_the_first_ones_assets(
    shared: Gated, rival: TokenMint
) -> None:
    with shared.device() as victim, shared.client() as stranger:
        assert stranger.connect(RIVALS_ASSET, "", rival.mint(aid=RIVALS_ASSET, did=ASSET)) == 0
        asked = (
            f"assets/{ASSET}/commands/#",
            "assets/+/commands/#",
            f"$share/g/assets/{ASSET}/commands/#",
            "#",
        )
        assert stranger.subscribe(*asked) == [0x87] * 4
        assert stranger.publish(f"assets/{ASSET}/telemetry/t", b"x", qos=1) == 0x87
        victim.ping()
