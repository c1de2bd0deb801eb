"""Explanations on the command line: what files say, what else a client sends, and JSON."""

import hashlib
import json
from pathlib import Path

import pytest

from authplugin.cli import main
from authplugin.testing import TokenMint
from tests.support.bearers import Bearer
from tests.support.gates import AID, CONFIG
from tests.support.mints import mint

FILE_CONFIG = CONFIG.replace("[[service", 'jwks_file = "keys.json"\n{}[[service')
POSSESSION = '[issuers.possession]\nmode = "required"\n'
PROVISIONED = 'require_provisioned = true\nprovisioned_file = "assets"\n'


class Desk:
    """A directory with a configuration, a key set and a token of now."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self.capsys = capsys
        self.bearer = Bearer()
        live = TokenMint(key=mint().key, device_key=self.bearer.key)
        self.token = live.mint()
        self.put("keys.json", json.dumps(live.jwks()).encode())
        self.put("token", self.token)
        self.put("certificate", self.bearer.certificate)
        self.put("other", Bearer(name="other").certificate)
        self.configure("")

    def put(self, name: str, content: bytes) -> None:
        (self.place / name).write_bytes(content)

    def configure(self, more: str, end: str = "") -> None:
        self.put("gate.toml", (FILE_CONFIG.format(more) + end).encode())

    def explain(self, *arguments: str) -> tuple[int, dict[str, object]]:
        config, token = str(self.place / "gate.toml"), str(self.place / "token")
        code = main(["explain", "--config", config, "--token", token, "--json", *arguments])
        text = self.capsys.readouterr().out
        assert not any(part in text for part in self.token.decode().split("."))
        return code, json.loads(text)


@pytest.fixture(name="desk")
def lay_desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def rows(told: dict[str, object]) -> dict[str, tuple[object, object]]:
    checks = told["checks"]
    assert isinstance(checks, list)
    return {check["name"]: (check["passed"], check["detail"]) for check in checks}


def test_a_good_token_is_told_as_json(desk: Desk) -> None:
    code, told = desk.explain("--client-id", AID, "--username", "", "--topic", f"assets/{AID}/status")
    assert code == 0
    assert (told["allowed"], told["reason"], told["remedy"], told["keySetErrors"]) == (True, None, None, {})
    assert all(passed for passed, _ in rows(told).values())
    assert rows(told)["quarantine"] == (True, "only the running gate knows")
    assert list(rows(told))[-4:] == ["client id", "user name", "possession", "topic"]


def test_a_revoked_token_and_an_asset_that_does_not_exist_are_found_in_the_files(desk: Desk) -> None:
    desk.configure(PROVISIONED, '[revocation]\nfile = "revoked"\n')
    desk.put("assets", AID.encode() + b"\n")
    desk.put("revoked", b"# none\n")
    assert rows(desk.explain()[1])["provisioned"] == (True, "listed")
    desk.put("assets", b"02iAB00000CdEfH\n")
    code, told = desk.explain()
    assert (code, told["allowed"], told["reason"]) == (1, False, "asset_unknown")
    assert str(told["remedy"]).startswith("Add it")
    desk.put("revoked", json.dumps({"token": hashlib.sha256(desk.token).hexdigest()}).encode() + b"\n")
    assert rows(desk.explain()[1])["revocation"][0] is False


@pytest.mark.parametrize("more", ["", POSSESSION])
def test_a_file_that_is_no_certificate_is_refused_whatever_the_policy_asks_for(
    desk: Desk, more: str, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.configure(more)
    junk = desk.place / "token"
    arguments = ("--config", str(desk.place / "gate.toml"), "--token", str(junk))
    assert main(["explain", *arguments, "--certificate", str(junk)]) == 1
    assert f"{junk}: found no certificate, expected X.509, PEM or DER" in capsys.readouterr().err


def test_a_certificate_is_judged_as_the_policy_says(desk: Desk) -> None:
    desk.configure(POSSESSION)
    assert rows(desk.explain()[1])["possession"] == (True, "required; a client can show it")
    right = desk.explain("--certificate", str(desk.place / "certificate"))
    assert (right[0], rows(right[1])["possession"]) == (0, (True, "required; shown: certificate"))
    code, told = desk.explain("--certificate", str(desk.place / "other"))
    assert (code, told["reason"]) == (1, "possession_failed")


def test_a_client_id_of_another_is_refused(desk: Desk) -> None:
    code, told = desk.explain("--client-id", "02iAB00000CdEfH")
    assert (code, told["reason"]) == (1, "client_id_mismatch")


def test_a_key_set_that_cannot_be_read_is_named(desk: Desk) -> None:
    (desk.place / "keys.json").unlink()
    code, told = desk.explain()
    assert (code, told["reason"]) == (1, "keys_stale")
    assert "No such file" in str(told["keySetErrors"])
