"""The commands as people run them: real processes, real files, a real key endpoint."""

import array
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from authplugin.cli import main
from authplugin.testing import KeyServer, TokenMint
from tests.support.gates import AID, CONFIG, SHORT
from tests.support.mints import mint

FILE_CONFIG = CONFIG.replace("[[service_accounts]]", 'jwks_file = "keys.json"\n[[service_accounts]]')


def live() -> TokenMint:
    """The tests' issuer by the machine's clock, which is what the programs go by."""
    return TokenMint(key=mint().key, device_key=mint().key)


def authplugin(*arguments: str, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "authplugin", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **environ},
    )


@pytest.fixture(name="config")
def write_config(tmp_path: Path) -> Path:
    (tmp_path / "keys.json").write_text(json.dumps(live().jwks()))
    path = tmp_path / "gate.toml"
    path.write_text(FILE_CONFIG)
    return path


def rows(output: bytes) -> dict[str, str]:
    """Check → result of the table that explain prints."""
    found = {}
    for line in output.decode().splitlines():
        for word in ("not reached", "refused", "ok"):
            name, mark, _ = line.partition(f"  {word}")
            if mark:
                found[name.strip()] = word
                break
    return found


def test_explain_shows_a_good_token_and_topic_check_by_check(config: Path) -> None:
    token = live().mint()
    done = authplugin(
        "explain",
        "--config",
        str(config),
        "--token",
        "-",
        "--topic",
        f"assets/{AID}/status",
        stdin=token + b"\n",
    )
    assert (done.returncode, done.stderr) == (0, b"")
    results = rows(done.stdout)
    assert set(results.values()) == {"ok"}
    assert next(iter(results)) == "form"
    assert list(results)[-1] == "topic"


def test_explain_shows_where_a_token_fails_and_what_was_not_reached(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(live().expired())
    done = authplugin("explain", "--config", str(config), "--token", str(file))
    assert done.returncode == 1
    results = rows(done.stdout)
    assert (results["signature"], results["time"], results["audience"]) == ("ok", "refused", "not reached")
    assert b"expired" in done.stdout


def test_explain_refuses_a_topic_of_another_asset(config: Path) -> None:
    done = authplugin(
        "explain",
        "--config",
        str(config),
        "--token",
        "-",
        "--topic",
        f"assets/{SHORT}/status",
        stdin=live().mint(),
    )
    assert done.returncode == 1
    assert f"topic_id_form: write the asset id in 18 characters: assets/{AID}/status" in done.stdout.decode()


def test_explain_fetches_keys_from_the_issuer(tmp_path: Path) -> None:
    issuer = live()
    path = tmp_path / "gate.toml"
    with KeyServer(issuer.jwks()) as server:
        path.write_text(CONFIG.replace("[[service", f'jwks_uri = "{server.url}"\n[[service'))
        assert (
            authplugin("explain", "--config", str(path), "--token", "-", stdin=issuer.mint()).returncode == 0
        )
        assert len(server.requests) == 1


def test_explain_says_why_there_are_no_keys(config: Path) -> None:
    (config.parent / "keys.json").unlink()
    done = authplugin("explain", "--config", str(config), "--token", "-", stdin=live().mint())
    assert done.returncode == 1
    assert rows(done.stdout)["key"] == "refused"
    assert b"No such file" in done.stdout


@pytest.mark.parametrize("token", [b"", b"\x00\xff", b"a" * 100_000, b"a.b.c"])
def test_explain_takes_anything_for_a_token(config: Path, token: bytes) -> None:
    done = authplugin("explain", "--config", str(config), "--token", "-", stdin=token)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_text_from_a_token_cannot_steer_the_terminal(config: Path) -> None:
    token = live().sign(live().claims(iss="\x1b[2J"))
    for done in (
        authplugin("explain", "--config", str(config), "--token", "-", stdin=token),
        authplugin("token", "inspect", "-", stdin=token),
    ):
        assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("token", "mint", "--key", "KEY", "--asset", "\udcff"),
        ("explain", "--config", "CONFIG", "--token", "-", "--client-id", "\udcff"),
        ("revoke", "--config", "CONFIG", "--asset", "\udcff"),
        ("jwks", "make", "KEY", "--kid", "\udcff"),
    ],
)
def test_arguments_that_are_no_text_are_refused_in_one_line(
    config: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    config.write_text(config.read_text() + '[admin]\nsocket = "admin"\n')
    places = {"CONFIG": str(config), "KEY": str(tmp_path / "new.pem")}
    done = authplugin(*(places.get(word, word) for word in words), stdin=live().mint())
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def unread(descriptor: int) -> int:
    """How many bytes of a pipe nobody has read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def test_a_person_may_stop_a_command_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def interrupt() -> None:
        with pipe.open("wb", buffering=0) as end:  # opens once the command does
            end.write(b"a")
            until = time.monotonic() + 60
            while unread(end.fileno()) and time.monotonic() < until:  # then it waits for more
                time.sleep(0.01)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            # A signal just before a read does not end that read; the end of the file does.

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    person = threading.Thread(target=interrupt)
    person.start()
    try:
        code = main(["token", "inspect", str(pipe)])
    finally:
        person.join()
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr()
    assert (code, said.out, said.err) == (130, "", "")


def test_a_missing_token_file_is_said_without_its_name(config: Path) -> None:
    done = authplugin("explain", "--config", str(config), "--token", "secret.token.text")
    assert done.returncode == 1
    assert b"No such file" in done.stderr
    assert b"secret" not in done.stderr


def test_check_config_prints_what_it_understood(config: Path) -> None:
    done = authplugin("check-config", str(config))
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    for expected in (
        "issuer https://acme.my.site.com",
        str(config.parent / "keys.json"),
        "assets     any (salesforce ids)",
        "assets publish    assets/{aid}/telemetry/#",
        "assets subscribe  assets/{aid}/commands/#",
        "service account bridge",
        "  publish    assetgate/heartbeat",
        "metrics  off",
    ):
        assert expected in text


def test_check_config_names_every_mistake(config: Path) -> None:
    config.write_text(FILE_CONFIG.replace("audiences", "audience") + "[metrics]\nport = -1\n")
    done = authplugin("check-config", str(config), AUTHPLUGIN_CACHE__CAPACITY="many")
    assert (done.returncode, done.stdout) == (1, b"")
    lines = done.stderr.decode().splitlines()
    assert (
        f"{config}:4: issuers[0].audience: found an unknown name, expected audiences, the nearest name"
        in lines[2]
    )
    assert any(line.startswith(f"{config}:12: metrics.port: found -1, expected an integer") for line in lines)
    assert any(line.startswith("environment: AUTHPLUGIN_CACHE__CAPACITY: found") for line in lines)


def test_a_minted_token_passes_the_gate_that_knows_its_key(config: Path, tmp_path: Path) -> None:
    key, jwks = tmp_path / "key.pem", config.parent / "keys.json"
    made = authplugin("token", "mint", "--key", str(key), "--jwks", str(jwks), "--asset", "02iAB00000XdEfG")
    assert made.returncode == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert authplugin("explain", "--config", str(config), "--token", "-", stdin=made.stdout).returncode == 0
    again = authplugin("token", "mint", "--key", str(key), "--valid", "-100")
    done = authplugin("explain", "--config", str(config), "--token", "-", stdin=again.stdout)
    assert rows(done.stdout)["time"] == "refused"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_mint_signs_with_the_kind_of_key_it_finds(tmp_path: Path, algorithm: str) -> None:
    key = tmp_path / "key.pem"
    for _ in range(2):
        made = authplugin("token", "mint", "--key", str(key), "--algorithm", algorithm)
        shown = authplugin("token", "inspect", "-", stdin=made.stdout)
        assert f'"{algorithm}"'.encode() in shown.stdout


def test_mint_sets_and_removes_claims(tmp_path: Path) -> None:
    made = authplugin(
        "token", "mint", "--key", str(tmp_path / "k"), "--algorithm", "EdDSA",
        "--claim", "tier=3", "--claim", "exp=null", "--audience", "a", "--audience", "b",
    )  # fmt: skip
    shown = authplugin("token", "inspect", "-", stdin=made.stdout).stdout.decode()
    assert "tier        3" in shown
    assert '["a", "b"]' in shown
    assert "exp" not in shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--claim", "tier"), "--claim: found tier, expected NAME=JSON"),
        (("--claim", "tier={"), "--claim: found tier={, expected NAME=JSON"),
    ],
)
def test_mint_refuses_a_claim_that_is_none(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    done = authplugin("token", "mint", "--key", str(tmp_path / "k"), "--algorithm", "EdDSA", *arguments)
    assert done.returncode == 1
    assert text in done.stderr.decode()


def test_mint_refuses_a_file_that_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("x")
    done = authplugin("token", "mint", "--key", str(tmp_path / "k"))
    assert done.returncode == 1
    assert b"expected an unencrypted PEM private key" in done.stderr
    done = authplugin("token", "mint", "--key", str(tmp_path / "none" / "k"), "--algorithm", "EdDSA")
    assert b"expected a place for a new private key" in done.stderr


def test_inspect_shows_header_claims_and_times_but_no_signature() -> None:
    token = live().mint()
    done = authplugin("token", "inspect", "-", stdin=token)
    text = done.stdout.decode()
    assert done.returncode == 0
    assert text.startswith("NOT VERIFIED")
    assert '"RS256"' in text
    assert "in 6 days" in text
    assert "UTC" in text
    assert token.split(b".")[2][:20].decode() not in text


@pytest.mark.parametrize("token", [b"", b"a.b", b"e30.W10.", b"e30.e30e.", b"a" * 100_000])
def test_inspect_refuses_what_is_no_token(token: bytes) -> None:
    done = authplugin("token", "inspect", "-", stdin=token)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_no_command_repeats_a_token_it_was_given(config: Path, tmp_path: Path) -> None:
    issuer = live()
    file = tmp_path / "token"
    for token in (issuer.mint(), issuer.expired(), issuer.forged(), issuer.mint() + b"=", issuer.alg_none()):
        file.write_bytes(token)
        for arguments in (
            ("explain", "--config", str(config), "--token", str(file), "--topic", "x"),
            ("token", "inspect", str(file)),
        ):
            done = authplugin(*arguments)
            for part in token.split(b"."):
                assert len(part) < 20 or part[:20] not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("mosquitto", "acl", "--config", "{config}", "-o", "{folder}"),
        ("mosquitto", "acl", "--config", "{config}", "-o", "{folder}/none/acl"),
        ("mosquitto", "acl", "--config", "{config}", "-o", "{config}/acl"),
        ("token", "mint", "--key", "{folder}/k", "--algorithm", "EdDSA", "--jwks", "{folder}/none/keys"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(config: Path, arguments: tuple[str, ...]) -> None:
    given = [text.format(config=config, folder=config.parent) for text in arguments]
    done = authplugin(*given)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith(f"authplugin: {given[-1]}: ")
    assert b"Traceback" not in done.stderr


def test_output_that_cannot_be_written_is_an_error_in_one_line(config: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "authplugin", "check-config", str(config)],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"authplugin: output: No space left on device\n")


def test_a_closed_standard_input_has_no_token() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m authplugin token inspect - <&-"], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"the token's file: found no standard input" in done.stderr


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "1e300", "soon"])
def test_mint_refuses_a_lifetime_that_is_no_number_of_seconds(tmp_path: Path, seconds: str) -> None:
    done = authplugin("token", "mint", "--key", str(tmp_path / "k"), f"--valid={seconds}")
    assert done.returncode == 2
    assert b"argument --valid" in done.stderr


def test_a_configuration_nested_without_end_is_one_mistake(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text("a = " + "[" * 50_000 + "]" * 50_000)
    done = authplugin("check-config", str(path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{path}: ".encode())
    assert b"Traceback" not in done.stderr
