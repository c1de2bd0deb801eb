"""``authplugin mosquitto`` as a person types it."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
[[issuers]]
issuer = "https://acme.my.site.com"
audiences = ["https://ingest.example.com"]

[mosquitto]
acl_file = "rules/acl"
"""


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "authplugin", "mosquitto", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gate.toml").write_text(CONFIG)
    (tmp_path / "rules").mkdir()
    return tmp_path


def test_acl_prints_or_writes_the_rules(folder: Path) -> None:
    printed = run("acl", "--config", "gate.toml", "-o", "-", folder=folder)
    assert "pattern write assets/%u/telemetry/#" in printed.stdout
    written = run("acl", "--config", "gate.toml", folder=folder)
    assert written.returncode == 0
    assert (folder / "rules" / "acl").read_text() == printed.stdout


def test_acl_replaces_a_file_whole_and_leaves_it_its_mode(folder: Path) -> None:
    rules = folder / "rules" / "acl"
    rules.write_text("old")
    rules.chmod(0o600)
    with rules.open() as read:
        assert run("acl", "--config", "gate.toml", folder=folder).returncode == 0
        assert read.read() == "old"  # who reads meanwhile has the old one, not half of the new
    assert "pattern write" in rules.read_text()
    assert rules.stat().st_mode & 0o777 == 0o600


@pytest.mark.needs("cc")
def test_build_alone_only_compiles(folder: Path) -> None:
    done = run("build", "-o", "gate.so", folder=folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["gate.so", "gate.toml", "rules"]


@pytest.mark.needs("cc")
def test_build_prints_a_stanza_of_absolute_paths(folder: Path) -> None:
    done = run("build", "-o", "gate.so", "--config", "gate.toml", folder=folder)
    assert done.returncode == 0, done.stderr
    assert f"plugin {folder}/gate.so\n" in done.stdout
    assert f"acl_file {folder}/rules/acl\n" in done.stdout


def test_a_wrong_configuration_builds_nothing_and_names_the_line(folder: Path) -> None:
    (folder / "gate.toml").write_text(CONFIG.replace("audiences", "audience"))
    done = run("build", "-o", "gate.so", "--config", "gate.toml", folder=folder)
    assert done.returncode == 1
    assert "gate.toml:4: issuers[0].audience" in done.stderr
    assert not (folder / "gate.so").exists()


def test_a_template_that_an_acl_file_cannot_say_is_refused(folder: Path) -> None:
    (folder / "gate.toml").write_text(CONFIG + '\n[topics]\npublish = ["a/%c/{aid}"]\n')
    done = run("acl", "--config", "gate.toml", "-o", "-", folder=folder)
    assert done.returncode == 1
    assert "topics: found" in done.stderr
    assert done.stdout == ""
