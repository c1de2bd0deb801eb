"""The issuer's keys: one that signs, and those before it that stay published (RFC 7517 §5).

With a key file the ring outlives the process: a JWK Set whose first key has its private half.
"""

import hashlib
import os
import stat
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeGuard, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import RSAAlgorithm
from jwt.exceptions import PyJWTError

from authplugin.errors import ConfigurationError, KeySetError
from authplugin.jose.compact import is_kid
from authplugin.jose.jwk import admit_set
from authplugin.jose.key import VerifyingKey

RSA_BITS = 2048
MAX_RETIRED = 7
"""Most retired keys that stay published; the oldest goes first."""

_FILE_LIMIT = 65536
_ALGORITHMS = frozenset({"RS256"})


class _KeyFile(msgspec.Struct, frozen=True):
    keys: Annotated[list[dict[str, object]], msgspec.Meta(min_length=1, max_length=1 + MAX_RETIRED)]


def generate_key() -> RSAPrivateKey:
    """A new RSA key; takes a tenth of a second or so, more on a busy machine."""
    return generate_private_key(65537, RSA_BITS)


class _Ring(msgspec.Struct, frozen=True):
    """One state of the ring; whoever signs or publishes reads it once, so that a rotation has no halves."""

    kid: str
    key: RSAPrivateKey
    retired: tuple[Mapping[str, object], ...]
    verifying: Mapping[str, VerifyingKey]
    document: bytes
    etag: str


def _make_ring(kid: str, key: RSAPrivateKey, retired: Sequence[Mapping[str, object]]) -> _Ring:
    published = {"keys": [_public_jwk(kid, key), *retired]}
    document = msgspec.json.encode(published)
    etag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
    return _Ring(kid, key, tuple(retired), admit_set(published, _ALGORITHMS).keys, document, etag)


class KeyRing:
    """Signs with one key and publishes it with its predecessors."""

    def __init__(
        self,
        name: str = "Assets",
        *,
        path: Path | None = None,
        generate: Callable[[], RSAPrivateKey] = generate_key,
    ) -> None:
        """Read the key file, or make a key and write the file when there is none.

        Args:
            name: ``kid`` of the first key; each rotation counts on: ``Assets``, ``Assets-2``…
            path: the key file; None keeps keys in memory.
            generate: where new keys come from.

        Raises:
            ConfigurationError: the file is not ours to read, open to others, or no key set.
        """
        self._path = path
        self._generate = generate
        if path is not None and path.exists():
            self._ring = self._load(path)
        else:
            self._ring = _make_ring(name, generate(), ())
            self._save(self._ring)

    def __repr__(self) -> str:
        return f"KeyRing({self.kid!r}, {len(self._ring.retired)} retired)"

    @property
    def kid(self) -> str:
        """Name of the key that signs."""
        return self._ring.kid

    def publish(self) -> tuple[bytes, str]:
        """The JWK Set as JSON, and the quoted tag that names it (RFC 9110 §8.8.3)."""
        return self._ring.document, self._ring.etag

    def rotate(self, *, withdraw: bool = False) -> str:
        """Sign with a new key from now on; tokens of the old one verify for as long as it is published.

        Args:
            withdraw: publish none of the old keys any more, as after a leak.

        Returns:
            the new key's ``kid``.

        Raises:
            ConfigurationError: the key file cannot be written; the ring stays as it was.
        """
        old = self._ring
        name, _, number = old.kid.rpartition("-")
        counted = bool(name) and number.isascii() and number.isdecimal()
        kid = f"{name}-{int(number) + 1}" if counted else f"{old.kid}-2"
        retired = () if withdraw else (_public_jwk(old.kid, old.key), *old.retired)[:MAX_RETIRED]
        new = _make_ring(kid, self._generate(), retired)
        self._save(new)
        self._ring = new
        return kid

    def sign(self, claims: Mapping[str, object], *, header: Mapping[str, object] | None = None) -> str:
        """A compact JWS over ``claims`` (RFC 7515 §7.1); ``header`` adds to ``kid``, ``typ`` and ``alg``."""
        ring = self._ring
        head = {"kid": ring.kid, "typ": "JWT", "alg": "RS256", **(header or {})}
        signing_input = b".".join(map(_base64url, (msgspec.json.encode(head), msgspec.json.encode(claims))))
        signature = ring.key.sign(signing_input, PKCS1v15(), SHA256())
        return (signing_input + b"." + _base64url(signature)).decode()

    def verifying_key(self, kid: object) -> VerifyingKey | None:
        """The published key of that name."""
        return self._ring.verifying.get(kid) if isinstance(kid, str) else None

    def _save(self, ring: _Ring) -> None:
        """Replace the key file as a whole: a reader sees the old ring or the new one."""
        if self._path is None:
            return
        private = cast("dict[str, object]", RSAAlgorithm.to_jwk(ring.key, as_dict=True))
        text = msgspec.json.encode({"keys": [{**private, "kid": ring.kid}, *ring.retired]})
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(descriptor)
                new.replace(self._path)
            except OSError:
                new.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._wrong(error.strerror or "no file", "a place this user may write") from None

    def _load(self, path: Path) -> _Ring:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                mode = os.fstat(descriptor).st_mode
                text = file.read(_FILE_LIMIT) if stat.S_ISREG(mode) and not mode & 0o077 else None
        except OSError as error:
            raise self._wrong(error.strerror or "no file", "a file this user may read") from None
        if text is None:
            found = f"mode {stat.S_IMODE(mode):04o}"
            raise self._wrong(found, "a regular file of mode 0600: it holds a private key")
        try:
            held = msgspec.json.decode(text, type=_KeyFile).keys
            key, kid = RSAAlgorithm.from_jwk(held[0]), held[0].get("kid")
            ring = _make_ring(kid, key, held[1:]) if _is_signing_key(key) and is_kid(kid) else None
        except (msgspec.DecodeError, PyJWTError, KeySetError, ValueError, TypeError, KeyError):
            ring = None
        # The causes could show key material; what to do is the same for all of them.
        if ring is None or ring.kid not in ring.verifying:
            raise self._wrong("no usable key set", "what this issuer wrote; delete the file for a new key")
        return ring

    def _wrong(self, found: str, expected: str) -> ConfigurationError:
        return ConfigurationError(
            file=str(self._path), line=None, key="--key-file", found=found, expected=expected
        )


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _is_signing_key(key: object) -> TypeGuard[RSAPrivateKey]:
    return isinstance(key, RSAPrivateKey)


def _public_jwk(kid: str, key: RSAPrivateKey) -> dict[str, object]:
    numbers = cast("dict[str, object]", RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))
    return {
        **{member: numbers[member] for member in ("kty", "n", "e")},
        "kid": kid,
        "use": "sig",
        "alg": "RS256",
    }
