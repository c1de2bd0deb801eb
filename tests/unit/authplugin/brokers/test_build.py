"""What the build finds on a machine, and what it says is missing."""

import os
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto import build
from authplugin.brokers.mosquitto.build import Interpreter, build_plugin, find_interpreter, unreadable
from authplugin.brokers.mosquitto.stanza import write_stanza
from authplugin.errors import BuildError

SHARED = {"Py_ENABLE_SHARED": 1, "INSTSONAME": "libpython3.99.so.1.0", "MULTIARCH": "x86_64-linux-gnu"}


def test_the_running_python_is_found_or_its_package_is_named() -> None:
    try:
        found = find_interpreter()
    except BuildError as error:
        assert "libpython" in str(error)  # noqa: PT017 - a machine without it is answered, too
    else:
        assert found.libpython.is_file()
        assert found.site.is_dir()


def test_a_library_beside_its_base_is_found(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libpython3.99.so.1.0").touch()
    found = find_interpreter(SHARED, tmp_path, tmp_path / "site")
    assert found == Interpreter(tmp_path / "lib" / "libpython3.99.so.1.0", tmp_path, tmp_path / "site")


def test_a_library_in_its_own_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "libpython3.99.so.1.0").touch()
    found = find_interpreter({**SHARED, "LIBDIR": str(tmp_path)}, tmp_path / "base", tmp_path)
    assert found.libpython == tmp_path / "libpython3.99.so.1.0"


def test_a_missing_library_is_named_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(
        BuildError, match=r"libpython3\.99\.so\.1\.0 is not in .*: apt-get install libpython3\.\d+"
    ):
        find_interpreter(SHARED, tmp_path, tmp_path)


@pytest.mark.parametrize("variables", [{"Py_ENABLE_SHARED": 0, "INSTSONAME": "libpython3.99.a"}, {}])
def test_a_static_python_is_named_as_such(variables: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"without a shared library.*--enable-shared"):
        find_interpreter(variables, tmp_path, tmp_path)


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="apt-get install gcc libc6-dev"):
        build_plugin(tmp_path / "gate.so")


def test_a_failing_compiler_leaves_the_old_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'shim.c:1: stdio.h: No such file or directory' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    output = tmp_path / "gate.so"
    output.write_text("old")
    with pytest.raises(BuildError, match=r"libc6-dev\n.*stdio\.h"):
        build_plugin(output)
    assert output.read_text() == "old"
    assert not output.with_name("gate.so.new").exists()


@pytest.mark.needs("cc")
def test_the_shim_compiles_without_a_single_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-Werror", "-Wpedantic", "-Wconversion", "-Wshadow"))
    output = tmp_path / "new" / "gate.so"
    build_plugin(output)
    assert output.read_bytes().startswith(b"\x7fELF")


def test_a_path_that_others_cannot_enter_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    file = closed / "site"
    file.touch()
    found = unreadable([file])
    # Whatever else on the way is closed comes first; without user mosquitto there is nothing to say.
    assert not found or found[0] in {closed, *closed.parents}


def test_the_stanza_names_every_file_and_gives_each_setting_a_reason(tmp_path: Path) -> None:
    interpreter = Interpreter(Path("/l/libpython.so"), Path("/h"), Path("/s"))
    text = write_stanza(tmp_path / "gate.so", interpreter, tmp_path / "gate.toml", tmp_path / "acl", None)
    settings = dict(line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert settings["plugin"] == str(tmp_path / "gate.so")
    assert settings["plugin_opt_config_file"] == str(tmp_path / "gate.toml")
    assert settings["acl_file"] == str(tmp_path / "acl")
    assert settings["allow_anonymous"] == "false"
    assert "password_file" not in settings
    for block in text.split("\n\n"):
        assert block.startswith("# ")
