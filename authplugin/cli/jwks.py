"""``authplugin jwks``: makes key sets for issuers whose keys are uploaded as a file (RFC 7517)."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command and its parts."""
    parser = subparsers.add_parser("jwks", help="make a key set for an issuer that uploads its keys")
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    make = parts.add_parser(
        "make",
        help="make new key pairs and the set of their public halves",
        description="Writes each new private key to its FILE, PEM, mode 0600, never over another file, and "
        "the set with the public keys to standard output or --out.",
    )
    make.add_argument("files", nargs="+", type=Path, metavar="FILE", help="where a private key goes")
    make.add_argument(
        "--algorithm", choices=("RS256", "ES256", "EdDSA"), default="RS256", help="default: %(default)s"
    )
    make.add_argument(
        "--bits",
        type=int,
        choices=(2048, 3072, 4096),
        default=2048,
        help="of an RSA key; default: %(default)s",
    )
    certificate = parts.add_parser(
        "from-cert",
        help="read the public keys of X.509 certificates into a set",
        description="Reads certificates, PEM (one or many a file) or DER, and writes the set of their keys "
        "to standard output or --out. A key that the gate would leave out is refused with the reason. Names, "
        "dates and signatures of a certificate are not looked at.",
    )
    certificate.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a certificate")
    for part in (make, certificate):
        part.add_argument(
            "--kid",
            action="append",
            metavar="NAME",
            help="name of a key, once for each in their order; default: its thumbprint (RFC 7638)",
        )
        part.add_argument("--merge", type=Path, metavar="SET", help="put the keys of this set before them")
        part.add_argument(
            "--out", type=Path, metavar="FILE", help="write the set here; it may be the one merged"
        )
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the set; 0 when done.

    Raises:
        AuthpluginError: a file cannot be read or written, or a key is unfit.
    """
    before = [] if args.merge is None else _read_set(args.merge)
    if args.part == "make":
        _check_places(args.files)
        keys = [_generate(args.algorithm, args.bits) for _ in args.files]
        jwks = _named([_public(key) for key in keys], args)
        whole = _checked([*before, *jwks])
        for key, path in zip(keys, args.files, strict=True):
            _write_private(key, path)
    else:
        jwks = _named([jwk for path in args.files for jwk in _read_certificates(path)], args)
        whole = _checked([*before, *jwks])
    text = json.dumps({"keys": whole}, indent=2) + "\n"
    if args.out is None:
        print(text, end="")
    else:
        beside = args.out.with_name(f"{args.out.name}.{os.getpid()}.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(args.out)
    return 0


def _check_places(paths: list[Path]) -> None:
    """See that every new key has a place, before the first is written."""
    from authplugin.cli.input import refuse  # noqa: PLC0415 - --help needs no keys

    for position, path in enumerate(paths):
        if path in paths[:position] or os.path.lexists(path):
            refuse(path, "a file that is there already", "a place for a new private key")


def _generate(algorithm: str, bits: int) -> "RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415 - --help needs no keys

    if algorithm == "RS256":
        return rsa.generate_private_key(65537, bits)
    return (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else ed25519.Ed25519PrivateKey.generate()
    )


def _public(key: "RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey") -> dict[str, str]:
    from authplugin.jose.certificate import public_jwk  # noqa: PLC0415 - as above

    return public_jwk(key.public_key())


def _write_private(key: "RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey", path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - as above
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    from authplugin.cli.input import refuse  # noqa: PLC0415 - as above

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        refuse(path, error.strerror or "no file", "a place for a new private key")
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    print(f"made a private key: {path}", file=sys.stderr)


def _read_certificates(path: Path) -> list[dict[str, str]]:
    """The keys of a file's certificates, each with the digest that names its certificate (RFC 7517 §4.9)."""
    from authplugin.cli.input import read_certificates, refuse  # noqa: PLC0415 - as above
    from authplugin.jose.base64url import encode  # noqa: PLC0415 - as above
    from authplugin.jose.certificate import certificate_digest, certificate_jwk  # noqa: PLC0415 - as above
    from authplugin.jose.jwk import UnfitKeyError, admit_bound  # noqa: PLC0415 - as above

    found = []
    for der in read_certificates(path):
        try:
            jwk = certificate_jwk(der)
            admit_bound(jwk)
        except UnfitKeyError as error:
            refuse(
                path, f"what is unfit ({error.why}): it {error}", "a certificate with a key fit for a gate"
            )
        found.append({**jwk, "x5t#S256": encode(certificate_digest(der))})
    return found


def _named(jwks: list[dict[str, str]], args: argparse.Namespace) -> list[dict[str, str]]:
    """The keys as an issuer publishes them: with name, use and algorithm."""
    from authplugin.cli.input import refuse  # noqa: PLC0415 - as above
    from authplugin.jose.jwk import algorithm_of, thumbprint  # noqa: PLC0415 - as above

    kids = args.kid or [thumbprint(jwk) for jwk in jwks]
    if len(kids) != len(jwks):
        refuse("--kid", f"{len(kids)} names for {len(jwks)} keys", "one for each, or none")
    return [
        {"kid": kid, "use": "sig", "alg": algorithm_of(jwk), **jwk}
        for kid, jwk in zip(kids, jwks, strict=True)
    ]


def _read_set(path: Path) -> list[Mapping[str, object]]:
    from authplugin.cli.input import read_file, refuse  # noqa: PLC0415 - as above
    from authplugin.jose.json import parse_object  # noqa: PLC0415 - as above

    try:
        keys = parse_object(read_file(path, "a JWK Set")).get("keys")
    except ValueError as error:
        refuse(path, f"a text that {error}", "a JWK Set")
    if not isinstance(keys, list):
        refuse(path, "no list named keys", "a JWK Set")
    return keys


def _checked(jwks: list[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The set, when a gate would use every key in it."""
    from authplugin.cli.input import refuse  # noqa: PLC0415 - as above
    from authplugin.errors import KeySetError  # noqa: PLC0415 - as above
    from authplugin.jose.jwk import SUPPORTED_ALGORITHMS, admit_set  # noqa: PLC0415 - as above

    try:
        left_out = admit_set({"keys": jwks}, SUPPORTED_ALGORITHMS).left_out
    except KeySetError as error:
        refuse("the set", str(error), "public keys only")
    if left_out:
        why = "; ".join(f"key {out.position} ({out.why}) {out.detail}" for out in left_out)
        refuse("the set", why, "keys that a gate would use, each with a kid of its own")
    return jwks
