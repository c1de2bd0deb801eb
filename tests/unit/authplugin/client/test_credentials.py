import base64
import json
import subprocess
import sys

import pytest

from authplugin.client import Credentials, IdForm, Login, Topics, Will, read_credentials
from tests.support.mints import mint

TOKEN = mint().mint().decode()
ASSET, DEVICE = "02iAB00000CdEfGYAV", "0a1b2c3d-0000-4000-8000-000000000001"


def token_of(**claims: object) -> str:
    return mint().mint(**claims).decode()


def test_a_token_says_who_its_holder_is_and_until_when() -> None:
    found = read_credentials(TOKEN)
    payload = json.loads(base64.urlsafe_b64decode(TOKEN.split(".")[1] + "=="))
    assert found == Credentials(
        ASSET,
        DEVICE,
        mint().issuer,
        payload["nbf"],
        payload["exp"],
        bound=True,
        shows_key=False,
        token=TOKEN,
    )
    assert not read_credentials(token_of(cnf=None)).bound
    assert read_credentials(token_of(cnf={"jkt": "x"})).shows_key


def test_ids_of_another_form_and_claims_of_another_name_are_read_as_told() -> None:
    token = token_of(aid=None, did=None, asset="press-7", device="d-1")
    found = read_credentials(token, IdForm.OPAQUE, asset_claim="asset", device_claim="device")
    assert (found.asset_id, found.device_id) == ("press-7", "d-1")


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("a.b", "2 parts"),
        ("a.!!!!.c", "not base64url of JSON"),
        ("a.WzFd.c", "no object"),
        (token_of(aid=None), "no aid"),
        (token_of(aid="press-7"), "aid is not a record id"),
        (token_of(did=None), "no did"),
        (token_of(did="a\nb"), "printable"),
        (token_of(exp=None), "exp is no time"),
        (token_of(exp=True), "exp is no time"),
        (token_of(iss=7), "no iss"),
    ],
)
def test_what_is_no_asset_token_is_named_without_being_shown(token: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        read_credentials(token)
    assert token not in str(refused.value)


def test_the_login_is_made_of_the_asset_id_and_the_token() -> None:
    login = Login.of(read_credentials(TOKEN))
    assert (login.client_id, login.username, login.password) == (ASSET, ASSET, TOKEN)
    assert login.will == Will(f"assets/{ASSET}/status", b"offline", qos=1, retain=True)
    assert Login.of(read_credentials(TOKEN), "main").client_id == f"{ASSET}:main"
    assert TOKEN not in repr(login) + repr(read_credentials(TOKEN))


@pytest.mark.parametrize("suffix", ["", "a\0b", "a\nb", "x" * 70_000])
def test_a_suffix_that_makes_no_client_id_is_refused(suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        Login.of(read_credentials(TOKEN), suffix)


def test_topics_are_those_that_the_gate_allows() -> None:
    topics = Topics(ASSET)
    assert topics.telemetry() == f"assets/{ASSET}/telemetry"
    assert topics.telemetry("temperature") == f"assets/{ASSET}/telemetry/temperature"
    assert topics.event("supply_low") == f"assets/{ASSET}/events/supply_low"
    assert topics.commands == f"assets/{ASSET}/commands/#"
    for level in ("", "a/b", "+", "#", "a\0"):
        with pytest.raises(ValueError, match="one level"):
            topics.event(level)


def test_the_client_loads_nothing_beyond_cryptography() -> None:
    script = (
        "import sys; before = set(sys.modules); import authplugin.client; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}"
        " - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"authplugin", "cryptography", "_cffi_backend", "_openssl"}
