import json
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from authplugin.jose import verify_jws
from authplugin.jose.claims import check_claims, parse_claims
from authplugin.jose.identity import IdForm, canonical_asset_id
from tests.support.issuer import AUDIENCE, EXCHANGE, JWT, Answer, Device, RunningIssuer, run_issuer

_CONTRACTS = Path(__file__).parents[2] / "deploy" / "contracts"
_SIX_DAYS = 518400


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningIssuer]:
    with run_issuer(tmp_path_factory.mktemp("issuer")) as running:
        yield running


def registered(issuer: RunningIssuer, device: Device, **changes: object) -> dict[str, Any]:
    answer = issuer.exchange(device.actor_token(**changes))
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def newest_event(issuer: RunningIssuer) -> dict[str, Any]:
    answer = issuer.get("/development/events", authorization=f"Bearer {issuer.access_token()}")
    found: dict[str, Any] = answer.json["events"][-1]
    return found


def test_the_answer_has_exactly_the_members_of_the_protocol(issuer: RunningIssuer) -> None:
    answer = issuer.exchange(Device().actor_token())
    assert answer.status == 200
    assert answer.json == {
        "access_token": answer.json["access_token"],
        "issued_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_type": "Bearer",
        "expires_in": _SIX_DAYS,
    }
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.headers["cache-control"] == "no-store"


def test_an_asset_token_has_the_header_and_claims_of_the_sample_in_its_order(issuer: RunningIssuer) -> None:
    before = int(time.time())
    token = registered(issuer, Device(1, "RS256"))["access_token"]
    claims = issuer.claims_of(token)
    assert list(jwt.get_unverified_header(token).items()) == [
        ("kid", "Assets"),
        ("typ", "JWT"),
        ("alg", "RS256"),
    ]
    assert list(claims) == ["aud", "nbf", "iss", "cnf", "id", "exp", "aid", "did"]
    assert claims["aud"] == [AUDIENCE]
    assert claims["iss"] == issuer.url
    assert claims["cnf"] == {"jwk": Device(1, "RS256").jwk}
    assert claims["id"].startswith("05b")
    assert claims["aid"].startswith("02i")
    assert len(claims["id"]) == len(claims["aid"]) == 15
    assert claims["did"] == Device(1).did
    assert type(claims["nbf"]) is type(claims["exp"]) is int
    assert before <= claims["nbf"] <= time.time()
    assert claims["exp"] - claims["nbf"] == _SIX_DAYS


def test_the_gates_own_verification_takes_the_token(issuer: RunningIssuer) -> None:
    token = registered(issuer, Device(2))["access_token"].encode()
    payload = verify_jws(token, issuer.get("/id/keys").json, algorithms={"RS256"})
    check_claims(parse_claims(payload), audiences={AUDIENCE}, now=time.time())


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_device_binds_a_key_of_any_supported_kind(issuer: RunningIssuer, algorithm: str) -> None:
    device = Device(3, algorithm)
    claims = issuer.claims_of(registered(issuer, device)["access_token"])
    assert claims["cnf"]["jwk"] == device.jwk


def test_without_the_actor_pair_the_token_names_no_device_and_no_key(issuer: RunningIssuer) -> None:
    answer = issuer.exchange(None)
    assert list(issuer.claims_of(answer.json["access_token"])) == ["aud", "nbf", "iss", "id", "exp", "aid"]
    assert newest_event(issuer)["DeviceId"] is None


def test_the_requested_token_type_may_be_said(issuer: RunningIssuer) -> None:
    assert issuer.exchange(Device().actor_token(), requested_token_type=JWT).status == 200


def test_the_same_serial_number_is_the_same_asset_with_another_token(issuer: RunningIssuer) -> None:
    first = issuer.claims_of(registered(issuer, Device(4))["access_token"])
    second = issuer.claims_of(registered(issuer, Device(4), did="another")["access_token"])
    other = issuer.claims_of(registered(issuer, Device(5))["access_token"])
    assert first["aid"] == second["aid"] != other["aid"]
    assert first["id"] != second["id"]


def test_the_event_says_what_was_exchanged(issuer: RunningIssuer) -> None:
    device = Device(6)
    actor_token = device.actor_token()
    claims = issuer.claims_of(issuer.exchange(actor_token).json["access_token"])
    event = newest_event(issuer)
    Draft202012Validator(
        json.loads((_CONTRACTS / "asset-token-event.schema.json").read_text()), format_checker=FormatChecker()
    ).validate(event)
    assert event.keys() == {
        "ActorTokenPayload", "AssetId", "AssetName", "AssetSerialNumber", "ConnectedAppId", "UserId",
        "DeviceId", "DeviceKey", "EventUuid", "Expiration", "Name", "ReplayId",
    }  # fmt: skip
    assert json.loads(event["ActorTokenPayload"]) == device.claims()
    assert event["AssetId"] == canonical_asset_id(claims["aid"], IdForm.SALESFORCE)
    assert len(event["AssetId"]) == 18
    assert (event["AssetName"], event["AssetSerialNumber"]) == ("Press 6", "SN-0006")
    assert (event["DeviceId"], event["Name"]) == (device.did, "Press 6 token")
    assert json.loads(event["DeviceKey"]) == device.jwk
    assert uuid.UUID(event["EventUuid"])
    assert datetime.fromisoformat(event["Expiration"]).timestamp() == claims["exp"]
    assert (event["UserId"][:3], event["ConnectedAppId"][:3]) == ("005", "0H4")


def test_each_exchange_has_one_event_and_replay_ids_grow(issuer: RunningIssuer) -> None:
    registered(issuer, Device(7))
    first = newest_event(issuer)
    registered(issuer, Device(7))
    second = newest_event(issuer)
    assert int(first["ReplayId"]) < int(second["ReplayId"])
    assert first["EventUuid"] != second["EventUuid"]


def test_account_and_contact_are_read_from_the_asset_record_in_either_form_of_its_id(
    issuer: RunningIssuer,
) -> None:
    aid = issuer.claims_of(registered(issuer, Device(8))["access_token"])["aid"]
    bearer = f"Bearer {issuer.access_token()}"
    long_id = canonical_asset_id(aid, IdForm.SALESFORCE)
    for version, asset_id in (("v62.0", aid), ("v61.0", long_id)):
        answer = issuer.get(f"/services/data/{version}/sobjects/Asset/{asset_id}", authorization=bearer)
        assert answer.json == {
            "Id": long_id,
            "Name": "Press 8",
            "SerialNumber": "SN-0008",
            "AccountId": "001AB0000000001",
            "ContactId": "003AB0000000001",
        }


def test_an_id_token_and_an_access_token_look_as_the_vendors_do(issuer: RunningIssuer) -> None:
    answer = issuer.post_form(issuer.credentials(scope="openid")).json
    assert answer.keys() == {"access_token", "token_type", "expires_in", "scope", "id_token"}
    assert "tty" in jwt.get_unverified_header(answer["access_token"])
    claims = issuer.claims_of(answer["id_token"])
    assert claims.keys() == {"at_hash", "sub", "aud", "iss", "exp", "iat"}
    assert claims["aud"] == "demo"
    head, _, tail = claims["sub"].partition("/id/")
    organisation, user = tail.split("/")
    assert head == issuer.url
    assert (organisation[:3], user[:3]) == ("00D", "005")
    algorithm = jwt.get_algorithm_by_name("RS256")
    digest = algorithm.compute_hash_digest(answer["access_token"].encode())
    assert claims["at_hash"] == jwt.utils.base64url_encode(digest[:16]).decode()


def is_error(answer: Answer, status: int, code: str) -> bool:
    assert answer.json.keys() == {"error", "error_description"}
    assert answer.headers["cache-control"] == "no-store"
    return (answer.status, answer.json["error"]) == (status, code)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"subject_token": ""}, "invalid_request"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": JWT}, "invalid_request"),
        ({"actor_token_type": ""}, "invalid_request"),
        ({"actor_token_type": EXCHANGE}, "invalid_request"),
        ({"actor_token": ""}, "invalid_request"),
        ({"actor_token": "a.b.c"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"validity": "60"}, "invalid_request"),
        ({"audience": "https://elsewhere.example.com"}, "invalid_request"),
        ({"subject_token": "a.b.c"}, "invalid_grant"),
        ({"subject_token": "\N{SNOWMAN}"}, "invalid_grant"),
    ],
)
def test_a_wrong_parameter_is_answered_with_the_protocols_word(
    issuer: RunningIssuer, changes: dict[str, str], code: str
) -> None:
    assert is_error(issuer.exchange(Device().actor_token(), **changes), 400, code)


@pytest.mark.parametrize(
    "changes", [{"client_secret": "wrong"}, {"client_id": "stranger"}, {"client_id": ""}]
)
def test_a_wrong_client_is_invalid_client_and_told_the_scheme(
    issuer: RunningIssuer, changes: dict[str, str]
) -> None:
    answer = issuer.post_form(issuer.credentials(**changes))
    assert is_error(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


def test_another_kind_of_token_is_no_subject(issuer: RunningIssuer) -> None:
    id_token = issuer.post_form(issuer.credentials(scope="openid")).json["id_token"]
    asset_token = registered(issuer, Device())["access_token"]
    for token in (id_token, asset_token):
        assert is_error(issuer.exchange(None, subject_token=token), 400, "invalid_grant")


def test_an_actor_token_signed_by_another_key_than_it_binds_is_refused(issuer: RunningIssuer) -> None:
    stolen = Device(1).sign(Device(2).claims())
    assert is_error(issuer.exchange(stolen), 400, "invalid_grant")


def test_an_actor_token_that_binds_no_key_or_is_not_signed_is_refused(issuer: RunningIssuer) -> None:
    device = Device()
    for token in (
        device.actor_token(cnf=None),
        device.leave_unsigned(),
        device.leave_unsigned(cnf=None),
    ):
        assert is_error(issuer.exchange(token), 400, "invalid_grant")


def test_an_unsigned_actor_token_passes_where_it_is_set_so_and_binds_nothing(tmp_path: Path) -> None:
    with run_issuer(tmp_path, "--accept-unsigned-actors") as issuer:
        answer = issuer.exchange(Device().leave_unsigned(cnf=None))
        assert "cnf" not in issuer.claims_of(answer.json["access_token"])
        assert is_error(issuer.exchange(Device().leave_unsigned()), 400, "invalid_grant")
        assert is_error(issuer.exchange(Device().actor_token(cnf=None)), 400, "invalid_grant")
