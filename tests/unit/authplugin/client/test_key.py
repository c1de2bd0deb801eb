import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authplugin.client import load_key, make_key
from authplugin.client.key import DeviceKey, algorithm_of, public_jwk, write_actor_token

ALGORITHMS = ("ES256", "RS256", "EdDSA")


def pem(key: DeviceKey | ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_actor_token_is_signed_by_the_key_that_it_binds(algorithm: str) -> None:
    key = make_key(algorithm)
    token = write_actor_token({"did": "press-7", "Name": "Prêss"}, key)
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, jwt.PyJWK(public_jwk(key), algorithm), algorithms=[algorithm])
    assert header == {"typ": "JWT", "alg": algorithm_of(key)}
    assert claims == {"did": "press-7", "Name": "Prêss", "cnf": {"jwk": public_jwk(key)}}
    assert "d" not in public_jwk(key)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_read_from_pem(algorithm: str, tmp_path: Path) -> None:
    key = make_key(algorithm)
    (tmp_path / "device.pem").write_bytes(pem(key))
    assert public_jwk(load_key(tmp_path / "device.pem")) == public_jwk(key)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"no key", "not an unencrypted private key"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "secp384r1, not P-256"),
        (pem(x25519.X25519PrivateKey.generate()), "not an RSA, P-256 or Ed25519 key"),
    ],
)
def test_a_file_without_such_a_key_is_named(text: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "device.pem").write_bytes(text)
    with pytest.raises(ValueError, match=says) as refused:
        load_key(tmp_path / "device.pem")
    assert "device.pem" in str(refused.value)


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="HS256"):
        make_key("HS256")


def test_a_jwk_keeps_leading_zeros_of_a_point() -> None:
    while True:
        key = ec.generate_private_key(ec.SECP256R1())
        if key.public_key().public_numbers().x < 1 << 248:
            break
    assert len(public_jwk(key)["x"]) == 43
    assert json.dumps(public_jwk(key))
