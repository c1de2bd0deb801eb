"""The whole way into a broker as Debian has it: its Python, its Mosquitto, its user ``mosquitto``."""

import json
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from authplugin.testing import TokenMint
from tests.support.machine import as_root, debian_python
from tests.support.mqtt import Client, Closed
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.needs("mosquitto", "cc", "debian-python", "root"),
    # The environment may have to be fetched.
    pytest.mark.timeout(400),
]

PROJECT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
USER = "mosquitto"
AUDIENCE = "https://ingest.example.com"
SHORT, ASSET = "02iAB00000CdEfG", "02iAB00000CdEfGYAV"


def run(*command: object, umask: int = 0o022) -> str:
    """A command that must succeed; what it said."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd="/",
        umask=umask,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, as /opt is and pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="assetgate-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        run(*(as_root() or ()), "rm", "-rf", path)


@pytest.fixture(scope="module")
def authplugin() -> Iterator[Path]:
    """The program, in an environment of Debian's Python with what the lock names."""
    with folder() as place:
        made = place / "gate"
        run(UV, "venv", "--quiet", "--python", debian_python(), made)
        pip = (UV, "pip", "install", "--quiet", "--link-mode", "copy", "--python", made / "bin" / "python")
        run(*pip, "--require-hashes", "-r", PROJECT / "deploy" / "lock" / "gate.txt")
        wheels = ("--wheel", "--no-isolation", "--outdir", place, PROJECT)
        run(sys.executable, "-m", "build", *wheels)
        run(*pip, "--no-deps", *place.glob("*.whl"))
        yield made / "bin" / "authplugin"


@dataclass(frozen=True)
class Host:
    """A machine's folders.

    Args:
        root: holds all of them.
        installer: the user who installs, and starts the broker.
        authplugin: the program.
    """

    root: Path
    installer: str
    authplugin: Path
    mint: TokenMint
    port: int

    @property
    def configuration(self) -> Path:
        return self.root / "mosquitto.conf"

    def write(self) -> None:
        """What is there before: a broker's configuration, and a gate's that reads its keys from a file."""
        (self.root / "conf.d").mkdir()
        (self.root / "data").mkdir()
        self.configuration.write_text(
            f"persistence_location {self.root}/data/\nlog_dest stderr\nlistener {self.port} 127.0.0.1\n"
            f"include_dir {self.root}/conf.d\n"
        )
        (self.root / "keys.json").write_text(json.dumps(self.mint.jwks()))
        (self.root / "gate.toml").write_text(
            f'[[issuers]]\nissuer = "{self.mint.issuer}"\naudiences = ["{AUDIENCE}"]\n'
            'jwks_file = "keys.json"\n[mosquitto]\nacl_file = "acl"\n[audit]\nfile = "data/audit"\n'
        )
        self.give(self.root / "data" if self.installer == "root" else self.root)

    def give(self, path: Path) -> None:
        run(*(as_root() or ()), "chown", "-R", f"{USER}:", path)

    def command(self, *words: object) -> list[str]:
        """A command of the installer's."""
        become = () if self.installer == "root" else ("runuser", "-u", self.installer, "--")
        return [str(word) for word in (*(as_root() or ()), *become, *words)]

    def mosquitto(self, part: str) -> str:
        places = ("--broker-config", self.configuration, "--library", self.root / "lib")
        # As hardened machines have it for root.
        return run(*self.command(self.authplugin, "mosquitto", part, *places), umask=0o077)

    def tree(self) -> set[str]:
        found = run(*(as_root() or ()), "find", self.root, "-not", "-path", f"{self.root}/data/*")
        return set(found.split())

    @contextmanager
    def running(self) -> Iterator[None]:
        """The broker, as its service would start it."""
        log = self.root.parent / f"{self.root.name}.log"
        with log.open("wb") as said:
            broker = subprocess.Popen(
                self.command(shutil.which("mosquitto"), "-c", self.configuration), stdout=said, stderr=said
            )
            try:
                yield
            except AssertionError as error:
                raise AssertionError(log.read_text()[-3000:]) from error
            finally:
                # Whoever became root is not ours to end.
                run(*(as_root() or ()), "kill", broker.pid)
                broker.wait(30)

    def connect(self, token: bytes) -> int:
        with Client(self.port, version=5) as client:
            return client.connect(SHORT, "", token)


def until_let_in(host: Host) -> None:
    """Wait for the broker, and for the gate to have read its keys."""
    deadline = time.monotonic() + 30
    while True:
        try:
            if host.connect(host.mint.mint(aid=SHORT)) == 0:
                return
        except (OSError, Closed):
            pass
        assert time.monotonic() < deadline, "nobody is let in"
        time.sleep(0.05)


def until_owned(path: Path, user: str) -> None:
    """Wait for a file that the gate writes, and see that the broker's user has made it."""
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.05)
    assert path.stat().st_uid == pwd.getpwnam(user).pw_uid


@pytest.mark.parametrize("installer", ["root", USER])
def test_with_debians_python_the_gate_stands_in_a_broker_that_runs_as_its_own_user(
    authplugin: Path, installer: str
) -> None:
    with folder() as place:
        mint = TokenMint("https://acme.my.site.com", AUDIENCE)
        host = Host(place / "etc", installer, authplugin, mint, free_port())
        host.root.mkdir()
        host.write()
        before = host.tree()
        said = host.mosquitto("install")
        assert "tried: it accepts a token that holds" in said
        assert "tried: it refuses a token signed by a stranger" in said
        with host.running():
            until_let_in(host)
            assert host.connect(mint.forged()) == 0x87
            until_owned(host.root / "data" / "audit", USER)
        if installer == "root":
            other = Host(host.root, USER, authplugin, mint, host.port)
            with pytest.raises(
                AssertionError, match="found no right to write, expected one: run it with sudo"
            ):
                other.mosquitto("uninstall")
        host.mosquitto("uninstall")
        assert host.tree() == before


def test_an_environment_that_the_brokers_user_may_not_enter_is_named_before_anything_is_written(
    authplugin: Path,
) -> None:
    with folder() as place:
        host = Host(place / "etc", "root", authplugin, TokenMint(audience=AUDIENCE), free_port())
        host.root.mkdir()
        host.write()
        before = host.tree()
        closed = authplugin.parents[2]
        closed.chmod(0o700)
        try:
            places = ("--broker-config", host.configuration, "--library", host.root / "lib")
            done = subprocess.run(
                host.command(authplugin, "mosquitto", "install", *places),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            closed.chmod(0o755)
        assert done.returncode == 1
        assert f"{closed}: the broker runs as user {USER}, who may not enter or read it" in done.stderr
        assert host.tree() == before
