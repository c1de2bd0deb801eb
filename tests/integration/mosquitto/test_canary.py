"""Tokens of a whole life of a gate are looked for in everything it leaves: they are nowhere.

Logs, metrics, audit lines, the admin's answers, commands, process titles, and every file.
"""

import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from .conftest import ASSET, OTHER_SHORT, SERVICE, SERVICE_PASSWORD, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
WINDOW = 24
EXTRA = """
[audit]
file = "audit.jsonl"
flush_s = 0.1

[revocation]
file = "revocations.jsonl"

[admin]
socket = "admin.sock"

[keys]
last_good_dir = "keys"
"""


class Canaries:
    """Tokens that carry a word of their own, so that claims are found as well as letters."""

    def __init__(self, gated: Gated) -> None:
        self._gated = gated
        self._seen: list[tuple[bytes, str]] = []

    def mint(self, **claims: object) -> bytes:
        word = f"canary-{secrets.token_hex(8)}"
        return self.keep(self._gated.token(SHORT, canary=word, **claims), word)

    def keep(self, token: bytes, word: str = "") -> bytes:
        self._seen.append((token, word or token.decode()))
        return token

    def leaks(self, place: str, text: bytes) -> Iterator[str]:
        for number, (token, word) in enumerate(self._seen):
            _, payload, signature = token.split(b".")
            windows = [part[at : at + WINDOW] for part in (payload, signature) for at in range(0, 400, 7)]
            whole = (window for window in windows if len(window) == WINDOW)
            if word.encode() in text or any(window in text for window in whole):
                yield f"token {number} is in {place}"


def command(gated: Gated, *words: str, stdin: bytes = b"") -> bytes:
    """An ``authplugin`` command on this gate's configuration; all it printed."""
    config = str(gated.broker.folder / "gate.toml")
    program = [sys.executable, "-m", "authplugin", words[0], "--config", config, *words[1:]]
    done = subprocess.run(program, check=False, capture_output=True, input=stdin, timeout=60)
    assert done.returncode in {0, 1}, done.stderr
    assert b"Traceback" not in done.stderr
    return done.stdout + done.stderr


def live(gated: Gated, tokens: Canaries) -> dict[str, bytes]:
    """What a gate goes through in its life; what its commands and its metrics said."""
    said: dict[str, bytes] = {}
    good = tokens.mint()
    with gated.client() as device:
        assert device.connect(SHORT, "", good) == 0
        assert device.subscribe(f"assets/{ASSET}/commands/#", "#") == [1, 0x87]
        device.publish(f"assets/{ASSET}/telemetry/t", b"1", qos=1)
        device.publish("assets/other/telemetry/t", b"1", qos=1)
        gated.broker.reload()
        device.ping()
        said["sessions"] = command(gated, "sessions")
        said["keys"] = command(gated, "keys")
        said["explain"] = command(gated, "explain", "--token", "-", stdin=good)
        refused(gated, tokens, good)
        said["explain a bad one"] = command(gated, "explain", "--token", "-", stdin=tokens.mint(exp=1, nbf=0))
        said["explain half of one"] = command(gated, "explain", "--token", "-", stdin=good[: len(good) // 2])
        said["revoke"] = command(gated, "revoke", "--token", "-", stdin=good)
        device.wait_closed()
    with gated.client() as device:
        assert device.connect(SHORT, "", good) == 0x87
    said["metrics"] = urllib.request.urlopen(
        f"http://127.0.0.1:{gated.metrics_port}/metrics", timeout=5
    ).read()
    return said


def refused(gated: Gated, tokens: Canaries, good: bytes) -> None:
    """Every kind of refusal, and the mistakes that people make with tokens."""
    forged = tokens.keep(gated.mint.forged())
    attempts: list[tuple[str, str | None, bytes | None]] = [
        (SHORT, "", forged),
        (SHORT, "", tokens.keep(gated.mint.id_token())),
        (SHORT, "", tokens.mint(exp=1, nbf=0)),
        (SHORT, "", tokens.mint(aud="elsewhere")),
        (SHORT, "", tokens.mint(cnf={"jwk": {"kty": "oct", "k": "AAAA"}})),
        (SHORT, "", tokens.mint(exp="soon")),
        (OTHER_SHORT, "", good),
        (SHORT, "stranger", good),
        (SHORT, SERVICE, good),
        (SHORT, "", good + b"="),
        (SHORT, "", b" " + good),
        (SHORT, "", good * 8),
        (SHORT, "", good.replace(b".", b"..")),
        (SHORT, good.decode(), None),
        (SHORT, good.decode(), good),
        ("bridge-1", SERVICE, SERVICE_PASSWORD.encode() + b"!"),
    ]
    for client_id, username, password in attempts:
        with gated.client() as client:
            assert client.connect(client_id, username, password) != 0
    with gated.client() as client:
        client.send(b"\x10" + good[:100])


def test_no_token_is_left_anywhere(gate_of: Gates, tmp_path: Path) -> None:
    (tmp_path / "revocations.jsonl").touch(mode=0o600)
    (tmp_path / "revocations.jsonl").write_text("# none\n")
    (tmp_path / "keys").mkdir(mode=0o700)
    with gate_of(tmp_path, extra=EXTRA) as gated:
        tokens = Canaries(gated)
        texts = live(gated, tokens)
        proc = Path(f"/proc/{gated.broker.pid}")
        texts["command line"] = (proc / "cmdline").read_bytes()
        texts["threads"] = b"\n".join(comm.read_bytes() for comm in proc.glob("task/*/comm"))
        audit = tmp_path / "audit.jsonl"
        end = time.monotonic() + 15
        while audit.read_text().count("\n") < 15:
            assert time.monotonic() < end, audit.read_text()
            time.sleep(0.05)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"audit.jsonl", "mosquitto.log", "revocations.jsonl"} <= {file.name for file in files}
    texts |= {str(file.relative_to(tmp_path)): file.read_bytes() for file in files}
    assert [leak for place, text in texts.items() for leak in tokens.leaks(place, text)] == []
    password = SERVICE_PASSWORD.encode()
    assert [place for place, text in texts.items() if password in text] == []
    # They were looked for where they would have been: the run did leave its traces.
    assert ASSET.encode() in texts["sessions"]
    assert b"signature_invalid" in texts["audit.jsonl"]
    assert texts["revocations.jsonl"]
    reasons = {json.loads(line).get("reason") for line in texts["audit.jsonl"].splitlines()}
    assert len(reasons) >= 8
    planted = tokens.mint()
    assert list(tokens.leaks("a log", b"x" + planted[200:300] + b"y"))
