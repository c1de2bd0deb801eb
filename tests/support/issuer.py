"""The development issuer as a process, devices that register with it, and a plain HTTP client."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

_ROOT = Path(__file__).parents[2]

SECRET = "correct horse battery staple"
AUDIENCE = "https://ingest.example.com"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_MAKE: Mapping[str, Callable[[], PrivateKey]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@cache
def device_key(algorithm: str, number: int) -> PrivateKey:
    """A device's private key, the same one for the whole run."""
    assert number >= 0
    return _MAKE[algorithm]()


@dataclass
class Device:
    """A device with a key; PyJWT signs for it."""

    number: int = 0
    algorithm: str = "ES256"

    @property
    def did(self) -> str:
        return f"0a1b2c3d-0000-4000-8000-{self.number:012}"

    @property
    def jwk(self) -> dict[str, Any]:
        public = device_key(self.algorithm, self.number).public_key()
        made = get_default_algorithms()[self.algorithm].to_jwk(public, as_dict=True)
        return {"kid": "devicekey"} | {name: made[name] for name in made if name != "key_ops"}

    def claims(self, **changes: object) -> dict[str, object]:
        """What it says of itself; None removes a claim."""
        said = {
            "did": self.did,
            "Name": f"Press {self.number} token",
            "Asset": {
                "Name": f"Press {self.number}",
                "SerialNumber": f"SN-{self.number:04}",
                "AccountId": "001AB0000000001",
                "ContactId": "003AB0000000001",
            },
            "firmware": "4.2",
            "cnf": {"jwk": self.jwk},
        } | changes
        return {name: value for name, value in said.items() if value is not None}

    def actor_token(self, **changes: object) -> str:
        return self.sign(self.claims(**changes))

    def sign(self, claims: Mapping[str, object], **header: object) -> str:
        key = device_key(self.algorithm, self.number)
        return jwt.encode(dict(claims), key, self.algorithm, headers=header or None)

    def leave_unsigned(self, **changes: object) -> str:
        """The actor token with ``alg: none``."""
        return jwt.encode(self.claims(**changes), None, "none")  # type: ignore[arg-type]


@dataclass
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the answer holds
        return json.loads(self.body)


@dataclass
class RunningIssuer:
    """An issuer that listens."""

    ready: Mapping[str, str]
    process: "subprocess.Popen[bytes]"
    log: Path
    _access: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.ready["issuer"]

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        parts = urlsplit(self.ready["token_endpoint"])
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            text = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, text)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post_form(self, form: object, **headers: str) -> Answer:
        """POST to the token endpoint, as ``application/x-www-form-urlencoded``."""
        body = form if isinstance(form, bytes) else urlencode(form).encode()  # type: ignore[arg-type]
        sent = {"content-type": "application/x-www-form-urlencoded"} | headers
        return self.request("POST", "/services/oauth2/token", body, sent)

    def credentials(self, **changes: str) -> dict[str, str]:
        form = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": SECRET} | changes
        return {name: value for name, value in form.items() if value}

    def access_token(self) -> str:
        """An access token, asked for once."""
        if not self._access:
            self._access.append(self.post_form(self.credentials()).json["access_token"])
        return self._access[0]

    def exchange_form(self, actor_token: str | None, /, **changes: str) -> dict[str, str]:
        """An exchange as the protocol has it; an empty change removes a parameter."""
        form = {
            "grant_type": EXCHANGE,
            "subject_token_type": ACCESS,
            "subject_token": self.access_token(),
        }
        if actor_token is not None:
            form |= {"actor_token_type": JWT, "actor_token": actor_token}
        form |= changes
        return {name: value for name, value in form.items() if value}

    def exchange(self, actor_token: str | None, /, **changes: str) -> Answer:
        return self.post_form(self.exchange_form(actor_token, **changes))

    def claims_of(self, token: str) -> dict[str, Any]:
        """The claims of a token that PyJWT verifies by the published keys."""
        keys = jwt.PyJWKSet.from_dict(self.get("/id/keys").json)
        key = keys[jwt.get_unverified_header(token)["kid"]]
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_aud": False}
        found: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], options=options)
        return found


@contextmanager
def run_issuer(
    directory: Path, *options: object, environment: Mapping[str, str] | None = None
) -> Iterator[RunningIssuer]:
    """Start ``authplugin issuer`` on a free port and end it by SIGTERM; it must end with 0."""
    secret = directory / "secret"
    secret.write_text(SECRET + "\n")
    log = directory / "log"
    words = ["--port", "0", "--audience", AUDIENCE, "--client-id", "demo", "--client-secret-file", secret]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "authplugin", "issuer", *map(str, [*words, *options])],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"the issuer did not start: {log.read_text()}"
        yield RunningIssuer(json.loads(line), process, log)
    finally:
        process.terminate()
        try:
            rest, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            rest, _ = process.communicate()
    assert (process.returncode, rest) == (0, b""), log.read_text()
