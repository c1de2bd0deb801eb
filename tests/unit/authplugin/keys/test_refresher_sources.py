"""Where key sets come from besides a server: a last good file, a file, a source that breaks, a thread."""

import logging
from pathlib import Path

import pytest

from authplugin.errors import KeySetError, Reason
from authplugin.keys.fetch import HttpSource
from authplugin.keys.lastgood import LastGoodFile
from authplugin.keys.source import Answer, FileSource
from authplugin.testing import Behaviour, FakeClock, KeyServer, TokenMint
from tests.support.mints import mint
from tests.support.rig import ISSUER, TIMING, Rig, poll


def test_restart_during_an_outage_starts_from_the_last_good_set(tmp_path: Path) -> None:
    clock = FakeClock()
    saved = LastGoodFile(tmp_path, ISSUER)
    with KeyServer(mint().jwks()) as server:
        Rig(HttpSource(server.url), saved, clock).refresher.step()
        assert saved.path.stat().st_mode & 0o777 == 0o600
        server.behaviour = Behaviour.ERROR
        clock.advance(TIMING.hard - 10)
        again = Rig(HttpSource(server.url), saved, clock)
        assert again.find().kid == "Assets"
        assert again.cache.states()[0].age == pytest.approx(TIMING.hard - 10)
        again.refresher.step()
        assert again.find()
        clock.advance(10)
        assert again.refusal() is Reason.KEYS_STALE


def test_last_good_set_that_may_not_be_used_is_left_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved = LastGoodFile(tmp_path, ISSUER)
    saved.path.write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        rig = Rig(FileSource(tmp_path / "nowhere.json"), saved)
    assert rig.refusal() is Reason.KEYS_STALE
    assert "is not used" in caplog.text


def test_full_or_missing_directory_does_not_stop_the_refresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with KeyServer(mint().jwks()) as server, caplog.at_level(logging.WARNING):
        rig = Rig(HttpSource(server.url), LastGoodFile(tmp_path / "missing", ISSUER))
        rig.refresher.step()
        assert rig.find()
        assert "was not saved" in caplog.text


def test_source_that_says_unchanged_to_someone_who_holds_nothing_is_an_error() -> None:
    class Odd:
        def fetch(self, etag: str | None) -> Answer:
            assert etag is None
            return Answer(None)

    rig = Rig(Odd())
    rig.refresher.step()
    assert "answered with no set yet" in str(rig.cache.states()[0].error)


def test_source_that_breaks_is_one_more_failure_and_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def fetch(self, etag: str | None) -> Answer:
            assert etag is None
            raise RuntimeError("secret in a message")

    rig = Rig(Broken())
    with caplog.at_level(logging.WARNING):
        rig.refresher.step()
        rig.run(3)
    assert "unforeseen RuntimeError" in caplog.text
    assert "secret" not in caplog.text
    assert caplog.text.count("was not refreshed") == 1


def test_thread_fetches_by_itself_and_wakes_for_an_unknown_kid() -> None:
    issuer = TokenMint(clock=FakeClock())
    with KeyServer(issuer.jwks()) as server:
        rig = Rig(HttpSource(server.url))
        assert rig.refresher.stop(1)
        rig = Rig(HttpSource(server.url))
        rig.refresher.start()
        try:
            poll(rig.cache.ready)
            issuer.rotate("Assets2")
            server.publish(issuer.jwks())
            rig.clock.advance(TIMING.cooldown)
            rig.refusal("Assets2")
            poll(lambda: any(key.kid == "Assets2" for key in rig.cache.states()[0].keys))
        finally:
            assert rig.refresher.stop(10)


def test_file_set_is_used_and_followed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with KeyServer(mint().jwks()) as server:
        path.write_bytes(server.body)
    rig = Rig(FileSource(path))
    rig.refresher.step()
    assert rig.find()
    rig.run(TIMING.soft)
    assert rig.cache.states()[0].failures == 0
    assert rig.cache.states()[0].age == pytest.approx(30)
    path.unlink()
    rig.run(TIMING.soft)
    assert "No such file" in str(rig.cache.states()[0].error)
    assert rig.find()


def test_file_that_may_not_be_used_says_why(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b" " * 65537)
    with pytest.raises(KeySetError, match="more than 65536"):
        FileSource(path).fetch(None)
    path.write_bytes(b"{}")
    path.chmod(0o666)
    with pytest.raises(KeySetError, match="anyone may write"):
        FileSource(path).fetch(None)
    with pytest.raises(KeySetError, match="regular file"):
        FileSource(tmp_path).fetch(None)
