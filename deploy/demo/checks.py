"""What each line of the story is judged by: every check gives its verdict and what was seen."""

import asyncio
import base64
import http.client
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode, urlsplit

import aiomqtt

from authplugin.client.key import public_jwk
from deploy.demo.fleet import Device, Fleet
from deploy.demo.installation import OVERSIZE
from deploy.demo.metrics import scrape
from deploy.demo.witness import Witness

Verdict = tuple[bool, str]

_TIMEOUT_SECONDS = 10.0
_RSA_BITS = 2048
_SALESFORCE_ID = re.compile(r"02i[A-Za-z0-9]{12}")
_METRICS = {"temperature", "pressure", "vibration", "toner"}


async def published_key(issuer: str) -> Verdict:
    """The issuer's key set has a fit RSA key."""
    status, body = await asyncio.to_thread(_request, f"{issuer}/id/keys", None)
    keys = json.loads(body)["keys"] if status == http.client.OK else []
    bits = [8 * len(base64.urlsafe_b64decode(key["n"] + "==")) for key in keys if key.get("kty") == "RSA"]
    kids = ", ".join(str(key.get("kid")) for key in keys)
    return bool(bits) and min(
        bits
    ) >= _RSA_BITS, f"{issuer}/id/keys has kid {kids} of {min(bits, default=0)} bits"


async def refuses_strangers(issuer: str) -> Verdict:
    """The token endpoint refuses an unknown client as RFC 6749 says."""
    form = {"grant_type": "client_credentials", "client_id": "stranger", "client_secret": "guess"}
    status, body = await asyncio.to_thread(_request, f"{issuer}/services/oauth2/token", form)
    error = json.loads(body).get("error")
    return (status, error) == (http.client.UNAUTHORIZED, "invalid_client"), f"{status} {error}"


def tokens(devices: Iterable[Device], issuer: str, audience: str) -> Verdict:
    """Every asset token has the form and the claims of the contract, and each device's own key."""
    wrong = []
    for device in devices:
        token = device.token
        header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
        found = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        number = public_jwk(device.registration.key)["n"]
        jwk = found.get("cnf", {}).get("jwk", {})
        right = (
            header.get("alg") == "RS256"
            and found.get("iss") == issuer
            and found.get("aud") == [audience]
            and found.get("did") == device.registration.device_id
            and _SALESFORCE_ID.fullmatch(str(found.get("aid"))) is not None
            and jwk.get("n") == number
        )
        if not right:
            wrong.append(device.name)
    lengths = [len(device.token) for device in devices]
    return not wrong, f"wrong for {', '.join(wrong[:3])}" if wrong else f"{max(lengths)} bytes at most"


def token_events(devices: Sequence[Device], witness: Witness) -> Verdict:
    """One event for each device, keyed by its asset."""
    keys = sorted((key or b"").decode("utf-8", "replace") for key in witness.token_keys)
    named = {str(event.get("DeviceId")) for event in witness.tokens}
    due = sorted(device.asset_id for device in devices)
    ids = {device.registration.device_id for device in devices}
    return keys == due and named == ids, f"{len(keys)} events for {len(set(keys))} assets"


def strange_messages(witness: Witness, devices: Iterable[Device]) -> str:
    """What on the telemetry topic no device of ours can have sent; empty when there is nothing."""
    strangers = set(witness.telemetry) - {device.asset_id for device in devices}
    if strangers:
        return f"telemetry of {', '.join(sorted(strangers))}"
    return f"{witness.unsequenced} messages that no device sent" if witness.unsequenced else ""


def keyed(witness: Witness, devices: Sequence[Device]) -> Verdict:
    """Telemetry of every asset, and of no other, with all four metrics."""
    due = {device.asset_id for device in devices}
    poor = [asset for asset in due if not witness.metrics.get(asset, set()) >= _METRICS]
    records = sum(witness.telemetry.values())
    return set(
        witness.telemetry
    ) == due and not poor, f"{records} records for {len(witness.telemetry)} assets"


def complete(witness: Witness, taken: Mapping[str, int]) -> Verdict:
    """No sequence number is missing up to what each device had published."""
    behind = [asset for asset, at in taken.items() if witness.newest.get(asset, 0) < at]
    gaps = sum(max(seen) - len(seen) for seen in witness.sequences.values())
    seen = sum(len(numbers) for numbers in witness.sequences.values())
    if behind or gaps:
        return False, f"{gaps} messages are missing, {len(behind)} devices are behind"
    return True, f"{seen} messages, no gap in any device's sequence"


async def send_garbage(fleet: Fleet, device: Device) -> None:
    """A device that lost its mind: no JSON, then more than a message may hold."""
    topic = f"assets/{device.asset_id}/telemetry"
    async with aiomqtt.Client(
        *fleet.broker,
        identifier=f"{device.asset_id}:garbage",
        username=device.asset_id,
        password=device.token,
        protocol=aiomqtt.ProtocolVersion.V5,
    ) as client:
        await client.publish(topic, b'{"metrics": {"temperature": ', qos=1)
        await client.publish(topic, b" " * OVERSIZE, qos=1)


def dead(witness: Witness) -> Verdict:
    """Both are dead letters, each with its reason."""
    reasons = sorted(reason for _, reason in witness.dead)
    return reasons == ["malformed", "oversize"], ", ".join(reasons) or "no dead letters"


async def balanced(url: str) -> Verdict:
    """The worker's own counts: received is the sum of all that samples can become."""
    by = (await scrape(url)).by("processor_worker_samples_total", "outcome")
    received = by.get("received", 0.0)
    others = {name: count for name, count in by.items() if name != "received" and count}
    seen = ", ".join(f"{count:.0f} {name}" for name, count in sorted(others.items()))
    return received > 0 and received == sum(others.values()), f"{received:.0f} received: {seen}"


async def answer(urls: Mapping[str, str]) -> Verdict:
    """Every one answers 200."""
    silent = []
    for name, url in urls.items():
        try:
            status, _ = await asyncio.to_thread(_request, url, None)
        except OSError as error:
            status = 0
            silent.append(f"{name}: {error}")
        if status not in {0, http.client.OK}:
            silent.append(f"{name}: {status}")
    return not silent, "; ".join(silent)


def _request(url: str, form: Mapping[str, str] | None) -> tuple[int, bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_SECONDS)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
        body = urlencode(form) if form is not None else None
        connection.request("GET" if form is None else "POST", address.path, body, headers)
        with connection.getresponse() as found:
            return found.status, found.read()
    finally:
        connection.close()
