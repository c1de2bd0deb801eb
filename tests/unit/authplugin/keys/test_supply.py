"""Refreshers from settings: each issuer's source, and what happens to them under new settings."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from authplugin.clock import SystemClock
from authplugin.errors import KeySetError
from authplugin.keys.cache import KeyCache
from authplugin.keys.refresher import Refresher
from authplugin.keys.snapshot import take_snapshot
from authplugin.keys.source import Answer
from authplugin.keys.supply import KeySupply, fetch_once
from authplugin.settings import GateSettings, parse
from authplugin.testing import FakeClock, KeyServer
from tests.support.mints import mint


def read(*issuers: str, more: str = "") -> GateSettings:
    tables = [
        f'[[issuers]]\naudiences = ["a"]\nassets = {{exact = ["02iAB0000000{n:03}"]}}\n{text}'
        for n, text in enumerate(issuers)
    ]
    return parse("".join(tables) + more, name="gate.toml", environ={}, base=Path()).settings


def wait(holds: Callable[[], bool]) -> None:
    """Poll until it holds; fail after ten seconds."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer(mint().jwks()) as server:
        yield server


def test_a_set_comes_from_an_address_a_file_or_by_discovery(server: KeyServer, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(mint().jwks()))
    server.paths["/d"] = json.dumps({"issuer": "c", "jwks_uri": server.url}).encode()
    settings = read(
        f'issuer = "{server.issuer}"\n',
        f'issuer = "b"\njwks_file = "{file}"\n',
        f'issuer = "c"\nopenid_configuration = "{server.issuer}/d"\n',
        f'issuer = "d"\njwks_uri = "{server.issuer}/nothing"\n',
        more=f'[keys]\nlast_good_dir = "{tmp_path}"\n',
    )
    states = fetch_once(settings, clock=SystemClock()).states()
    assert [state.usable for state in states] == [True, True, True, False]
    assert list(tmp_path.iterdir()) == [file]


def test_new_settings_leave_issuers_alone_that_are_asked_as_before(server: KeyServer, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(mint().jwks()))
    stays, moves, goes = (
        f'issuer = "{server.issuer}"\n',
        'issuer = "b"\n',
        f'issuer = "c"\njwks_file = "{file}"\n',
    )
    moves_from = moves + f'jwks_uri = "{server.issuer}/gone"\n'
    moves_to = moves + f'jwks_file = "{file}"\n'
    settings = read(stays, moves_from, goes)
    cache = KeyCache([issuer.issuer for issuer in settings.issuers], clock=SystemClock())
    supply = KeySupply(settings, cache, clock=SystemClock(), jitter=lambda: 0.0)
    supply.start()
    try:
        wait(lambda: [state.usable for state in cache.states()] == [True, False, True])
        with pytest.raises(KeySetError):
            supply.adopt(read(stays, moves_from, goes, 'issuer = "d"\njwks_uri = "https://a:99999/"\n'))
        assert [state.issuer for state in cache.states()] == [server.issuer, "b", "c"]
        supply.adopt(read(stays, moves_to, 'issuer = "d"\n' + f'jwks_file = "{file}"\n'))
        wait(cache.ready)
        assert [state.issuer for state in cache.states()] == [server.issuer, "b", "d"]
        assert next(state.attempts for state in cache.states()) == 1
    finally:
        supply.stop(5.0)


def test_a_set_that_moved_is_read_anew_although_both_places_call_it_alike() -> None:
    old, new = mint(kid="old"), mint(kid="new")
    with KeyServer(old.jwks()) as before, KeyServer(new.jwks()) as after:
        before.etag = after.etag = '"1"'
        settings = read(f'issuer = "a"\njwks_uri = "{before.url}"\n')
        cache = KeyCache(["a"], clock=SystemClock())
        supply = KeySupply(settings, cache, clock=SystemClock(), jitter=lambda: 0.0)
        supply.start()
        try:
            wait(lambda: [key.kid for key in cache.states()[0].keys] == ["old"])
            supply.adopt(read(f'issuer = "a"\njwks_uri = "{after.url}"\n'))
            wait(lambda: [key.kid for key in cache.states()[0].keys] == ["new"])
        finally:
            supply.stop(5.0)


def test_keys_are_judged_anew_when_other_algorithms_are_allowed(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [mint().jwk(), mint("ES256", kid="Curve").jwk()]}))
    table = f'issuer = "a"\njwks_file = "{file}"\n'
    cache = KeyCache(["a"], clock=SystemClock())
    supply = KeySupply(read(table), cache, clock=SystemClock(), jitter=lambda: 0.0)
    supply.start()
    try:
        wait(cache.ready)
        supply.adopt(read(table + 'algorithms = ["RS256", "ES256"]\n'))
        wait(lambda: [key.kid for key in cache.states()[0].keys] == ["Assets", "Curve"])
    finally:
        supply.stop(5.0)


def test_a_set_that_comes_too_late_is_not_used() -> None:
    clock = FakeClock()
    cache = KeyCache(["a"], clock=clock)
    body = json.dumps(mint().jwks()).encode()

    class Late:
        """Answers when nobody waits any more."""

        def fetch(self, etag: str | None) -> Answer:
            assert etag is None
            refresher.stop(0.0)
            return Answer(body)

    refresher = Refresher(cache, "a", Late(), algorithms={"RS256"}, clock=clock, jitter=lambda: 0.0)
    refresher.step()
    assert not cache.ready()
    cache.assign(["b"])
    cache.install("a", take_snapshot(body, {"RS256"}, fetched=clock.now()), 1e9)
    assert [state.issuer for state in cache.states()] == ["b"]
