import os
import pwd
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.build import unreadable
from authplugin.brokers.mosquitto.configuration import read_configuration
from authplugin.brokers.mosquitto.installation import (
    PlannedFile,
    Record,
    find_changed,
    find_ours,
    place,
    read_record,
    undo,
)
from authplugin.brokers.mosquitto.plan import owner_of
from authplugin.brokers.mosquitto.stanza import Listener, write_listener
from authplugin.errors import InstallError


@pytest.fixture
def record_file(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "assetgate" / "installed.json"


def files(root: Path, *texts: bytes) -> list[PlannedFile]:
    return [
        PlannedFile(root / "etc" / f"file-{number}", text, 0o640)
        for number, text in enumerate(texts, start=1)
    ]


def install(record_file: Path, planned: list[PlannedFile], **options: str) -> Record:
    place(planned, record_file, read_record(record_file), options)
    record = read_record(record_file)
    assert record is not None
    return record


def test_files_are_placed_with_their_mode_and_put_on_record(tmp_path: Path, record_file: Path) -> None:
    planned = files(tmp_path, b"one", b"two")
    record = install(record_file, planned, port="8883")
    for file in planned:
        assert (file.path.read_bytes(), file.path.stat().st_mode & 0o777) == (file.content, 0o640)
    assert record.options == {"port": "8883"}
    assert find_ours(record) == [planned[1].path, planned[0].path]
    assert [path.name for path in (tmp_path / "etc").iterdir() if path.name.startswith(".")] == []


def test_folders_may_be_entered_whatever_the_umask(tmp_path: Path, record_file: Path) -> None:
    before = os.umask(0o077)
    try:
        install(record_file, files(tmp_path, b"one"))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "etc", record_file.parent)} == {0o755}


def test_what_was_there_before_and_is_the_same_is_left_and_said(tmp_path: Path, record_file: Path) -> None:
    install(record_file, files(tmp_path, b"one"))
    record_file.unlink()
    undone = undo(install(record_file, files(tmp_path, b"one", b"two")), record_file)
    assert [path.name for path in undone.left] == ["file-1"]
    assert [path.name for path in undone.removed] == ["file-2"]
    assert (tmp_path / "etc" / "file-1").read_bytes() == b"one"


def test_undoing_leaves_nothing_but_what_was_there(tmp_path: Path, record_file: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "file-1").write_text("by hand")
    (tmp_path / "etc" / "file-1").chmod(0o604)
    record = install(record_file, files(tmp_path, b"one", b"two"))
    undone = undo(record, record_file)
    assert [path.name for path in undone.restored] == ["file-1"]
    assert [path.name for path in undone.removed] == ["file-2"]
    assert (tmp_path / "etc" / "file-1").read_text() == "by hand"
    assert (tmp_path / "etc" / "file-1").stat().st_mode & 0o777 == 0o604
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etc"]


def test_what_was_there_before_the_first_installation_survives_the_second(
    tmp_path: Path, record_file: Path
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "file-1").write_text("by hand")
    install(record_file, files(tmp_path, b"one"))
    record = install(record_file, files(tmp_path, b"newer", b"two"))
    undo(record, record_file)
    assert (tmp_path / "etc" / "file-1").read_text() == "by hand"
    assert not (tmp_path / "etc" / "file-2").exists()


def test_a_file_that_was_changed_is_found_and_kept(tmp_path: Path, record_file: Path) -> None:
    planned = files(tmp_path, b"one", b"two")
    record = install(record_file, planned)
    assert find_changed(planned, record) == []
    planned[0].path.write_text("mine")
    assert find_changed(planned, record) == [planned[0].path]
    assert find_changed([PlannedFile(planned[0].path, b"mine")], record) == []
    undone = undo(record, record_file)
    assert (undone.kept, undone.removed) == ((planned[0].path,), (planned[1].path,))
    assert planned[0].path.read_text() == "mine"


def test_a_file_that_is_gone_already_is_no_obstacle(tmp_path: Path, record_file: Path) -> None:
    planned = files(tmp_path, b"one")
    record = install(record_file, planned)
    planned[0].path.unlink()
    undone = undo(record, record_file)
    assert (undone.kept, undone.removed) == ((), ())
    assert list(tmp_path.iterdir()) == []


def test_a_first_installation_that_breaks_off_is_undone(tmp_path: Path, record_file: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "file-1").write_text("by hand")
    # Its name leaves no room for that of the file which is to take its place.
    last = PlannedFile(tmp_path / "etc" / ("x" * 255), b"three")
    with pytest.raises(OSError, match="name too long"):
        place([*files(tmp_path, b"one", b"two"), last], record_file, None, {})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["etc", "file-1"]
    assert (tmp_path / "etc" / "file-1").read_text() == "by hand"


def test_what_cannot_be_read_stops_an_installation_before_it_writes(
    tmp_path: Path, record_file: Path
) -> None:
    (tmp_path / "etc" / "file-2").mkdir(parents=True)
    with pytest.raises(OSError, match="file-2"):
        place(files(tmp_path, b"one", b"two"), record_file, None, {})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["etc", "file-2"]


def test_a_file_that_was_being_replaced_when_the_power_went_is_known_as_ours(
    tmp_path: Path, record_file: Path
) -> None:
    install(record_file, files(tmp_path, b"one", b"two"))
    newer = files(tmp_path, b"newer", b"two")
    (tmp_path / "etc" / "file-2").unlink()
    (tmp_path / "etc" / "file-2").mkdir()
    with pytest.raises(OSError, match="file-2"):
        install(record_file, newer)
    record = read_record(record_file)
    assert record is not None
    (tmp_path / "etc" / "file-2").rmdir()
    for content in (b"one", b"newer"):
        (tmp_path / "etc" / "file-1").write_bytes(content)
        assert find_changed(newer, record) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "no record"), ('{"version": 2}', "newer version"), ('{"other": 1}', "no record")],
)
def test_a_record_that_is_none_is_named(record_file: Path, text: str, says: str) -> None:
    assert read_record(record_file) is None
    record_file.parent.mkdir(parents=True)
    record_file.write_text(text)
    with pytest.raises(InstallError, match=says):
        read_record(record_file)


def test_a_configuration_is_read_as_it_will_be(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "b.conf").write_text("listener 1\n")
    (tmp_path / "conf.d" / "c.conf").write_text("old yes\n")
    main = tmp_path / "mosquitto.conf"
    main.write_text(f"first yes\ninclude_dir {tmp_path}/conf.d/\nlast yes\n")
    planned = {
        tmp_path / "conf.d" / "A.conf": "# a\nplugin x\nacl_file /acl\n",
        tmp_path / "conf.d" / "c.conf": "new yes\n",
        tmp_path / "elsewhere" / "d.conf": "never yes\n",
        Path("/acl"): "",
    }
    broker = read_configuration(main, planned)
    keys = ["first", "include_dir", "plugin", "acl_file", "listener", "new", "last"]
    assert [line.key for line in broker.lines] == keys
    assert [line.reading for line in broker.lines] == [0, 0, 1, 1, 2, 3, 0]
    assert broker.path("acl_file") == Path("/acl")


def test_rights_are_those_of_owner_group_and_others(tmp_path: Path) -> None:
    root = Path("/")
    shared = next(path for path in (Path("/etc/hostname"), Path("/etc/passwd")) if path.exists())
    assert unreadable([shared, root], "nobody") == []
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    found = unreadable([closed / "file"], "nobody")
    assert found
    assert found[0] in {closed, *closed.parents}
    own = pwd.getpwuid(os.geteuid()).pw_name
    assert unreadable([closed], own) == []
    assert unreadable([closed], "nobody-has-this-name") == []


def test_the_owner_of_the_acl_file_is_the_brokers_user() -> None:
    entry = pwd.getpwnam("nobody")
    assert owner_of("nobody") == (entry.pw_uid, entry.pw_gid)
    assert owner_of(None) is None
    with pytest.raises(InstallError, match="nobody-has-this-name"):
        owner_of("nobody-has-this-name")


def test_a_listener_says_whether_it_speaks_tls() -> None:
    plain = write_listener(Listener(1883, "127.0.0.1"))
    assert "listener 1883 127.0.0.1\nmax_connections" in plain.replace(
        "# A bound on sockets, hence on memory; raise LimitNOFILE of the service beyond it.\n", ""
    )
    assert "certfile" not in plain.replace("--certfile", "")
    encrypted = write_listener(Listener(8883, None, Path("/c"), Path("/k")))
    assert "listener 8883\ncertfile /c\nkeyfile /k\n" in encrypted
