"""The file that remembers a key set: private, whole, whose it is, and not older than it may be."""

import os
from pathlib import Path

import msgspec
import pytest

from authplugin.errors import KeySetError
from authplugin.keys.lastgood import LastGoodFile
from authplugin.keys.snapshot import KeySnapshot, take_snapshot
from tests.support.mints import CLOCK, mint

NOW = CLOCK.now()
ISSUER = "https://acme.my.site.com"


def snapshot() -> KeySnapshot:
    return take_snapshot(msgspec.json.encode(mint().jwks()), ["RS256"], fetched=NOW)


def test_saved_set_is_loaded_as_it_was(tmp_path: Path) -> None:
    file = LastGoodFile(tmp_path, ISSUER)
    assert file.load(now=NOW, hard=60) is None
    file.save(snapshot())
    record = file.load(now=NOW + 59, hard=60)
    assert record is not None
    assert (record.body, record.fetched) == (snapshot().body, NOW)


def test_file_is_private_and_alone(tmp_path: Path) -> None:
    file = LastGoodFile(tmp_path, ISSUER)
    mask = os.umask(0)
    try:
        file.save(snapshot())
        file.save(snapshot())
    finally:
        os.umask(mask)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file.path]


def test_issuers_have_files_of_their_own(tmp_path: Path) -> None:
    other = LastGoodFile(tmp_path, "https://rival/../../etc")
    assert other.path.parent == tmp_path
    assert other.path != LastGoodFile(tmp_path, ISSUER).path


@pytest.mark.parametrize("age", [-1, 60, 61, 1e9])
def test_set_too_old_or_of_the_future_is_refused(tmp_path: Path, age: float) -> None:
    file = LastGoodFile(tmp_path, ISSUER)
    file.save(snapshot())
    with pytest.raises(KeySetError, match="trusted"):
        file.load(now=NOW + age, hard=60)


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 3000, b'{"issuer":"x"}'])
def test_file_that_is_no_saved_set_is_refused(tmp_path: Path, raw: bytes) -> None:
    file = LastGoodFile(tmp_path, ISSUER)
    file.path.write_bytes(raw)
    with pytest.raises(KeySetError, match="not a saved key set"):
        file.load(now=NOW, hard=60)


def test_changed_or_swapped_file_is_refused(tmp_path: Path) -> None:
    file, other = LastGoodFile(tmp_path, ISSUER), LastGoodFile(tmp_path, "https://rival.my.site.com")
    file.save(snapshot())
    record = msgspec.json.decode(file.path.read_bytes())
    other.path.write_bytes(file.path.read_bytes())
    with pytest.raises(KeySetError, match="was changed"):
        other.load(now=NOW, hard=60)
    file.path.write_bytes(msgspec.json.encode({**record, "body": "AAAA"}))
    with pytest.raises(KeySetError, match="was changed"):
        file.load(now=NOW, hard=60)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    file = LastGoodFile(tmp_path, ISSUER)
    file.save(snapshot())
    file.path.chmod(mode)
    with pytest.raises(KeySetError, match="others may write"):
        file.load(now=NOW, hard=60)


def test_links_pipes_and_long_files_are_refused(tmp_path: Path) -> None:
    file = LastGoodFile(tmp_path, ISSUER)
    (tmp_path / "target").write_bytes(b"{}")
    file.path.symlink_to(tmp_path / "target")
    with pytest.raises(KeySetError):
        file.load(now=NOW, hard=60)
    file.path.unlink()
    os.mkfifo(file.path)
    with pytest.raises(KeySetError, match="regular file"):
        file.load(now=NOW, hard=60)
    file.path.unlink()
    file.path.write_bytes(b" " * 200000)
    with pytest.raises(KeySetError, match="more than"):
        file.load(now=NOW, hard=60)


def test_save_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    file = LastGoodFile(tmp_path, ISSUER)
    file.path.mkdir()
    (file.path / "in the way").touch()
    with pytest.raises(OSError, match=r"directory|Directory"):
        file.save(snapshot())
    assert list(tmp_path.iterdir()) == [file.path]
