"""Puts files in place so that it can be undone exactly, and undoes it.

What was written is on record, by its hash, with what was there before. So a second installation
knows its own files from those a person has changed since, and `undo` restores the first and keeps
the second. The ``acl_file`` is written by other commands as well, and says itself whether it is ours.
Each file is replaced whole: whoever reads it sees the old one or the new one. Where its path is a
symbolic link, so it stays, and its target is replaced.
"""

import base64
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from authplugin.brokers.mosquitto.acl import is_written
from authplugin.errors import InstallError


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to put in place.

    Attributes:
        path: absolute.
        content: all of it.
        mode: its permissions.
        owner: user and group id; None leaves it to whoever installs.
    """

    path: Path
    content: bytes
    mode: int = 0o644
    owner: tuple[int, int] | None = None


class Before(msgspec.Struct, frozen=True):
    """A file as it was before; ``content`` is base64."""

    content: str
    mode: int
    uid: int
    gid: int


class Written(msgspec.Struct, frozen=True):
    """A file on record.

    Attributes:
        path: absolute.
        hashes: SHA-256, in hex, of what is known to be ours; two while it is being replaced.
        before: what was there before the first installation, None for nothing.
    """

    path: str
    hashes: tuple[str, ...]
    before: Before | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an installation wrote.

    Attributes:
        files: in the order they were put in place.
        folders: those that were made for them, the outer ones first.
        options: what the next installation takes over, as text by name.
    """

    version: int = 1
    files: tuple[Written, ...] = ()
    folders: tuple[str, ...] = ()
    options: dict[str, str] = {}

    def find(self, path: Path) -> Written | None:
        """What is on record for a path."""
        return next((written for written in self.files if written.path == str(path)), None)


def read_record(file: Path) -> Record | None:
    """The record of an earlier installation, None when there is none.

    Raises:
        InstallError: the file is no such record.
    """
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        record = msgspec.json.decode(text, type=Record)
    except msgspec.MsgspecError as error:
        raise InstallError(f"{file}: no record of an installation ({error}); restore or remove it") from None
    if record.version != 1:
        raise InstallError(f"{file}: written by a newer version ({record.version}); uninstall with that")
    return record


def find_changed(files: Iterable[PlannedFile], record: Record | None) -> list[Path]:
    """Files on record that a person has changed since: an installation would lose that."""
    changed = []
    for file in files:
        written = record.find(file.path) if record is not None else None
        if written is None or not file.path.exists():
            continue
        if not is_there(file) and not _is_ours(file.path, written):
            changed.append(file.path)
    return changed


def is_there(file: PlannedFile) -> bool:
    """Whether a file says already what is planned for it."""
    return _hash_of(file.path) == _hash(file.content)


def find_ours(record: Record) -> list[Path]:
    """Files on record that are still as they were written: what `undo` would remove or restore."""
    return [Path(file.path) for file in reversed(record.files) if _is_ours(Path(file.path), file)]


def place(
    files: Sequence[PlannedFile], record_file: Path, record: Record | None, options: dict[str, str]
) -> None:
    """Put the files in place, in their order, and write the record.

    When one cannot be written and this is the first installation, all is undone.

    Args:
        files: what to write; the one that makes the others count comes last.
        record_file: where the record is.
        record: of an earlier installation, None for none.
        options: for the next installation.

    Raises:
        OSError: a file cannot be written.
    """
    earlier = record if record is not None else Record()
    noted = _noted(files, earlier)
    folders = list(earlier.folders)
    for path in (record_file, *(file.path for file in files)):
        folders += [str(folder) for folder in _make_folders(path.parent)]
    planned = Record(files=noted, folders=tuple(folders), options=options)
    _write(PlannedFile(record_file, _encode(planned)))
    try:
        for file in files:
            _write(file)
    except OSError:
        if record is None:
            undo(planned, record_file)
        raise
    ours = {str(file.path): (_hash(file.content),) for file in files}
    done = msgspec.structs.replace(
        planned,
        files=tuple(
            msgspec.structs.replace(written, hashes=ours.get(written.path, written.hashes))
            for written in planned.files
        ),
    )
    _write(PlannedFile(record_file, _encode(done)))


@dataclass(frozen=True, slots=True)
class Undone:
    """What `undo` did: files removed, restored, kept since a person has changed them, and left as before."""

    removed: tuple[Path, ...]
    restored: tuple[Path, ...]
    kept: tuple[Path, ...]
    left: tuple[Path, ...]


def undo(record: Record, record_file: Path) -> Undone:
    """Undo an installation: the last file first, then the folders that are empty, then the record.

    Raises:
        OSError: a file cannot be removed or restored; what is on record stays so.
    """
    removed, restored, kept, left = [], [], [], []
    for written in reversed(record.files):
        path = Path(written.path)
        found = _hash_of(path)
        if found is None:
            continue
        if not _is_ours(path, written):
            kept.append(path)
        elif written.before is None:
            path.resolve().unlink()
            removed.append(path)
        elif found != _hash(base64.b64decode(written.before.content)):
            before = written.before
            content = base64.b64decode(before.content)
            _write(PlannedFile(path, content, before.mode, (before.uid, before.gid)))
            restored.append(path)
        else:
            left.append(path)
    record_file.unlink(missing_ok=True)
    for folder in reversed(record.folders):
        with contextlib.suppress(OSError):  # not empty, or gone: not ours to remove
            Path(folder).rmdir()
    return Undone(tuple(removed), tuple(restored), tuple(kept), tuple(left))


def _noted(files: Sequence[PlannedFile], earlier: Record) -> tuple[Written, ...]:
    """What goes on record before any file is put in place, in the order of the first installation."""
    noted = {written.path: written for written in earlier.files}
    return tuple((noted | {str(file.path): _note(file, earlier) for file in files}).values())


def _note(file: PlannedFile, record: Record) -> Written:
    """One file on record: what is there now is ours as well, or is kept for `undo`."""
    written = record.find(file.path)
    hashes = (_hash(file.content), *(written.hashes if written is not None else ()))
    if written is not None:
        return msgspec.structs.replace(written, hashes=tuple(dict.fromkeys(hashes)))
    try:
        status, content = file.path.stat(), file.path.read_bytes()
    except FileNotFoundError:
        return Written(str(file.path), hashes)
    before = Before(base64.b64encode(content).decode(), status.st_mode & 0o7777, status.st_uid, status.st_gid)
    return Written(str(file.path), (*hashes, _hash(content)), before)


def _write(file: PlannedFile) -> None:
    """Replace a file whole, and have it on disk before it takes its name."""
    path = file.path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as made:
            made.write(file.content)
            if file.owner is not None and os.geteuid() == 0:
                os.fchown(made.fileno(), *file.owner)
            os.fchmod(made.fileno(), file.mode)
            made.flush()
            os.fsync(made.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; those that were not there, the outer ones first."""
    made = [step for step in (folder, *folder.parents) if not step.exists()][::-1]
    for step in made:
        step.mkdir()
        step.chmod(0o755)  # whatever the umask: the broker's user must get in
    return made


def _is_ours(path: Path, written: Written) -> bool:
    """Whether a file on record is as it was written, then or later."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return _hash(content) in written.hashes or is_written(content)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash_of(path: Path) -> str | None:
    try:
        return _hash(path.read_bytes())
    except FileNotFoundError:
        return None


def _encode(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
