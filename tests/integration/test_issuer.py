"""The development issuer as people run it: a process, real HTTP, real Kafka protocol."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import jwt
import pytest
from jsonschema import Draft202012Validator

from authplugin.jose.identity import IdForm, canonical_asset_id
from authplugin.keys.fetch import HttpSource
from tests.support.issuer import SECRET, Answer, Device, RunningIssuer, run_issuer
from tests.support.kafka import Kafka, read_all, start_embedded

ROOT = Path(__file__).parents[2]
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningIssuer]:
    with run_issuer(tmp_path_factory.mktemp("issuer"), "--development-claims") as running:
        yield running


@pytest.fixture
def kafka() -> Iterator[tuple["subprocess.Popen[str]", Kafka]]:
    process, cluster = start_embedded(4, ["asset.tokens.v1"])
    yield process, cluster
    if process.poll() is None:
        process.terminate()
    process.communicate(timeout=10)


def bearer(issuer: RunningIssuer) -> str:
    return f"Bearer {issuer.access_token()}"


def test_fifty_devices_register_at_once_each_with_an_asset_of_its_own(issuer: RunningIssuer) -> None:
    actors = [Device(number).actor_token() for number in range(50)]
    issuer.access_token()
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(issuer.exchange, actors))
    assert [answer.status for answer in answers] == [200] * 50
    claims = [issuer.claims_of(answer.json["access_token"]) for answer in answers]
    assert len({each["aid"] for each in claims}) == len({each["id"] for each in claims}) == 50


def test_events_are_acknowledged_by_kafka_before_the_token_is_answered(
    tmp_path: Path, kafka: tuple["subprocess.Popen[str]", Kafka]
) -> None:
    cluster = kafka[1]
    with run_issuer(tmp_path, "--kafka", cluster.bootstrap) as issuer:
        answers = {}
        for number in range(2):
            token = issuer.exchange(Device(number).actor_token()).json["access_token"]
            asset_id = canonical_asset_id(issuer.claims_of(token)["aid"], IdForm.SALESFORCE)
            answers[asset_id] = Device(number).did
            # Read at once: whatever was answered is already there.
            assert len(read_all(cluster, "asset.tokens.v1")) == number + 1
        assert issuer.get("/development/events", authorization=bearer(issuer)).status == 404
    schema = json.loads((ROOT / "deploy" / "contracts" / "asset-token-event.schema.json").read_text())
    found = {}
    for record in read_all(cluster, "asset.tokens.v1"):
        event = json.loads(record.value or b"")
        Draft202012Validator(schema).validate(event)
        assert record.key == event["AssetId"].encode()
        found[event["AssetId"]] = event["DeviceId"]
    assert found == answers


def test_without_kafka_there_is_no_token_but_a_503_and_the_issuer_still_answers(
    tmp_path: Path, kafka: tuple["subprocess.Popen[str]", Kafka]
) -> None:
    process, cluster = kafka
    with run_issuer(tmp_path, "--kafka", cluster.bootstrap) as issuer:
        assert issuer.exchange(Device().actor_token()).status == 200
        process.terminate()
        process.communicate(timeout=10)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(issuer.exchange, Device().actor_token())
            assert issuer.get("/id/keys").status == 200
            assert not waiting.done()
            answer = waiting.result(timeout=60)
        assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
        assert "access_token" not in answer.json


def test_rotation_signs_with_a_new_key_and_keeps_the_old_one_published(tmp_path: Path) -> None:
    with run_issuer(tmp_path) as issuer:
        old = issuer.exchange(Device().actor_token()).json["access_token"]
        etag = issuer.get("/id/keys").headers["etag"]
        answer = issuer.request("POST", "/development/rotate", headers={"authorization": bearer(issuer)})
        assert answer.json == {"kid": "Assets-2"}
        new = issuer.exchange(Device().actor_token()).json["access_token"]
        assert jwt.get_unverified_header(new)["kid"] == "Assets-2"
        assert issuer.claims_of(new)["aid"] == issuer.claims_of(old)["aid"]
        assert issuer.get("/id/keys").headers["etag"] != etag


def test_withdrawal_publishes_no_old_key_and_ends_its_access_tokens(tmp_path: Path) -> None:
    with run_issuer(tmp_path) as issuer:
        headers = {"authorization": bearer(issuer), "content-type": FORM}
        assert issuer.request("POST", "/development/rotate", b"withdraw=true", headers).status == 200
        assert [key["kid"] for key in issuer.get("/id/keys").json["keys"]] == ["Assets-2"]
        assert issuer.exchange(None).json["error"] == "invalid_grant"


@pytest.mark.parametrize("path", ["/development/rotate", "/development/events"])
def test_development_doors_want_an_access_token(issuer: RunningIssuer, path: str) -> None:
    method = "POST" if path.endswith("rotate") else "GET"
    answer = issuer.request(method, path)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    token = issuer.exchange(Device().actor_token()).json["access_token"]
    assert issuer.request(method, path, headers={"authorization": f"Bearer {token}"}).status == 401


def test_keys_outlive_the_process_in_a_file_nobody_else_may_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with run_issuer(tmp_path, "--key-file", path) as issuer:
        issuer.request("POST", "/development/rotate", headers={"authorization": bearer(issuer)})
        token = issuer.exchange(Device().actor_token()).json["access_token"]
        published = issuer.get("/id/keys").json
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with run_issuer(tmp_path, "--key-file", path) as again:
        assert again.get("/id/keys").json == published
        assert again.claims_of(token)["did"] == Device().did


def test_the_gates_own_fetcher_takes_the_key_set_and_its_not_modified(issuer: RunningIssuer) -> None:
    source = HttpSource(issuer.ready["keys"])
    first = source.fetch(None)
    assert first.body is not None
    assert first.max_age == 60
    assert source.fetch(first.etag).body is None


def test_the_key_set_answers_etags_head_and_nothing_else(issuer: RunningIssuer) -> None:
    answer = issuer.get("/id/keys")
    etag = answer.headers["etag"]
    for tags in (etag, f'"other", W/{etag}', "*"):
        assert (issuer.get("/id/keys", **{"if-none-match": tags}).status) == 304
    assert issuer.get("/id/keys", **{"if-none-match": '"other"'}).status == 200
    head = issuer.request("HEAD", "/id/keys")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(answer.body)))
    post = issuer.request("POST", "/id/keys")
    assert (post.status, post.headers["allow"]) == (405, "GET, HEAD")
    assert issuer.get("/id/keys/").status == 404


def test_discovery_names_the_addresses_that_answer(issuer: RunningIssuer) -> None:
    document = issuer.get("/.well-known/openid-configuration").json
    assert document["issuer"] == issuer.url
    assert document["jwks_uri"] == issuer.ready["keys"]
    assert document["token_endpoint"] == issuer.ready["token_endpoint"]


def test_development_claims_make_expired_and_foreign_tokens_that_are_truly_signed(
    issuer: RunningIssuer,
) -> None:
    expired = issuer.exchange(Device().actor_token(), validity="-3600").json
    claims = issuer.claims_of(expired["access_token"])
    assert claims["nbf"] < claims["exp"] < time.time() - 3500
    assert expired["expires_in"] == 0
    foreign = issuer.exchange(Device().actor_token(), audience="https://elsewhere.example.com").json
    assert issuer.claims_of(foreign["access_token"])["aud"] == ["https://elsewhere.example.com"]
    short = issuer.exchange(Device().actor_token(), validity="5").json
    claims = issuer.claims_of(short["access_token"])
    assert (short["expires_in"], claims["exp"] - claims["nbf"]) == (5, 5)


@pytest.mark.parametrize("validity", ["soon", "1.5", "9" * 5000, "-315360001", "\N{SUPERSCRIPT TWO}"])
def test_a_validity_that_is_no_number_of_seconds_is_refused(issuer: RunningIssuer, validity: str) -> None:
    assert issuer.exchange(None, validity=validity).json["error"] == "invalid_request"


def test_the_client_may_authenticate_by_the_basic_scheme(issuer: RunningIssuer) -> None:
    def ask(user: str, **form: str) -> Answer:
        authorization = "Basic " + b64encode(user.encode()).decode()
        return issuer.post_form(
            {"grant_type": "client_credentials"} | form, authorization=authorization
        )  # fmt: skip

    secret = SECRET.replace(" ", "+")
    assert ask(f"demo:{secret}").status == 200
    assert ask(f"demo:{secret}x").status == 401
    assert ask("demo").status == 401
    assert ask(f"demo:{secret}", client_secret=SECRET).json["error"] == "invalid_request"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"grant_type",
        b"&&&",
        b"grant_type=%ff",
        b"grant_type=a&grant_type=b",
        b"grant_type=client_credentials&client_id=a&client_id=b",
        b"&".join(b"p%d=1" % number for number in range(70)),
        b'{"grant_type":"client_credentials"}',
    ],
)
def test_what_is_no_form_is_an_invalid_request(issuer: RunningIssuer, body: bytes) -> None:
    answer = issuer.post_form(body)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")


def test_another_media_type_is_an_invalid_request(issuer: RunningIssuer) -> None:
    body = urlencode(issuer.credentials()).encode()
    for kind in ("application/json", "", "multipart/form-data"):
        answer = issuer.request("POST", "/services/oauth2/token", body, {"content-type": kind})
        assert (answer.status, answer.json["error"]) == (400, "invalid_request")


def test_a_body_over_the_bound_is_refused_before_it_is_read(issuer: RunningIssuer) -> None:
    answer = issuer.post_form(b"a=" + b"b" * 70_000)
    assert (answer.status, answer.json["error"]) == (413, "invalid_request")


def test_a_connection_that_ends_inside_its_body_hurts_nobody(issuer: RunningIssuer) -> None:
    parts = urlsplit(issuer.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        head = f"POST /services/oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\ngrant".encode())
    assert issuer.get("/id/keys").status == 200


def test_an_asset_record_wants_an_access_token_and_an_asset(issuer: RunningIssuer) -> None:
    path = "/services/data/v62.0/sobjects/Asset/"
    assert issuer.get(path + "02iAB00000CdEfG").json[0]["errorCode"] == "INVALID_SESSION_ID"
    for missing in ("02iAB00000CdEfG", "02iAB00000CdEfGYAV", "%00", "02iAB00000CdEfGAAA"):
        answer = issuer.get(path + missing, authorization=bearer(issuer))
        assert (answer.status, answer.json[0]["errorCode"]) == (404, "NOT_FOUND")
    for nowhere in ("", "../../../x", "02iAB00000CdEfG/Case"):
        assert issuer.get(path + nowhere, authorization=bearer(issuer)).status == 404


def test_the_log_holds_neither_token_nor_secret_nor_key(tmp_path: Path) -> None:
    with run_issuer(tmp_path, "--key-file", tmp_path / "keys.json") as issuer:
        actor_token = Device().actor_token()
        token = issuer.exchange(actor_token).json["access_token"]
        issuer.exchange(actor_token[:-4])
        issuer.post_form(issuer.credentials(client_secret=SECRET + "!"))
        issuer.exchange(None, subject_token=token)
        secrets = [
            SECRET,
            *(part for each in (actor_token, token, issuer.access_token()) for part in each.split(".")),
        ]
        arguments = Path(f"/proc/{issuer.process.pid}/cmdline").read_text()
    secrets.append(json.loads((tmp_path / "keys.json").read_text())["keys"][0]["d"])
    log = issuer.log.read_text()
    assert "asset token 05b" in log
    assert "invalid_client" in log
    assert [secret for secret in secrets if secret in log + arguments] == []


def start(*options: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Start an issuer that is expected to refuse."""
    return subprocess.run(
        [sys.executable, "-m", "authplugin", "issuer", "--port", "0", "--audience", "a", *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_it_says_what_to_change_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "open").write_text('{"keys":[]}')
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "bad").write_text('{"keys":[{"kty":"oct","k":"AAAA"}]}')
    (tmp_path / "bad").chmod(0o600)
    secret = ("--client-secret-file", tmp_path / "secret")
    for options, expected in (
        ((), "AUTHPLUGIN_ISSUER__CLIENT_SECRET"),
        (("--client-secret-file", tmp_path / "missing"), "No such file"),
        (("--client-secret-file", tmp_path / "empty"), "a secret of 1 to"),
        ((*secret, "--key-file", tmp_path / "open"), "mode 0600"),
        ((*secret, "--key-file", tmp_path / "bad"), "delete the file"),
        ((*secret, "--key-file", tmp_path / "none" / "keys"), "may write"),
        ((*secret, "--validity", "0"), "an integer of 1 to"),
        ((*secret, "--issuer", "acme.my.site.com"), "http(s)://"),
        ((*secret, "--host", "192.0.2.1"), "address of this machine"),
    ):
        done = start(*options)
        assert (done.returncode, done.stdout) == (1, ""), options
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


def test_without_the_watch_kafka_is_refused_with_the_install_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "confluent_kafka.py").write_text("raise ModuleNotFoundError(name='confluent_kafka')")
    done = start(
        "--kafka", "127.0.0.1:1", AUTHPLUGIN_ISSUER__CLIENT_SECRET=SECRET, PYTHONPATH=str(tmp_path)
    )  # fmt: skip
    assert done.returncode == 1
    assert "assetgate[watch]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_secret_may_come_from_the_environment_and_the_issuer_be_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "authplugin", "issuer", "--port", "0", "--audience", "a",
               "--issuer", "https://acme.my.site.com"]  # fmt: skip
    environment = {**os.environ, "AUTHPLUGIN_ISSUER__CLIENT_SECRET": SECRET}
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, env=environment
    ) as process:  # fmt: skip
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["issuer"] == "https://acme.my.site.com"
        parts = urlsplit(ready["token_endpoint"])
        connection = HTTPConnection(parts.hostname or "", parts.port or 0, timeout=10)
        form = {"grant_type": "client_credentials", "client_id": "development", "client_secret": SECRET}
        connection.request("POST", parts.path, urlencode(form), {"content-type": FORM})
        token = json.load(connection.getresponse())["access_token"]
        connection.close()
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["iss"] == "https://acme.my.site.com"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
