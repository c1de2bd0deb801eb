"""Who comes in: each test one row of what a broker's gate must let in or refuse, over a raw socket."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.mqtt import Client, Closed

from .conftest import ASSET, DEVICE, OTHER, OTHER_SHORT, SERVICE, SERVICE_PASSWORD, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


@VERSIONS
def test_a_good_token_comes_in_as_its_asset(gated: Gated, version: int) -> None:
    with gated.device(version=version) as client:
        assert client.publish(f"assets/{ASSET}/telemetry") == 0
    # 2.0 logs numbers of its own for 3.1 and 3.1.1, 2.1 the protocol's.
    number = {3: "[13]", 4: "[24]", 5: "5"}[version]
    gated.broker.wait_for(rf"New client connected .* as {SHORT} \(p{number}")


BAD: dict[str, Callable[[Gated], bytes]] = {
    "expired": lambda gated: gated.mint.expired(),
    "not_yet_valid": lambda gated: gated.mint.not_yet_valid(),
    "exp_missing": lambda gated: gated.mint.without_expiry(),
    "audience_mismatch": lambda gated: gated.mint.wrong_audience(),
    "issuer_unknown": lambda gated: gated.mint.unknown_issuer(),
    "key_unknown": lambda gated: gated.mint.unknown_key(),
    "signature_invalid": lambda gated: gated.mint.forged(),
    "alg_not_allowed": lambda gated: gated.mint.alg_none(),
    "not_asset_token": lambda gated: gated.mint.id_token(),
    "asset_missing": lambda gated: gated.mint.mint(aid=None),
    "device_missing": lambda gated: gated.mint.mint(did=None),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_token_is_refused_with_its_reason_in_log_and_metrics(gated: Gated, reason: str) -> None:
    before = len(gated.broker.log)
    token = BAD[reason](gated)
    assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == reason
    gated.broker.wait_for(
        rf"authplugin: refused client '{SHORT}' from '127.0.0.1': {reason} \(", after=before
    )


@VERSIONS
def test_a_refusal_has_the_connack_of_its_protocol(gated: Gated, version: int) -> None:
    token = gated.mint.expired()
    assert gated.refusal(lambda client: client.connect(SHORT, "", token), version=version) == "expired"


def test_a_token_signed_with_the_public_key_as_secret_is_refused(gated: Gated) -> None:
    token = gated.mint.hmac_with_public_key()
    assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "alg_not_allowed"


def test_an_access_token_of_the_same_issuer_is_refused(gated: Gated) -> None:
    token = gated.mint.access_token()
    assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "not_asset_token"


@pytest.mark.parametrize("client_id", [SHORT, ASSET, ASSET + ":1", SHORT + ":a-b_c.d:e"])
def test_the_client_id_may_be_the_asset_id_or_it_with_a_suffix(gated: Gated, client_id: str) -> None:
    with gated.client() as client:
        assert client.connect(client_id, "", gated.token()) == 0


@pytest.mark.parametrize(
    "client_id",
    [
        OTHER,
        OTHER_SHORT,
        "",
        "bridge-1",
        DEVICE,
        ASSET + "x",
        ASSET + "/1",
        ASSET + ":",
        ASSET.lower(),
        ASSET + ":+",
        "#",
    ],
)
def test_any_other_client_id_is_refused(gated: Gated, client_id: str) -> None:
    token = gated.token()
    assert gated.refusal(lambda client: client.connect(client_id, "", token)) == "client_id_mismatch"


@pytest.mark.parametrize("username", [None, "", SHORT, ASSET, DEVICE])
def test_the_user_name_may_be_absent_empty_the_asset_or_the_device(
    gated: Gated, username: str | None
) -> None:
    with gated.client() as client:
        assert client.connect(SHORT, username, gated.token()) == 0
        assert client.publish(f"assets/{ASSET}/telemetry") == 0


@pytest.mark.parametrize("username", [OTHER, OTHER_SHORT, "admin", ASSET + "x", "a" * 65535, "+", "ünïcode"])
def test_any_other_user_name_is_refused(gated: Gated, username: str) -> None:
    token = gated.token()
    assert gated.refusal(lambda client: client.connect(SHORT, username, token)) == "username_mismatch"


@pytest.mark.parametrize(
    "asset",
    [
        "",
        "+",
        "#",
        "a/b",
        "a b",
        "a\tb",
        "a\0b",
        "$SYS",
        "%u",
        "%c",
        "a" * 65,
        "02iAB00000CdEfGAAA",
        "ä" * 15,
    ],
)
def test_an_asset_id_that_means_something_in_a_topic_is_refused(gated: Gated, asset: str) -> None:
    token = gated.token(asset)
    reason = gated.refusal(lambda client: client.connect(SHORT, "", token))
    assert reason in {"asset_unsafe", "asset_missing"}


@pytest.mark.parametrize("username", [None, ""])
def test_no_password_is_refused(gated: Gated, username: str | None) -> None:
    assert gated.refusal(lambda client: client.connect(SHORT, username)) == "malformed"


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        (b"", "malformed"),
        (b"\0", "malformed"),
        (b"\0\0junk", "malformed"),
        (b"\xff\xfe\xfd", "malformed"),
        (b"a.b.c", "malformed"),
        (b"x" * 65535, "too_long"),
        (b"e." * 32000, "too_long"),
        (b"\n" * 100, "malformed"),
    ],
)
def test_a_password_that_is_no_token_is_refused(gated: Gated, password: bytes, reason: str) -> None:
    assert gated.refusal(lambda client: client.connect(SHORT, "", password)) == reason


def test_bytes_after_a_nul_in_the_password_reach_nobody(gated: Gated) -> None:
    # The broker hands passwords over as C strings: what follows a NUL is never seen, and harmless.
    with gated.client() as client:
        assert client.connect(SHORT, "", gated.token() + b"\0junk") == 0


def test_a_token_with_one_changed_byte_is_refused_although_the_good_one_is_remembered(gated: Gated) -> None:
    token = gated.token()
    with gated.client() as client:
        assert client.connect(SHORT, "", token) == 0
    position = token.index(b".") + 10
    changed = (
        token[:position] + (b"A" if token[position : position + 1] != b"A" else b"B") + token[position + 1 :]
    )
    reason = gated.refusal(lambda client: client.connect(SHORT, "", changed))
    assert reason in {"signature_invalid", "claims_malformed", "issuer_unknown"}


def test_an_unknown_authentication_method_is_refused(gated: Gated) -> None:
    properties = b"\x15" + (4).to_bytes(2, "big") + b"none"
    head = b"\0\x04MQTT\x05\x02\0\x3c" + bytes([len(properties)]) + properties
    body = head + b"\0\x0f" + SHORT.encode()
    with gated.client() as client:
        client.send(b"\x10" + bytes([len(body)]) + body)
        assert client.receive().body[1] == 0x8C


def test_rubbish_instead_of_mqtt_leaves_the_broker_alive(gated: Gated) -> None:
    for rubbish in (b"\0" * 64, b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\x7f", b"\xf0\0"):
        with gated.client() as client:
            client.send(rubbish)
            client.close()
    with gated.device() as client:
        client.ping()


def test_publishing_before_connecting_closes_the_connection(gated: Gated) -> None:
    with gated.client(4) as client:
        client.send(b"\x30\x05\0\x03a/bx")
        with pytest.raises(Closed):
            client.receive()


def test_a_service_account_comes_in_by_its_password_and_never_by_a_token(gated: Gated) -> None:
    with gated.service() as client:
        assert client.subscribe("assets/#", "assetgate/heartbeat") == [1, 1]
    token = gated.token()
    for client_id in (SHORT, "bridge-1"):
        with gated.client() as client:
            assert client.connect(client_id, SERVICE, token) == 0x87


def test_a_service_account_with_a_wrong_or_no_password_is_refused(gated: Gated) -> None:
    for password in (None, "", "wrong"):
        with gated.client() as client:
            assert client.connect("bridge-1", SERVICE, password) == 0x87


def test_a_name_that_no_service_account_has_never_reaches_the_password_file(gated: Gated) -> None:
    assert gated.refusal(lambda client: client.connect("x", "Bridge", "anything")) == "malformed"


def test_no_token_is_ever_in_log_or_metrics(gated: Gated) -> None:
    good, bad = gated.token(), gated.mint.forged()
    with gated.client() as client:
        client.connect(SHORT, "", good)
    gated.refusal(lambda client: client.connect(SHORT, "", bad))
    with urlopen(f"http://127.0.0.1:{gated.metrics_port}/metrics", timeout=5) as answer:
        seen = answer.read().decode() + gated.broker.log
    for token in (good, bad):
        for part in token.decode().split(".")[1:]:
            assert part[:40] not in seen


def test_a_service_account_logs_in_from_its_addresses_only_whatever_its_password(
    gate_of: Gates, tmp_path: Path
) -> None:
    extra = '[[service_accounts]]\nname = "near"\naddresses = ["127.0.0.2", "::1/128"]\n'
    with gate_of(tmp_path, extra=extra) as gated:

        def log_in(source: str, password: str) -> int:
            with Client(gated.broker.port, version=5, source=source) as client:
                return client.connect("near-1", "near", password)

        assert log_in("127.0.0.2", SERVICE_PASSWORD) == 0
        assert log_in("127.0.0.2", "guessed") == 0x87
        before = gated.decisions(outcome="refused", reason="username_mismatch")
        assert log_in("127.0.0.3", SERVICE_PASSWORD) == 0x87
        assert log_in("127.0.0.3", "guessed") == 0x87
        assert gated.decisions(outcome="refused", reason="username_mismatch") == before + 2
        gated.broker.wait_for(
            r"from '127\.0\.0\.3': username_mismatch .service account 'near' may not log in"
        )
        gated.service().close()  # an account without addresses
        config = tmp_path / "gate.toml"
        config.write_text(config.read_text().replace("127.0.0.2", "127.0.0.0/30"))
        gated.broker.wait_for("is in force as it is now")
        assert log_in("127.0.0.3", SERVICE_PASSWORD) == 0
