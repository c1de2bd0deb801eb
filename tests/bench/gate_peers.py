"""Other libraries on the same tokens, each in an environment and a process of its own.

Environments are made under ``build/peers`` from locks with hashes, once.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

from authplugin.testing.keyserver import KeyServer
from authplugin.testing.mint import TokenMint
from tests.bench.figures import Figure, spread

FOLDER = Path("build/peers")
_LOCKS = Path(__file__).parent / "peers"
_SECONDS = 600.0


class _Peer(NamedTuple):
    """One way to verify: how it is called, what it is called in peers/verify.py, whose lock it needs."""

    name: str
    way: str
    lock: str


_PEERS = (
    _Peer("stock PyJWT decode", "pyjwt", "pyjwt"),
    _Peer("PyJWKClient + decode", "pyjwkclient", "pyjwt"),
    _Peer("joserfc decode + validate", "joserfc", "joserfc"),
    _Peer("authlib decode + validate", "authlib", "authlib"),
)


def measure_peers(mint: TokenMint, tokens: list[bytes], *, rounds: int, folder: Path) -> list[Figure]:
    """The ratio of each peer to the bare RSA check in its own process.

    Args:
        mint: signed the tokens.
        tokens: what each verifies, round by round.
        rounds: counted ones.
        folder: where the tokens are laid down for the peers.
    """
    (folder / "tokens.txt").write_bytes(b"\n".join(tokens) + b"\n")
    (folder / "keys.json").write_text(json.dumps(mint.jwks() | {"issuer": mint.issuer}))
    with KeyServer(mint.jwks()) as server:
        return [_measure(peer, rounds, folder, server.url) for peer in _PEERS]


def _measure(peer: _Peer, rounds: int, folder: Path, url: str) -> Figure:
    python = make_environment(peer.lock)
    command = [
        str(python),
        "-W",
        "ignore",
        str(_LOCKS / "verify.py"),
        peer.way,
        str(rounds),
        str(folder),
        url,
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=_SECONDS)
    ratio = spread(json.loads(done.stdout))
    return Figure(f"  peer: {peer.name} / that", ratio.median, spread=(ratio.low, ratio.high))


def make_environment(name: str) -> Path:
    """The Python of the peer's environment, made anew when its lock has changed."""
    home, lock = FOLDER / name, _LOCKS / f"{name}.txt"
    python, stamp = home / "bin" / "python", home / "lock.txt"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return python
    print(f"making {home} from {lock.name}", file=sys.stderr)
    venv.create(home, clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    subprocess.run([*pip, *locked], check=True, timeout=_SECONDS)
    stamp.write_bytes(lock.read_bytes())
    return python
