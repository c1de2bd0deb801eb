"""What is held for each issuer: of the running gate, or by one fetch, and which of the two."""

import json
from pathlib import Path

import pytest

from authplugin.admin import AdminListener
from authplugin.administration import Administration
from authplugin.cli import main
from authplugin.clock import SystemClock
from authplugin.clones import Clones
from authplugin.testing import Behaviour, KeyServer
from tests.support.gates import Bench
from tests.support.mints import mint


def write(path: Path, server: KeyServer, more: str = "") -> str:
    path.write_text(f'[[issuers]]\nissuer = "{server.issuer}"\naudiences = ["a"]\n{more}')
    return str(path)


def weak(jwks: dict[str, object]) -> dict[str, object]:
    keys = jwks["keys"]
    assert isinstance(keys, list)
    return {"keys": [*keys, {"kty": "RSA", "n": "_" * 170 + "w", "e": "AQAB", "kid": "old"}, {"kty": "RSA"}]}


def test_one_fetch_shows_keys_and_why_any_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with KeyServer(weak(mint().jwks())) as server:
        config = write(tmp_path / "gate.toml", server, f'[keys]\nlast_good_dir = "{tmp_path}"\n')
        assert main(["keys", "--config", config]) == 0
        text = capsys.readouterr().out
        assert "what one fetch brought, just now" in text
        assert f"{server.issuer}  usable, vouched for 0 s ago" in text
        assert "  Assets  RS256  2048 bits  " in text
        assert "left out: key 1, old: modulus_size: it has an n of 1024 bits" in text
        assert "left out: key 2, without a usable kid: kid_invalid" in text
        assert main(["keys", "--config", config, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["source"] == "fetch"
        assert [key["kid"] for key in told["issuers"][0]["keys"]] == ["Assets"]
        assert told["issuers"][0]["keys"][0]["bits"] == 2048
        assert [out["why"] for out in told["issuers"][0]["leftOut"]] == ["modulus_size", "kid_invalid"]
    assert not list(tmp_path.glob("*.jwks.json"))


def test_an_issuer_without_keys_is_named_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with KeyServer(mint().jwks(), behaviour=Behaviour.REDIRECT) as server:
        assert main(["keys", "--config", write(tmp_path / "gate.toml", server)]) == 1
        text = capsys.readouterr().out
    assert "NOT usable, no key set" in text
    assert "last attempt failed: 127.0.0.1: answered 302; redirects are not followed" in text


def test_keys_found_by_discovery_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with KeyServer(mint().jwks()) as server:
        server.paths["/d"] = json.dumps({"issuer": server.issuer, "jwks_uri": server.url}).encode()
        config = write(tmp_path / "gate.toml", server, f'openid_configuration = "{server.issuer}/d"\n')
        assert main(["keys", "--config", config]) == 0
    assert "Assets" in capsys.readouterr().out


def test_a_running_gate_is_asked_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench, clock = Bench(), SystemClock()
    administration = Administration(
        bench.gate,
        sessions=bench.sessions,
        keys=bench.keys,
        clones=Clones(clock=clock),
        step=lambda: None,
        in_force=lambda: True,
        revocations=lambda: None,
        clock=clock,
    )
    listener = AdminListener(administration.answer, clock=clock, secret=None)
    place = tmp_path / "admin.sock"
    with KeyServer(mint().jwks()) as server:
        config = write(tmp_path / "gate.toml", server, f'[admin]\nsocket = "{place}"\n')
        listener.listen_at_socket(place)
        try:
            assert main(["keys", "--config", config]) == 0
            held = capsys.readouterr().out
            assert "what the running gate holds\nhttps://acme.my.site.com  usable" in held
            assert not server.requests
            assert main(["keys", "--config", config, "--fetch"]) == 0
            assert server.issuer in capsys.readouterr().out
        finally:
            listener.close()
        assert main(["keys", "--config", config]) == 0
        said = capsys.readouterr()
    assert "what one fetch brought" in said.out
    assert "no gate answers" in said.err
