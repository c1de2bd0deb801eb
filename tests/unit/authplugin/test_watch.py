import logging
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from authplugin.errors import ConfigurationError, ConfigurationErrors
from authplugin.revocation import Revocations, parse_revocations
from authplugin.testing import FakeClock
from authplugin.watch import Watch, WatchedFile, replace_file


class Scene:
    """One watched file of revocations, and what was put in force."""

    def __init__(self, folder: Path, text: str = '{"asset":"a"}\n') -> None:
        self.path = folder / "revocations"
        self.path.write_text(text)
        self.clock = FakeClock()
        self.adopted: list[Revocations] = []
        file = WatchedFile(
            self.path,
            "revocation.file",
            name="revocations",
            parse=parse_revocations,
            adopt=self.adopted.append,
            count=lambda revocations: revocations.count,
            limit=1000,
        )
        self.watch = Watch([file], clock=self.clock, interval=0.01)

    @property
    def good(self) -> bool:
        return self.watch.states()[0].good


@pytest.fixture(name="scene")
def make_scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.watch.load()
    return scene


def assets(scene: Scene) -> set[str]:
    return set(scene.adopted[-1].assets)


def test_a_file_is_read_at_the_start_and_when_it_changes(scene: Scene) -> None:
    assert assets(scene) == {"a"}
    scene.watch.step()
    assert len(scene.adopted) == 1
    scene.path.write_text('{"asset":"a"}\n{"asset":"b"}\n')
    scene.watch.step()
    assert assets(scene) == {"a", "b"}
    scene.clock.advance(7.0)
    (state,) = scene.watch.states()
    assert (state.name, state.good, state.age, state.entries) == ("revocations", True, 7.0, 2)


def test_a_wrong_file_is_refused_whole_and_the_one_before_stays(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.path.write_text('{"asset":"b"}\n{"asset":"c/d"}\nnonsense\n')
    scene.watch.step()
    assert assets(scene) == {"a"}
    assert not scene.good
    assert f"{scene.path}:2: the line: found an asset that is not" in caplog.text
    assert f"{scene.path}:3: " in caplog.text
    caplog.clear()
    scene.watch.step()
    assert caplog.text == ""
    scene.path.write_text('{"asset":"b"}\n')
    scene.watch.step()
    assert assets(scene) == {"b"}
    assert scene.good


def test_a_file_that_lacked_another_one_is_read_again_in_time_and_said_to_lack_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needed, adopted = tmp_path / "needed", list[str]()

    def parse(text: bytes, name: str) -> str:
        if not needed.exists():
            raise ConfigurationError(file=name, line=1, key="k", found="nothing", expected="a file")
        return text.decode()

    path = tmp_path / "one"
    path.write_text("as it is")
    files = [
        WatchedFile(path, "k", parse=parse, adopt=adopted.append, count=len, limit=100, retry_s=retry_s)
        for retry_s in (5.0, None)
    ]
    clock = FakeClock()
    watch = Watch(files, clock=clock)
    for _ in range(3):
        watch.step()
        clock.advance(5.0)
    assert caplog.text.count("found nothing") == 2  # once for each
    path.write_text("as it was")
    watch.step()
    assert caplog.text.count("found nothing") == 4
    needed.touch()
    watch.step()
    assert adopted == []
    clock.advance(5.0)
    watch.step()
    assert adopted == ["as it was"]


def test_a_refused_file_that_takes_long_to_read_is_read_the_less_often(tmp_path: Path) -> None:
    clock, read, adopted = FakeClock(), list[float](), list[str]()

    def parse(_text: bytes, name: str) -> str:
        read.append(clock.monotonic())
        clock.advance(2.0)
        raise ConfigurationError(file=name, line=1, key="k", found="nothing", expected="a file")

    path = tmp_path / "one"
    path.write_text("as it is")
    file = WatchedFile(path, "k", parse=parse, adopt=adopted.append, count=len, limit=100, retry_s=5.0)
    watch = Watch([file], clock=clock)
    for _ in range(90):
        watch.step()
        clock.advance(1.0)
    assert len(read) == 3
    path.write_text("as it was")
    watch.step()
    assert len(read) == 4


def test_a_file_that_vanishes_takes_nothing_back(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.path.unlink()
    scene.watch.step()
    scene.watch.step()
    assert len(scene.adopted) == 1
    assert not scene.good
    assert caplog.text.count("No such file") == 1
    scene.path.write_text('{"asset":"b"}\n')
    scene.watch.step()
    assert assets(scene) == {"b"}


def test_a_file_that_was_emptied_in_place_takes_nothing_back(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.path.write_text("")
    scene.watch.step()
    assert len(scene.adopted) == 1
    assert not scene.good
    assert "found nothing in it" in caplog.text
    assert "the one before stays in force" in caplog.text
    scene.path.write_text("# nothing is revoked\n")
    scene.watch.step()
    assert assets(scene) == set()
    assert scene.good


def test_a_missing_or_wrong_file_keeps_the_gate_from_starting(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "nonsense")
    with pytest.raises(ConfigurationErrors):
        scene.watch.load()
    scene.path.unlink()
    with pytest.raises(ConfigurationError, match=r"revocation\.file: found No such file"):
        scene.watch.load()
    assert scene.adopted == []


@pytest.mark.parametrize("kind", ["writable", "long", "folder"])
def test_a_file_that_is_not_to_be_trusted_is_refused(tmp_path: Path, kind: str) -> None:
    scene = Scene(tmp_path)
    if kind == "writable":
        scene.path.chmod(0o666)
    elif kind == "long":
        scene.path.write_text("#" * 1001)
    else:
        scene.path.unlink()
        scene.path.mkdir()
    with pytest.raises(ConfigurationError):
        scene.watch.load()


def test_a_parser_that_fails_ends_no_watching(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_text: bytes, _name: str) -> Revocations:
        raise LookupError("secret")

    file = WatchedFile(scene.path, "k", parse=fail, adopt=scene.adopted.append, count=lambda _: 0, limit=1000)
    watch = Watch([file], clock=scene.clock)
    watch.step()
    assert "was not read: LookupError" in caplog.text
    assert "secret" not in caplog.text


def test_what_was_read_is_put_in_force_where_it_was_posted_to(scene: Scene) -> None:
    works: list[Callable[[], None]] = []
    file = WatchedFile(
        scene.path,
        "k",
        parse=parse_revocations,
        adopt=scene.adopted.append,
        count=lambda revocations: revocations.count,
        limit=1000,
    )
    watch = Watch([file], clock=scene.clock, post=works.append)
    watch.step()
    before = len(scene.adopted)
    (work,) = works
    work()
    assert len(scene.adopted) == before + 1
    watch.stop(0.0)
    work()
    assert len(scene.adopted) == before + 1  # another watch has taken over


def test_the_thread_sees_changes_by_itself(scene: Scene) -> None:
    scene.watch.start()
    try:
        replace_file(scene.path, b'{"asset":"b"}\n')
        deadline = time.monotonic() + 10
        while assets(scene) != {"b"}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        scene.watch.stop(10.0)


def test_replacing_a_file_keeps_its_mode_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "shared" / "file"
    target.parent.mkdir()
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to("shared/file")
    replace_file(link, b"new")
    assert link.readlink() == Path("shared/file")
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_put_in_place_is_taken_away_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()  # a rename onto it fails
    with pytest.raises(IsADirectoryError):
        replace_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(autouse=True)
def _hear(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
