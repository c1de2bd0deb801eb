"""One peer against the bare RSA check, both in this process and in turn: ``verify.py WAY ROUNDS FOLDER``.

Runs in the peer's own environment (see tests/bench/gate_peers.py), so it imports nothing of ours.
Prints JSON: a list of ratios, one a round.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

AUDIENCE = "https://ingest.example.com"
LEEWAY = 30


def pyjwt(keys: dict[str, Any], _url: str) -> Callable[[str], object]:
    """Stock ``jwt.decode`` with a key at hand."""
    import jwt  # noqa: PLC0415 - each way has its own environment

    key = jwt.PyJWK(keys["keys"][0])
    return lambda token: jwt.decode(
        token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=keys["issuer"], leeway=LEEWAY
    )


def pyjwkclient(keys: dict[str, Any], url: str) -> Callable[[str], object]:
    """``PyJWKClient`` and ``jwt.decode``, the documented way; its key set is fetched once and warm."""
    import jwt  # noqa: PLC0415 - as above

    client = jwt.PyJWKClient(url)

    def decode(token: str) -> object:
        key = client.get_signing_key_from_jwt(token)
        return jwt.decode(
            token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=keys["issuer"], leeway=LEEWAY
        )

    return decode


def joserfc(keys: dict[str, Any], _url: str) -> Callable[[str], object]:
    """``joserfc.jwt.decode`` with a key set, and its claims registry."""
    from joserfc import jwt  # noqa: PLC0415 - as above
    from joserfc.jwk import KeySet  # noqa: PLC0415 - as above

    known = KeySet.import_key_set({"keys": keys["keys"]})
    registry = jwt.JWTClaimsRegistry(
        leeway=LEEWAY,
        iss={"essential": True, "value": keys["issuer"]},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    )

    def decode(token: str) -> object:
        claims = jwt.decode(token, known, algorithms=["RS256"]).claims
        registry.validate(claims)
        return claims

    return decode


def authlib(keys: dict[str, Any], _url: str) -> Callable[[str], object]:
    """``authlib.jose`` with a key set, and its claims options."""
    from authlib.jose import (  # type: ignore[import-untyped] # noqa: PLC0415 - as above; it ships no types
        JsonWebKey,
        JsonWebToken,
    )

    known = JsonWebKey.import_key_set({"keys": keys["keys"]})
    tokens = JsonWebToken(["RS256"])
    options = {
        "iss": {"essential": True, "value": keys["issuer"]},
        "aud": {"essential": True, "value": AUDIENCE},
        "exp": {"essential": True},
    }

    def decode(token: str) -> object:
        claims = tokens.decode(token, known, claims_options=options)
        claims.validate(leeway=LEEWAY)
        return claims

    return decode


WAYS = {"pyjwt": pyjwt, "pyjwkclient": pyjwkclient, "joserfc": joserfc, "authlib": authlib}


def rsa(lines: list[str], keys: dict[str, Any]) -> Callable[[], None]:
    """The floor: `cryptography` with prepared arguments."""
    import base64  # noqa: PLC0415 - the floor's alone

    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as above

    def octets(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "==")

    jwk = keys["keys"][0]
    numbers = [int.from_bytes(octets(jwk[name]), "big") for name in ("e", "n")]
    verify = RSAPublicNumbers(*numbers).public_key().verify
    parts = [line.rpartition(".") for line in lines]
    inputs = [(octets(signature), signed.encode()) for signed, _, signature in parts]
    padding, digest = PKCS1v15(), SHA256()

    def run() -> None:
        for signature, signed in inputs:
            verify(signature, signed, padding, digest)

    return run


def main() -> None:
    """Measure."""
    way, rounds, folder, url = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    keys = json.loads((folder / "keys.json").read_text())
    lines = (folder / "tokens.txt").read_text().split()
    decode = WAYS[way](keys, url)
    floor = rsa(lines, keys)
    ratios = []
    for turn in range(rounds + 1):
        began = time.process_time()
        floor()
        middle = time.process_time()
        for line in lines:
            decode(line)
        ended = time.process_time()
        if turn:
            ratios.append((ended - middle) / (middle - began))
    sys.stdout.write(json.dumps(ratios) + "\n")


if __name__ == "__main__":
    main()
