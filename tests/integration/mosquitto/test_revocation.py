"""Whoever is revoked or quarantined loses a live session, on a real broker: by file, and by command."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from authplugin.cli import main
from authplugin.watch import replace_file
from tests.integration.mosquitto.conftest import ASSET, OTHER_SHORT, SHORT, Gated
from tests.support.mosquitto import scrape

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]

EXTRA = """
[revocation]
file = "revocations"

[clones]
quarantine_score = 1.0

[admin]
socket = "admin"
"""


@contextlib.contextmanager
def revoking(gate_of: Gates, folder: Path) -> Iterator[Gated]:
    (folder / "revocations").write_text("# none yet\n")
    with gate_of(folder, extra=EXTRA) as gated:
        yield gated


def watched(gated: Gated, what: str) -> float:
    return scrape(gated.metrics_port)[f'authplugin_watched_file_{what}{{file="revocations"}}']


def until(holds: Callable[[], bool], gated: Gated) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, gated.broker.log[-2000:]
        time.sleep(0.02)


def test_a_line_in_the_file_ends_the_live_session_and_no_other(gate_of: Gates, tmp_path: Path) -> None:
    with revoking(gate_of, tmp_path) as gated, gated.device() as device, gated.device(OTHER_SHORT) as other:
        replace_file(tmp_path / "revocations", f'{{"asset":"{SHORT}"}}\n'.encode())
        device.wait_closed()
        other.ping()
        token = gated.token()
        assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "revoked"
        # A file that is wrong takes nothing back, and a metric says so.
        replace_file(tmp_path / "revocations", b"nonsense\n")
        until(lambda: watched(gated, "good") == 0, gated)
        gated.broker.wait_for("revocations:1: the line: .*; the one before stays in force")
        assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "revoked"
        assert watched(gated, "entries") == 1
        replace_file(tmp_path / "revocations", b"# none\n")
        until(lambda: watched(gated, "good") == 1, gated)
        gated.device().disconnect()


def test_a_command_ends_the_live_session_and_outlives_the_broker(
    gate_of: Gates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(tmp_path / "gate.toml")]
    with revoking(gate_of, tmp_path) as gated:
        with gated.device(version=4) as device:
            assert main(["sessions", *config]) == 0
            assert ASSET in capsys.readouterr().out
            assert main(["revoke", *config, "--asset", ASSET]) == 0
            device.wait_closed()
        token = gated.token()
        assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "revoked"
        gated.broker.stop()
        assert not (tmp_path / "admin").exists()
        gated.broker.start()
        until(lambda: scrape(gated.metrics_port)['authplugin_key_set_usable{issuer="0"}'] == 1, gated)
        assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "revoked"
        assert main(["unrevoke", *config, "--asset", ASSET]) == 0
        gated.device().disconnect()


def test_a_copy_quarantines_its_asset_until_it_is_released(gate_of: Gates, tmp_path: Path) -> None:
    config = ["--config", str(tmp_path / "gate.toml")]
    with revoking(gate_of, tmp_path) as gated, gated.device() as device, gated.device(suffix=":copy") as copy:
        device.wait_closed()
        copy.wait_closed()
        token = gated.token()
        assert gated.refusal(lambda client: client.connect(SHORT, "", token)) == "quarantined"
        assert main(["release", *config, SHORT]) == 0
        gated.device().disconnect()


def test_the_broker_does_not_start_without_its_file_of_revocations(gate_of: Gates, tmp_path: Path) -> None:
    with revoking(gate_of, tmp_path) as gated:
        gated.broker.stop()
        (tmp_path / "revocations").unlink()
        assert "revocation.file: found No such file" in gated.broker.refuse_to_start()
        (tmp_path / "revocations").touch()
        assert "the file: found nothing in it" in gated.broker.refuse_to_start()
        (tmp_path / "revocations").write_text("# none\n")
        gated.broker.start()
