"""Mints asset tokens as the issuer does, and the hostile ones that a gate must refuse.

A good token has the header and claims of the vendor's own sample: ``kid``, ``typ`` and ``alg`` in
the header; ``aud`` as a list, ``nbf``, ``iss``, ``cnf.jwk``, ``id``, ``exp``, ``aid`` and ``did`` in
the payload, written as JSON without white space.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import Algorithm, get_default_algorithms

from authplugin.clock import Clock, SystemClock

VALIDITY_SECONDS = 518400
"""How long a token lives unless told otherwise: six days, as in the sample."""

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

_MAKE: Mapping[str, Callable[[], PrivateKey]] = {
    "RS256": lambda: generate_rsa(65537, 2048),
    "ES256": lambda: generate_ec(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate,
}
_ALGORITHMS = get_default_algorithms()


class TokenMint:
    """One issuer with its signing key.

    Attributes:
        issuer: ``iss`` of its tokens.
        audience: the one name in ``aud``.
        kid: name of the key in use.
        algorithm: ``RS256``, ``ES256`` or ``EdDSA``.
        key: the private key in use.
        device_jwk: public JWK of the device's key, as ``cnf.jwk`` carries it.
    """

    def __init__(
        self,
        issuer: str = "https://acme.my.site.com",
        audience: str = "https://ingest.example.com",
        *,
        kid: str = "Assets",
        algorithm: str = "RS256",
        key: PrivateKey | None = None,
        device_key: PrivateKey | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make keys unless given: generating RSA takes a tenth of a second or so.

        Args:
            issuer: ``iss``.
            audience: the one name in ``aud``.
            kid: name of the signing key.
            algorithm: what it signs with.
            key: the private key, None to generate one.
            device_key: the device's key, None to generate an RSA one.
            clock: what ``nbf`` is now by; None for the machine's.
        """
        self.issuer = issuer
        self.audience = audience
        self.kid = kid
        self.algorithm = algorithm
        self.key = key if key is not None else _MAKE[algorithm]()
        self._retired: list[dict[str, object]] = []
        self._clock = clock if clock is not None else SystemClock()
        self.device_jwk = {"kid": "devicekey"} | _public_jwk(device_key or _MAKE["RS256"]())

    def __repr__(self) -> str:
        return f"TokenMint({self.issuer!r}, kid={self.kid!r}, {self.algorithm})"

    def jwk(self) -> dict[str, object]:
        """The public key in use, as the issuer publishes it."""
        return _public_jwk(self.key) | {"kid": self.kid, "use": "sig", "alg": self.algorithm}

    def jwks(self) -> dict[str, object]:
        """The key set: the key in use, and those before it that `rotate` kept."""
        return {"keys": [self.jwk(), *self._retired]}

    def rotate(self, kid: str, *, keep: bool = True) -> None:
        """Sign with a new key from now on; the old one stays published if ``keep``.

        The same ``kid`` with new material is what careless issuers do; the old one is not kept then.
        """
        if keep and kid != self.kid:
            self._retired.insert(0, self.jwk())
        self.kid = kid
        self.key = _MAKE[self.algorithm]()

    def header(self, changes: Mapping[str, object] | None = None) -> dict[str, object]:
        """The header of the sample; ``changes`` replace members, None removes one."""
        return _changed({"kid": self.kid, "typ": "JWT", "alg": self.algorithm}, changes or {})

    def claims(self, **changes: object) -> dict[str, object]:
        """The claims of the sample, valid from now for six days; None removes one."""
        now = int(self._clock.now())
        sample: dict[str, object] = {
            "aud": [self.audience],
            "nbf": now,
            "iss": self.issuer,
            "cnf": {"jwk": self.device_jwk},
            "id": "05bAB0000000001",
            "exp": now + VALIDITY_SECONDS,
            "aid": "02iAB00000CdEfG",
            "did": "0a1b2c3d-0000-4000-8000-000000000001",
        }
        return _changed(sample, changes)

    def mint(self, **changes: object) -> bytes:
        """A token that the issuer could have made; ``changes`` replace claims, None removes one."""
        return self.sign(self.claims(**changes))

    def sign(
        self,
        payload: Mapping[str, object] | bytes,
        *,
        header: Mapping[str, object] | bytes | None = None,
        key: PrivateKey | None = None,
        algorithm: str | None = None,
    ) -> bytes:
        """Sign anything at all, for tokens that no issuer would make.

        Args:
            payload: claims, or the payload's bytes as they are.
            header: the header, or its bytes as they are; None for the sample's.
            key: the private key, None for the mint's own.
            algorithm: what signs, whatever the header says; None for the mint's own.
        """
        head = self.header() if header is None else header
        signing_input = base64url(_json(head)) + b"." + base64url(_json(payload))
        signer: Algorithm = _ALGORITHMS[algorithm or self.algorithm]
        signature = signer.sign(signing_input, key if key is not None else self.key)
        return signing_input + b"." + base64url(signature)

    def expired(self) -> bytes:
        """Ended a day ago: ``expired``."""
        now = int(self._clock.now())
        return self.mint(nbf=now - VALIDITY_SECONDS, exp=now - 86400)

    def not_yet_valid(self) -> bytes:
        """Begins in an hour: ``not_yet_valid``."""
        return self.mint(nbf=int(self._clock.now()) + 3600)

    def without_expiry(self) -> bytes:
        """Never ends: ``exp_missing``."""
        return self.mint(exp=None)

    def wrong_audience(self) -> bytes:
        """Meant for someone else: ``audience_mismatch``."""
        return self.mint(aud=["https://elsewhere.example.com"])

    def unknown_issuer(self) -> bytes:
        """From an issuer nobody configured: ``issuer_unknown``."""
        return self.mint(iss="https://stranger.example.com")

    def unknown_key(self) -> bytes:
        """Signed by a key the issuer never published, under a name of its own: ``key_unknown``."""
        stranger = _MAKE[self.algorithm]()
        return self.sign(self.claims(), header=self.header({"kid": "Stranger"}), key=stranger)

    def forged(self) -> bytes:
        """Signed by a stranger's key under the issuer's ``kid``: ``signature_invalid``."""
        return self.sign(self.claims(), key=_MAKE[self.algorithm]())

    def alg_none(self) -> bytes:
        """Unsigned, and says so: ``alg_not_allowed``."""
        header = self.header({"alg": "none"})
        return base64url(_json(header)) + b"." + base64url(_json(self.claims())) + b"."

    def hmac_with_public_key(self) -> bytes:
        """HS256 with the public key's PEM as secret: ``alg_not_allowed``."""
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return self.hmac(pem)

    def hmac(self, secret: bytes) -> bytes:
        """HS256 with any secret: ``alg_not_allowed``."""
        signing_input = (
            base64url(_json(self.header({"alg": "HS256"}))) + b"." + base64url(_json(self.claims()))
        )
        return signing_input + b"." + base64url(hmac.digest(secret, signing_input, hashlib.sha256))

    def id_token(self) -> bytes:
        """An OpenID Connect ID token of the same issuer, same key: ``not_asset_token``."""
        now = int(self._clock.now())
        claims = {
            "at_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng",
            "sub": f"{self.issuer}/id/00DAB0000000001AAA/005AB0000000001AAA",
            "aud": self.audience,
            "iss": self.issuer,
            "exp": now + 120,
            "iat": now,
        }
        return self.sign(claims)

    def access_token(self) -> bytes:
        """A JWT access token of the same issuer, same key: ``not_asset_token``."""
        header = self.header({"tty": "sfdc-core-token", "ver": "1.0"})
        now = int(self._clock.now())
        claims = {
            "scp": "api",
            "aud": [self.audience],
            "sub": "uid:005AB0000000001AAA",
            "nbf": now,
            "iss": self.issuer,
            "exp": now + 900,
            "iat": now,
            "client_id": "3MVG9example",
        }
        return self.sign(claims, header=header)


def base64url(data: bytes) -> bytes:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _json(value: Mapping[str, object] | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _changed(sample: dict[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**sample, **changes}.items() if value is not None}


def _public_jwk(key: PrivateKey) -> dict[str, object]:
    """The public members only, as issuers write them."""
    name = (
        "RS256"
        if isinstance(key, RSAPrivateKey)
        else "EdDSA"
        if isinstance(key, Ed25519PrivateKey)
        else "ES256"
    )
    algorithm: Algorithm = _ALGORITHMS[name]
    jwk = cast("dict[str, object]", algorithm.to_jwk(key.public_key(), as_dict=True))
    return {member: jwk[member] for member in ("kty", "crv", "e", "n", "x", "y") if member in jwk}
