"""One distribution, two installs: each goes into an empty environment and does one real thing there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"

#: What only the watch needs: none of it goes onto a broker host.
WATCH_ONLY = {
    "aiomqtt",
    "confluent-kafka",
    "faust-streaming",
    "aiokafka",
    "numba",
    "numpy",
    "llvmlite",
    "pyyaml",
}


def run(*command: object, cwd: Path, stdin: str | None = None) -> str:
    """Run a command that must succeed, with nothing of this environment; return what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", into, PROJECT, cwd=into)
    (built,) = into.glob("*.whl")
    return built


def install(wheel: Path, lock: str, into: Path) -> Path:
    """Install the wheel and what its lock names into a new environment; return its programs' directory."""
    run(UV, "venv", "--quiet", "--python", sys.executable, into, cwd=into.parent)
    pip = (UV, "pip", "install", "--quiet", "--python", into / "bin" / "python")
    run(*pip, "--require-hashes", "-r", PROJECT / "deploy" / "lock" / lock, cwd=into.parent)
    run(*pip, "--no-deps", wheel, cwd=into.parent)
    run(UV, "pip", "check", "--quiet", "--python", into / "bin" / "python", cwd=into.parent)
    return into / "bin"


def packages(programs: Path) -> set[str]:
    listed = run(UV, "pip", "list", "--format", "json", "--python", programs / "python", cwd=programs)
    return {package["name"] for package in json.loads(listed)}


@pytest.mark.timeout(400)
def test_the_gate_alone_mints_and_explains_a_token_without_anything_of_the_watch(
    wheel: Path, tmp_path: Path
) -> None:
    programs = install(wheel, "gate.txt", tmp_path / "gate")
    assert not packages(programs) & WATCH_ONLY

    assert "explain" in run(programs / "authplugin", "--help", cwd=tmp_path)
    (tmp_path / "gate.toml").write_text(
        '[[issuers]]\nissuer = "https://acme.my.site.com"\naudiences = ["https://ingest.example.com"]\n'
        'jwks_file = "keys.json"\n'
    )
    token = run(
        *(programs / "authplugin", "token", "mint", "--key", "key.pem", "--jwks", "keys.json"),
        *("--issuer", "https://acme.my.site.com", "--audience", "https://ingest.example.com"),
        *("--asset", "02iAB00000CdEfG", "--device", "press-7"),
        cwd=tmp_path,
    )
    judged = run(
        programs / "authplugin", "explain", "--config", "gate.toml", "--token", "-", cwd=tmp_path, stdin=token
    )
    assert "02iAB00000CdEfGYAV" in judged
    assert token.strip() not in judged


@pytest.mark.timeout(400)
def test_the_gate_alone_says_what_to_install_for_the_watch(wheel: Path, tmp_path: Path) -> None:
    programs = install(wheel, "gate.txt", tmp_path / "gate")
    assert "worker" in run(programs / "processor", "--help", cwd=tmp_path)
    done = subprocess.run(
        [programs / "processor", "rules", "check", PROJECT / "deploy" / "demo" / "rules.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "pip install 'assetgate[watch]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(400)
def test_the_watch_checks_the_rules_of_the_demo(wheel: Path, tmp_path: Path) -> None:
    programs = install(wheel, "watch.txt", tmp_path / "watch")
    assert packages(programs) >= WATCH_ONLY

    assert "worker" in run(programs / "processor", "--help", cwd=tmp_path)
    checked = run(
        programs / "processor", "rules", "check", PROJECT / "deploy" / "demo" / "rules.yaml", cwd=tmp_path
    )
    assert "overheating" in checked
