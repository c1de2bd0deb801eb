"""Key sets for issuers that upload their keys: new pairs, certificates, sets that grow."""

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_der_x509_certificate

from authplugin.cli import main
from authplugin.jose.jwk import admit_set, thumbprint
from authplugin.testing import TokenMint
from tests.support.bearers import Bearer, certify

ALGORITHMS = {"RS256", "ES256", "EdDSA"}


def pem(der: bytes) -> bytes:
    return load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def mistake(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["jwks", *map(str, arguments)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_new_pair_signs_tokens_that_its_set_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    private = tmp_path / "key.pem"
    assert main(["jwks", "make", str(private), "--algorithm", algorithm, "--kid", "2026"]) == 0
    jwks = json.loads(capsys.readouterr().out)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    key = load_pem_private_key(private.read_bytes(), None)
    mint = TokenMint(kid="2026", algorithm=algorithm, key=key, device_key=key)  # type: ignore[arg-type] # one of ours
    assert jwks == {"keys": [mint.jwk()]}
    assert admit_set(jwks, {algorithm}).keys["2026"].bits >= 255


def test_keys_are_named_by_their_thumbprints_unless_told(tmp_path: Path) -> None:
    out = tmp_path / "set.json"
    files = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["jwks", "make", *files, "--algorithm", "EdDSA", "--out", str(out)]) == 0
    keys = json.loads(out.read_text())["keys"]
    assert [key["kid"] for key in keys] == [thumbprint(key) for key in keys]
    assert len(keys) == 2


def test_a_set_grows_in_place(tmp_path: Path) -> None:
    out = tmp_path / "set.json"
    for name in ("one", "two"):
        arguments = ["make", str(tmp_path / name), "--algorithm", "ES256", "--kid", name, "--out", str(out)]
        assert main(["jwks", *arguments, *(["--merge", str(out)] if out.exists() else [])]) == 0
    assert list(admit_set(json.loads(out.read_text()), ALGORITHMS).keys) == ["one", "two"]
    assert [path.name for path in tmp_path.iterdir()].count("set.json") == 1
    assert not list(tmp_path.glob("*.new"))


def test_no_private_key_is_written_over_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.write_text("precious")
    new = tmp_path / "new"
    assert "a file that is there already" in mistake(capsys, "make", new, taken, "--algorithm", "EdDSA")
    assert "a file that is there already" in mistake(capsys, "make", new, new, "--algorithm", "EdDSA")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert "there already" in mistake(capsys, "make", link, "--algorithm", "EdDSA")
    assert "No such file" in mistake(capsys, "make", tmp_path / "no" / "key", "--algorithm", "EdDSA")
    assert taken.read_text() == "precious"
    assert not new.exists()


def test_certificates_become_keys_with_the_digest_of_their_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bearers = [Bearer(algorithm) for algorithm in ("RS256", "ES256", "EdDSA")]
    der, many = tmp_path / "one.der", tmp_path / "many.pem"
    der.write_bytes(bearers[0].certificate)
    many.write_bytes(b"".join(pem(bearer.certificate) for bearer in bearers[1:]))
    assert main(["jwks", "from-cert", str(der), str(many), "--kid", "a", "--kid", "b", "--kid", "c"]) == 0
    jwks = json.loads(capsys.readouterr().out)
    assert list(admit_set(jwks, ALGORITHMS).keys) == ["a", "b", "c"]
    for key, bearer in zip(jwks["keys"], bearers, strict=True):
        assert key | bearer.jwk | bearer.x5t == key
        assert (key["use"], key["alg"]) == ("sig", bearer.algorithm)


def test_what_a_gate_would_leave_out_is_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bearer = Bearer()
    good = tmp_path / "good.der"
    good.write_bytes(bearer.certificate)
    for content, words in (
        (certify(generate_ec(SECP384R1())), "kty_unsupported"),
        (b"no certificate", "found no certificate, expected X.509, PEM or DER"),
        (b"-----BEGIN NOTHING-----\n", "PEM that is no certificate"),
        (bearer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "a private key"),
        (b"", "nothing, or more than 256 kB"),
        (b"x" * 262_145, "nothing, or more than 256 kB"),
    ):
        bad = tmp_path / "bad"
        bad.write_bytes(content)
        assert words in mistake(capsys, "from-cert", good, bad)
    assert "No such file" in mistake(capsys, "from-cert", tmp_path / "nothing")
    assert "2 names for 1 keys" in mistake(capsys, "from-cert", good, "--kid", "a", "--kid", "b")
    assert "kid_invalid" in mistake(capsys, "from-cert", good, "--kid", "../x")
    assert "kid_duplicate" in mistake(capsys, "from-cert", good, good)


def test_only_a_public_set_is_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, merged = tmp_path / "good.der", tmp_path / "set.json"
    good.write_bytes(Bearer().certificate)
    for text, words in (
        ("[]", "is not a JSON object"),
        ("{}", "no list named keys"),
        ('{"keys":[{"kty":"oct","k":"AAAA","kid":"x"}]}', "symmetric or private members"),
        ('{"keys":[{"kty":"EC","kid":"x"}]}', "curve_unsupported"),
    ):
        merged.write_text(text)
        assert words in mistake(capsys, "from-cert", good, "--merge", merged)
