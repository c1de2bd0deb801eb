"""``authplugin issuer --config``: file, environment and options, the later the stronger."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.issuer import SECRET

ROOT = Path(__file__).parents[2]


def command(*options: object) -> list[str]:
    return [sys.executable, "-m", "authplugin", "issuer", *map(str, options)]


def test_a_file_says_all_there_is_to_say_and_an_option_overrides_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    config = tmp_path / "issuer.toml"
    config.write_text(
        '[issuer]\nport = 0\naudience = ["a"]\nclient_secret_file = "secret"\nkey_file = "keys.json"\n'
        'issuer = "https://acme.my.site.com"\n'
    )
    words = command("--config", config, "--issuer", "https://other.my.site.com", "--kid", "Mine")
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ}
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(30) == 0
    assert ready["issuer"] == "https://other.my.site.com"
    assert json.loads((tmp_path / "keys.json").read_text())["keys"][0]["kid"] == "Mine"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--config", "missing.toml"), "missing.toml: the file: found No such file"),
        (("--audience", "a", "--port", "99999"), "--port: found 99999, expected an integer of 0 to 65535"),
        ((), "--audience: found none"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_in_one_line(options: tuple[str, ...], expected: str) -> None:
    done = subprocess.run(
        command(*options), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
