"""Enhanced authentication (MQTT 5 §4.12), method ``ace``: who holds the token's key comes in, nobody else.

Long, because a device of its own shakes hands here, and every way to abuse the exchange is read beside it.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from authplugin.ace import write_proof, write_token
from authplugin.client.key import DeviceKey, make_key, public_jwk, sign
from authplugin.client.login import Will
from authplugin.client.packets import write_connect
from tests.support.mosquitto import scrape
from tests.support.mqtt import (
    AUTH,
    CONNACK,
    CONTINUE_AUTHENTICATION,
    RE_AUTHENTICATE,
    Client,
    Closed,
    Packet,
    authentication_data,
    packet,
)

from .conftest import ASSET, AUDIENCE, OTHER, OTHER_SHORT, SERVICE, SHORT, Gated

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]
ALMOST_OVER = 28
ADMINISTRATIVE = 0x98
NOT_AUTHORIZED, BAD_METHOD = 0x87, 0x8C
EXCHANGE = "\n[cache]\nttl_s = 900\n"


class Device:
    """A device's side of the exchange, with its own key."""

    def __init__(self, gated: Gated, asset: str = SHORT, algorithm: str = "ES256") -> None:
        self.gated = gated
        self.asset = asset
        self.key: DeviceKey = make_key(algorithm)

    def token(self, **changes: object) -> bytes:
        return self.gated.token(self.asset, cnf={"jwk": public_jwk(self.key)}, **changes)

    def answer(self, challenge: bytes, key: DeviceKey | None = None) -> bytes:
        nonce = os.urandom(8)
        return write_proof(nonce, sign(key or self.key, challenge + nonce))

    def begin(self, client: Client, suffix: str = "", token: bytes | None = None) -> bytes:
        """CONNECT; the broker's nonce."""
        asked = client.begin(self.asset + suffix, "ace", write_token(token or self.token()))
        assert (asked.kind, asked.body[0]) == (AUTH, CONTINUE_AUTHENTICATION), self.gated.broker.log[-2000:]
        return authentication_data(asked.body)

    def connect(self, suffix: str = "", token: bytes | None = None) -> Client:
        client = self.gated.client(5)
        challenge = self.begin(client, suffix, token)
        done = client.authenticate(CONTINUE_AUTHENTICATION, "ace", self.answer(challenge))
        assert (done.kind, done.body[1]) == (CONNACK, 0), self.gated.broker.log[-2000:]
        return client

    def renew(self, client: Client, token: bytes | None = None) -> Packet:
        """Re-authenticate; what the broker says in the end."""
        asked = client.authenticate(RE_AUTHENTICATE, "ace", write_token(token or self.token()))
        assert (asked.kind, asked.body[0]) == (AUTH, CONTINUE_AUTHENTICATION)
        return client.authenticate(
            CONTINUE_AUTHENTICATION, "ace", self.answer(authentication_data(asked.body))
        )


@pytest.fixture(scope="module")
def short(gate_of: Gates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """A broker that waits one second for an answer."""
    with gate_of(tmp_path_factory.mktemp("short"), extra=EXCHANGE) as gated:
        config = gated.broker.folder / "gate.toml"
        config.write_text(config.read_text().replace("[mosquitto]", "[mosquitto]\nexchange_s = 1.0"))
        gated.broker.wait_for("gate.toml is in force as it is now")
        yield gated


def sessions(gated: Gated) -> float:
    return scrape(gated.metrics_port)["authplugin_sessions"]


def wait_sessions(gated: Gated, count: int) -> None:
    end = time.monotonic() + 10
    while sessions(gated) != count:
        assert time.monotonic() < end, gated.broker.log[-3000:]
        time.sleep(0.02)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_who_signs_the_nonce_with_the_tokens_key_comes_in_with_its_rights(
    gated: Gated, algorithm: str
) -> None:
    device = Device(gated, algorithm=algorithm)
    with device.connect() as client:
        assert client.publish(f"assets/{ASSET}/telemetry") == 0
        assert client.publish(f"assets/{OTHER}/telemetry") == NOT_AUTHORIZED
        assert client.subscribe(f"assets/{ASSET}/commands/#", "#") == [1, NOT_AUTHORIZED]


def test_a_signature_by_another_key_or_over_another_nonce_is_refused(gated: Gated) -> None:
    device = Device(gated)
    for key, forget in ((make_key(), b""), (device.key, b"forgotten")):
        with gated.client() as client:
            challenge = device.begin(client)
            answer = device.answer(forget[:8] or challenge, key)
            refused = client.authenticate(CONTINUE_AUTHENTICATION, "ace", answer)
            assert (refused.kind, refused.body[1]) == (CONNACK, NOT_AUTHORIZED)
    assert gated.decisions(outcome="refused", reason="possession_failed") >= 2


def test_an_answer_is_good_for_the_connection_that_was_asked(gated: Gated) -> None:
    device = Device(gated)
    with gated.client() as one, gated.client() as two:
        answer = device.answer(device.begin(one, ":one"))
        device.begin(two, ":two")
        refused = two.authenticate(CONTINUE_AUTHENTICATION, "ace", answer)
        assert refused.body[1] == NOT_AUTHORIZED
        accepted = one.authenticate(CONTINUE_AUTHENTICATION, "ace", answer)
        assert (accepted.kind, accepted.body[1]) == (CONNACK, 0)


@pytest.mark.parametrize("bad", ["expired", "forged", "wrong_audience"])
def test_a_bad_token_is_refused_before_anything_is_asked(gated: Gated, bad: str) -> None:
    token: bytes = getattr(gated.mint, bad)()
    with gated.client() as client:
        refused = client.begin(SHORT, "ace", write_token(token))
        assert (refused.kind, refused.body[1]) == (CONNACK, NOT_AUTHORIZED)


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xff", b"\0\x05abc", b"\0\0", bytes(range(60))])
def test_authentication_data_that_is_no_token_is_refused(gated: Gated, data: bytes) -> None:
    with gated.client() as client:
        refused = client.begin(SHORT, "ace", data)
        assert (refused.kind, refused.body[1]) == (CONNACK, NOT_AUTHORIZED)


def test_another_method_is_not_supported(gated: Gated) -> None:
    with gated.client() as client:
        refused = client.begin(SHORT, "SCRAM-SHA-1", write_token(Device(gated).token()))
        assert (refused.kind, refused.body[1]) == (CONNACK, BAD_METHOD)


@pytest.mark.parametrize("username", [SERVICE, "admin", OTHER, "pending:1"])
def test_the_user_name_is_held_to_the_same_road(gated: Gated, username: str) -> None:
    device = Device(gated)
    with gated.client() as client:
        client.send(write_connect(SHORT, username=username, method="ace", data=write_token(device.token())))
        assert client.receive().body[1] == NOT_AUTHORIZED
    assert gated.decisions(outcome="refused", reason="username_mismatch") >= 1


def test_a_service_accounts_password_with_a_method_opens_nothing(gated: Gated) -> None:
    with gated.client() as client:
        client.send(
            write_connect(
                "bridge-9",
                username=SERVICE,
                password=b"correct horse battery staple",
                method="ace",
                data=b"",
            )
        )
        assert client.receive().body[1] == NOT_AUTHORIZED


def test_nothing_may_be_sent_before_the_exchange_has_ended(gated: Gated) -> None:
    device = Device(gated)
    with gated.service() as bridge, gated.client() as client:
        bridge.subscribe("assets/#")
        device.begin(client)
        with pytest.raises((Closed, TimeoutError)):
            client.publish(f"assets/{ASSET}/events/early", b"early")
        with gated.device(suffix=":later") as later:
            later.publish(f"assets/{ASSET}/events/later", b"later")
        fresh = next(message for message in iter(lambda: bridge.messages(1)[0], None) if not message.retain)
        assert fresh.payload == b"later"


def test_a_will_of_a_client_that_never_came_in_is_not_sent(gated: Gated) -> None:
    device = Device(gated)
    with gated.service() as bridge:
        bridge.subscribe("assets/#")
        client = gated.client()
        will = Will(f"assets/{ASSET}/events/will", b"will", 1, retain=False)
        client.send(write_connect(SHORT, will=will, method="ace", data=write_token(device.token())))
        assert client.receive().kind == AUTH
        client.close()
        with gated.device(suffix=":later") as later:
            later.publish(f"assets/{ASSET}/events/later", b"later")
        fresh = next(message for message in iter(lambda: bridge.messages(1)[0], None) if not message.retain)
        assert fresh.payload == b"later"


def test_who_does_not_answer_is_cut_whatever_its_keepalive(short: Gated) -> None:
    device = Device(short)
    with device.connect(":live") as live, short.client() as silent:
        asked = silent.begin(SHORT + ":live", "ace", write_token(device.token()), keepalive=0)
        assert asked.kind == AUTH
        assert silent.wait_closed() == ADMINISTRATIVE
        live.ping()
        assert live.publish(f"assets/{ASSET}/telemetry") == 0
    short.broker.wait_for("did not answer its challenge")


def test_a_session_whose_client_id_an_exchange_abused_still_ends_with_its_token(short: Gated) -> None:
    """2.0 forgets a live client id when an exchange for the same one is given up half way."""
    device = Device(short)
    ended = int(time.time()) - ALMOST_OVER + 4
    with device.connect(":victim", device.token(exp=ended)) as victim:
        with short.client() as half:
            device.begin(half, ":victim")
        short.broker.wait_for("'02iAB00000CdEfG:victim': expired")
        assert victim.wait_closed() == ADMINISTRATIVE


def test_re_authentication_renews_the_session(gated: Gated) -> None:
    device = Device(gated)
    ended = int(time.time()) - ALMOST_OVER + 1
    with (
        device.connect(":renews", device.token(exp=ended)) as client,
        device.connect(":lapses", device.token(exp=ended)) as witness,
    ):
        done = device.renew(client)
        assert (done.kind, done.body[0]) == (AUTH, 0)
        assert witness.wait_closed() == ADMINISTRATIVE
        client.ping()
        assert client.publish(f"assets/{ASSET}/telemetry") == 0
        again = device.renew(client)
        assert (again.kind, again.body[0]) == (AUTH, 0)


@pytest.mark.parametrize("asset", [OTHER_SHORT])
def test_re_authentication_as_another_asset_ends_the_session(gated: Gated, asset: str) -> None:
    device, other = Device(gated), Device(gated, asset)
    with device.connect(":same", device.token()) as client:
        client.authenticate(RE_AUTHENTICATE, "ace", write_token(other.token()))
        assert client.wait_closed() == ADMINISTRATIVE
    assert gated.broker.alive


def test_re_authentication_with_a_bad_token_or_answer_ends_the_session_without_its_will(
    gated: Gated,
) -> None:
    device = Device(gated)
    before = sessions(gated)
    with device.connect(":bad-token") as one, device.connect(":bad-answer") as two:
        one.authenticate(RE_AUTHENTICATE, "ace", write_token(gated.mint.expired()))
        assert one.wait_closed() == ADMINISTRATIVE
        asked = two.authenticate(RE_AUTHENTICATE, "ace", write_token(device.token()))
        two.authenticate(
            CONTINUE_AUTHENTICATION, "ace", device.answer(authentication_data(asked.body), make_key())
        )
        assert two.wait_closed() == ADMINISTRATIVE
    wait_sessions(gated, int(before))


@pytest.mark.parametrize("times", [1, 3])
def test_an_auth_packet_without_content_ends_the_session_and_the_broker_lives(
    gated: Gated, times: int
) -> None:
    """The broker forgets the client id of a live session when a plugin refuses such a packet."""
    device = Device(gated)
    for n in range(20):
        with device.connect(f":empty{n}") as client:
            client.send(packet(AUTH, 0, b"") * times)
            # What the broker has not read when it ends a connection may cost the client the DISCONNECT.
            assert client.wait_closed() in ({ADMINISTRATIVE} if times == 1 else {ADMINISTRATIVE, None})
    with device.connect(":empty0") as again:
        again.ping()
    assert gated.broker.alive


def test_sighup_keeps_who_came_in_by_an_exchange(gated: Gated) -> None:
    device = Device(gated)
    with device.connect(":hup") as client:
        before = len(gated.broker.log)
        gated.broker.reload()
        gated.broker.wait_for("Reloading config", after=before)
        client.ping()
        assert client.publish(f"assets/{ASSET}/telemetry") == 0
        assert (device.renew(client).body[0]) == 0


def test_connections_that_were_challenged_and_dropped_leave_nothing_behind(gated: Gated) -> None:
    device = Device(gated, OTHER_SHORT)
    wait_sessions(gated, 0)
    token = device.token()
    for n in range(50):
        with gated.client() as client:
            device.begin(client, f":{n}", token)
    with device.connect() as client:
        wait_sessions(gated, 1)
        client.ping()
    wait_sessions(gated, 0)


def test_a_copy_of_a_token_leaves_some_exchanges_unfinished_and_keeps_its_device_not_out(
    gate_of: Gates, tmp_path: Path
) -> None:
    """2.0 keeps what is left of each until the session that it asked for would have ended."""
    with gate_of(tmp_path) as gated:
        device = Device(gated)
        token = device.token()
        device.connect(token=token).close()
        left = []
        for place in range(2, 6):
            begun = 0
            while True:
                with Client(gated.broker.port, version=5, source=f"127.0.0.{place}") as thief:
                    asked = thief.begin(SHORT, "ace", write_token(token))
                    if asked.kind == CONNACK:
                        break
                    begun += 1
            left.append(begun)
        # An address pays five a second back, and the broker notices a little later that one has gone.
        assert 50 <= left[0] < 70
        assert 100 <= sum(left) <= 102
        assert left[-1] == 0
        assert gated.decisions(outcome="refused", reason="throttled") == len(left)
        gated.broker.wait_for("throttled .too many exchanges of the asset or from there never ended")
        with device.connect(token=token) as client:
            client.ping()


def test_possession_required_refuses_the_bare_token(gate_of: Gates, tmp_path: Path) -> None:
    with gate_of(tmp_path) as gated:
        config = tmp_path / "gate.toml"
        config.write_text(
            config.read_text().replace(
                "[[service_accounts]]", '[issuers.possession]\nmode = "required"\n\n[[service_accounts]]', 1
            )
        )
        device = Device(gated)
        with device.connect(":proved") as proved, gated.device(suffix=":bare") as bare:
            gated.broker.wait_for("gate.toml is in force as it is now")
            assert bare.wait_closed() in (None, ADMINISTRATIVE)
            proved.ping()
            assert proved.publish(f"assets/{ASSET}/telemetry") == 0
            token = device.token()
            reason = gated.refusal(lambda client: client.connect(SHORT + ":x", "", token))
            assert reason == "possession_required"
            with device.connect(":later") as later:
                later.ping()


def test_the_token_of_an_exchange_is_in_no_log(gated: Gated) -> None:
    device = Device(gated)
    token = device.token()
    with device.connect(":quiet", token) as client:
        device.renew(client, token)
    assert token.decode()[-40:] not in gated.broker.log


def take_the_place_of(gated: Gated, device: Device, suffix: str) -> None:
    """Have the broker lose a live session's client id, and store another session under it."""
    with gated.client() as half:
        device.begin(half, suffix)
    with device.connect(suffix + "-witness") as witness:
        witness.ping()
    with gated.client() as stored:
        assert stored.connect(SHORT + suffix, "", device.token(), clean=False, expiry=3600) == 0
        stored.disconnect()


@pytest.mark.parametrize("asked", ["before", "after"])
def test_a_session_that_was_taken_over_is_never_renewed(gated: Gated, asked: str) -> None:
    """Renewed and ended then, it would have the broker end the stored session of its client id twice."""
    device = Device(gated)
    suffix = f":{asked}"
    answers: list[Packet] = []
    # 2.1 ends the connection when it is taken over.
    with device.connect(suffix) as victim, contextlib.suppress(Closed):
        if asked == "after":
            take_the_place_of(gated, device, suffix)
        answers += [victim.authenticate(RE_AUTHENTICATE, "ace", write_token(device.token()))]
        if asked == "before":
            take_the_place_of(gated, device, suffix)
        nonce = authentication_data(answers[0].body) if answers[0].kind == AUTH else b""
        answers += [victim.authenticate(CONTINUE_AUTHENTICATION, "ace", device.answer(nonce))]
        victim.wait_closed()
    assert all((each.kind, each.body[0]) != (AUTH, 0) for each in answers)
    with gated.client() as again:
        assert again.connect(SHORT + suffix, "", device.token(), clean=False) == 0


def test_a_session_that_the_broker_does_not_ask_about_ends_with_the_policy(
    gate_of: Gates, tmp_path: Path
) -> None:
    """A new policy is for everyone, also for whom the broker has lost out of sight."""
    with gate_of(tmp_path) as gated:
        device, other = Device(gated), Device(gated, OTHER_SHORT)
        config = tmp_path / "gate.toml"
        token = other.token(aud=[AUDIENCE, "https://new.example.com"])
        with device.connect(":hidden") as hidden, other.connect(":seen", token) as seen:
            with gated.client() as half:
                device.begin(half, ":hidden")
            seen.ping()
            config.write_text(config.read_text().replace(AUDIENCE, "https://new.example.com"))
            gated.broker.wait_for("gate.toml is in force as it is now")
            assert hidden.wait_closed() in (None, ADMINISTRATIVE)
            seen.ping()
