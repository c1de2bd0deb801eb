import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from authplugin.auditfile import AuditFile, check_place
from authplugin.errors import ConfigurationError

LINE = b'{"a":1}\n'

# Prints how many bytes of 20 lines a file holds that may grow to 100 bytes, and what it then ends in.
LIMITED = """
import resource, sys
from pathlib import Path
from authplugin.auditfile import AuditFile
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
file = AuditFile(Path(sys.argv[1]))
print(file.append(b'{"a":1}\\n' * 20), file.append(b'{"b":2}\\n'), bool(file.error))
"""

APPENDED = """
import sys
from pathlib import Path
from authplugin.auditfile import AuditFile
file = AuditFile(Path(sys.argv[1]))
print(file.append(b'{}\\n'), file.error)
"""


def test_lines_are_appended(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit")
    assert file.append(LINE) == len(LINE)
    assert file.append(LINE * 2) == 2 * len(LINE)
    assert (file.path.read_bytes(), file.error) == (LINE * 3, "")


def test_a_disk_that_fills_up_keeps_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    command = [sys.executable, "-c", LIMITED, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    # Twelve lines of eight bytes fit; the thirteenth would be cut, and the next begins a line of its own.
    assert said == ["96", "0", "True"]
    assert path.read_bytes() == LINE * 12


def test_a_full_disk_is_said_and_nothing_is_raised() -> None:
    file = AuditFile(Path("/dev/full"))
    assert file.append(LINE) == 0
    assert file.error == "No space left on device"


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit").symlink_to(tmp_path / "elsewhere")
    assert AuditFile(tmp_path / "audit").append(LINE) == 0
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "audit")
    command = [sys.executable, "-c", APPENDED, str(tmp_path / "audit")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said == "0 No such device or address\n"


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (os.mkfifo, "no regular file"),
        (os.mkdir, "no regular file"),
        (lambda path: path.symlink_to("elsewhere"), "a symbolic link"),
        (lambda path: path.parent.rmdir(), "no such folder"),
    ],
)
def test_a_place_where_no_file_can_be_is_refused(
    tmp_path: Path, make: Callable[[Path], object], found: str
) -> None:
    path = tmp_path / "folder" / "audit"
    path.parent.mkdir()
    check_place(path)
    make(path)
    with pytest.raises(ConfigurationError, match=f"audit: audit\\.file: found {found}, expected a regular"):
        check_place(path)


@pytest.mark.parametrize("keep", [1, 3])
def test_a_file_of_the_size_is_moved_on_and_a_bounded_number_is_kept(tmp_path: Path, keep: int) -> None:
    file = AuditFile(tmp_path / "audit", rotate_bytes=2 * len(LINE), keep=keep)
    for number in range(12):
        file.append(b'{"a":%d}\n' % (number % 10))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"audit.{place}" for place in range(1, keep + 1)]
    assert (tmp_path / "audit.1").read_bytes() == b'{"a":0}\n{"a":1}\n'
    assert not file.error


def test_without_a_size_nothing_is_moved(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit", rotate_bytes=0)
    for _ in range(100):
        file.append(LINE)
    assert [path.name for path in tmp_path.iterdir()] == ["audit"]


def test_a_file_that_cannot_be_moved_is_written_on(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit", rotate_bytes=len(LINE), keep=1)
    (tmp_path / "audit.1").mkdir()
    (tmp_path / "audit.1" / "x").touch()
    assert file.append(LINE) == len(LINE)
    assert "cannot be moved on" in file.error
    assert file.append(LINE) == len(LINE)
    assert file.path.read_bytes() == LINE * 2
