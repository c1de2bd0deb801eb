import json
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authplugin.errors import ConfigurationError
from authplugin.issuer import KeyRing
from authplugin.issuer.keyring import MAX_RETIRED
from authplugin.jose.jwk import is_secret
from tests.support.issuer import device_key


def supply() -> Callable[[], RSAPrivateKey]:
    """Keys made once a run, in the same order each time."""
    numbers = iter(range(100, 200))

    def generate() -> RSAPrivateKey:
        key = device_key("RS256", next(numbers))
        assert isinstance(key, RSAPrivateKey)
        return key

    return generate


def published(ring: KeyRing) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(ring.publish()[0])["keys"]
    return found


def test_it_publishes_public_halves_only_and_names_the_text() -> None:
    ring = KeyRing(generate=supply())
    (jwk,) = published(ring)
    assert jwk.keys() == {"kty", "n", "e", "kid", "use", "alg"}
    etag = ring.publish()[1]
    assert etag.startswith('"')
    ring.rotate()
    assert ring.publish()[1] != etag


def test_rotation_counts_on_and_the_old_key_still_verifies() -> None:
    ring = KeyRing("190", generate=supply())
    old = ring.sign({"n": 1})
    assert [ring.rotate(), ring.rotate()] == ["190-2", "190-3"]
    assert [jwk["kid"] for jwk in published(ring)] == ["190-3", "190-2", "190"]
    keys = jwt.PyJWKSet.from_dict(json.loads(ring.publish()[0]))
    assert jwt.decode(old, keys["190"], algorithms=["RS256"]) == {"n": 1}
    assert jwt.decode(ring.sign({"n": 2}), keys["190-3"], algorithms=["RS256"]) == {"n": 2}


def test_withdrawal_leaves_the_new_key_alone() -> None:
    ring = KeyRing(generate=supply())
    ring.rotate()
    ring.rotate(withdraw=True)
    assert [jwk["kid"] for jwk in published(ring)] == ["Assets-3"]
    assert ring.verifying_key("Assets") is None


def test_the_oldest_retired_keys_go() -> None:
    ring = KeyRing(generate=supply())
    for _ in range(MAX_RETIRED + 3):
        ring.rotate()
    assert len(published(ring)) == MAX_RETIRED + 1
    assert ring.verifying_key("Assets") is None


def test_the_file_holds_one_private_key_and_brings_everything_back(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    ring = KeyRing(path=path, generate=supply())
    ring.rotate()
    held = json.loads(path.read_text())["keys"]
    assert [is_secret(jwk) for jwk in held] == [True, False]
    assert path.stat().st_mode & 0o777 == 0o600
    again = KeyRing("Other", path=path, generate=supply())
    assert again.publish() == ring.publish()
    assert again.kid == "Assets-2"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys":[]}',
        '{"keys":[{}]}',
        '{"keys":[{"kty":"RSA"}]}',
        '{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","d":"c2VjcmV0","kid":"k"}]}',
        '{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"k"}]}',
        "\x00\xff",
    ],
)
def test_another_file_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="delete the file") as caught:
        KeyRing(path=path)
    assert "c2VjcmV0" not in str(caught.value)
    assert path.read_text() == text


def test_a_public_or_small_key_is_no_signing_key(tmp_path: Path) -> None:
    ring = KeyRing(generate=supply())
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_bytes(ring.publish()[0])
    with pytest.raises(ConfigurationError):
        KeyRing(path=path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys"
    KeyRing(path=path, generate=supply())
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="mode 0600"):
        KeyRing(path=path)


def test_a_rotation_that_cannot_be_kept_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "directory" / "keys"
    path.parent.mkdir()
    ring = KeyRing(path=path, generate=supply())
    before = ring.publish()
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(ConfigurationError):
        ring.rotate()
    assert (ring.publish(), ring.kid) == (before, "Assets")
